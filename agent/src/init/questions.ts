/** Asks a person at a terminal what no option has said. Nothing that is typed as a password is shown. */
import { hostname } from 'node:os'
import { cancel, intro, isCancel, multiselect, password, select, text } from '@clack/prompts'
import { isDeviceId } from '@tidemark/protocol'
import type { Disk } from './disk.js'
import { type Durability, durabilityFor, kindsFound, type SourceChoice, sourcesByDefault } from './plan.js'
import type { Sensor } from './sensors.js'

/** Ctrl-C at a question. Nothing was written. */
export class Cancelled extends Error {
  readonly code = 'CANCELLED'
}

/** What is wrong with an answer; undefined: nothing. */
export type Check = (answer: string) => string | undefined

export function begin(): void {
  intro('tidemark-agent init')
}

export async function askDeviceId(check: Check): Promise<string> {
  const own = hostname().split('.')[0]
  // a name that every machine has from its image would make one device of many
  const isCommon = /^(localhost|raspberrypi|debian|ubuntu|raspbian|raspios|orangepi|beaglebone)$/i.test(own)
  return answerOf(
    text({
      message: 'Name of this device (device_id; no other device may have it)',
      ...(isCommon || !isDeviceId(own) ? { placeholder: 'pump-7' } : { initialValue: own }),
      validate: required(check)
    })
  )
}

/** One URL or several; user and password are asked apart, the password without showing it. */
export async function askUrls(check: Check): Promise<string[]> {
  const typed = await answerOf(
    text({
      message: 'The gateway (several: with a space between them, tried in that order)',
      placeholder: 'mqtt://gateway.local:1883',
      validate: required(answer =>
        words(answer)
          .map(check)
          .find(problem => problem !== undefined)
      )
    })
  )
  const user = await answerOf(text({ message: 'User name at the gateway (empty: none)', defaultValue: '' }))
  if (user === '') return words(typed)
  const secret = await answerOf(password({ message: 'Password' }))
  return words(typed).map(url => {
    const full = new URL(url)
    full.username = encodeURIComponent(user)
    full.password = encodeURIComponent(secret)
    return full.href
  })
}

export function askSources(found: readonly Sensor[]): Promise<SourceChoice[]> {
  const sensors = kindsFound(found).map(kind => ({
    value: kind as SourceChoice,
    label: kind,
    hint: found
      .filter(sensor => sensor.kind === kind)
      .map(({ metric, value, quantity }) =>
        value === null ? `${metric} (silent)` : `${metric} ${Number(value.toPrecision(4))} ${quantity.unit}`.trim()
      )
      .join(', ')
  }))
  return answerOf(
    multiselect<SourceChoice>({
      message: 'What to measure',
      options: [
        { value: 'system', label: 'system', hint: 'this machine: processor, memory, disk, load, its warmest temperatures' },
        ...sensors,
        { value: 'simulated', label: 'simulated', hint: 'a machine that does not exist, by itself, to try things out' }
      ],
      initialValues: sourcesByDefault(found),
      required: true
    })
  )
}

export function askInterval(initialValue: string, check: Check): Promise<string> {
  return answerOf(text({ message: 'Time between two readings', initialValue, validate: required(check) }))
}

export function askDurability(disk: Disk): Promise<Durability> {
  const where = disk.isCard ? `${disk.name} is an SD card or eMMC` : 'no SD card was found'
  return answerOf(
    select<Durability>({
      message: `How readings are kept until they are acked (${where})`,
      options: [
        { value: 'strict', label: 'strict', hint: 'on disk before it is published' },
        { value: 'spill', label: 'spill', hint: 'spares an SD card; a power cut may take the last 30 s of what is not acked' }
      ],
      initialValue: durabilityFor(disk)
    })
  )
}

function required(check: Check): (answer: string | undefined) => string | undefined {
  return answer => (answer === undefined || answer.trim() === '' ? 'an answer is needed' : check(answer.trim()))
}

function words(answer: string): string[] {
  return answer.split(/[\s,]+/).filter(word => word !== '')
}

async function answerOf<T>(answer: Promise<T>): Promise<Exclude<T, symbol>> {
  const given = await answer
  if (isCancel(given)) {
    cancel('nothing was written')
    throw new Cancelled('nothing was written')
  }
  return (typeof given === 'string' ? given.trim() : given) as Exclude<T, symbol>
}

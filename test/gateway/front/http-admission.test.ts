/** What of the batches over HTTP may wait for the log. */
import { PAYLOAD_BYTES_MAX } from '@tidemark/protocol'
import { expect, test } from 'vitest'
import { HttpAdmissions } from '../../../gateway/src/front/http-admission.js'
import type { AppendReceiver, FrameLog } from '../../../gateway/src/log/frame-log.js'

class HeldLog implements FrameLog {
  isFull = false
  readonly waiting: AppendReceiver[] = []

  appendFor(_kind: string, _deviceId: string, _payload: Uint8Array, receiver: AppendReceiver): void {
    this.waiting.push(receiver)
  }

  appendFrom(): void {
    throw new Error('a batch over HTTP lies in no packet')
  }

  /** The next wave: durable, or refused by the disk. */
  commit(error: Error | null = null): void {
    for (const receiver of this.waiting.splice(0)) receiver.settled(error, 1, 0, 0)
  }
}

test('a device may have sixteen batches waiting, and another sixteen once they are durable', async () => {
  const log = new HeldLog()
  const admissions = new HttpAdmissions(log)
  const admit = (device: string) => admissions.admit(device, new Uint8Array(10))
  const admitted = Array.from({ length: 16 }, () => admit('a'))
  expect(admitted.every(({ ok }) => ok)).toBe(true)
  expect(admit('a')).toEqual({ ok: false, refusal: 'device-pending' })
  expect(admit('b').ok, 'another device is not held').toBe(true)
  log.commit()
  for (const admission of admitted) if (admission.ok) await admission.durable
  expect(admit('a').ok).toBe(true)
})

test('a device may have a megabyte waiting, all of them thirty-two', () => {
  const log = new HeldLog()
  const admissions = new HttpAdmissions(log)
  const payload = new Uint8Array(PAYLOAD_BYTES_MAX)
  for (let k = 0; k < 8; k++) expect(admissions.admit('a', payload).ok).toBe(true)
  expect(admissions.admit('a', payload)).toEqual({ ok: false, refusal: 'device-pending' })
  for (let k = 8; k < 256; k++) expect(admissions.admit(`device-${k}`, payload).ok).toBe(true)
  expect(admissions.admit('b', payload)).toEqual({ ok: false, refusal: 'log-full' })
  log.commit()
  expect(admissions.admit('a', payload).ok).toBe(true)
})

test('what the log refuses is not acked, and waits no longer', async () => {
  const log = new HeldLog()
  const admissions = new HttpAdmissions(log)
  const admission = admissions.admit('a', new Uint8Array(10))
  log.commit(new Error('the disk is full'))
  await expect(admission.ok && admission.durable).rejects.toThrow('full')
  expect(admissions.stats).toMatchObject({ published: 1, acked: 0, refused: { log: 1 } })
  log.isFull = true
  expect(admissions.admit('a', new Uint8Array(10))).toEqual({ ok: false, refusal: 'log-full' })
})

test('no device ID and no payload that is too large are taken', () => {
  const admissions = new HttpAdmissions(new HeldLog())
  expect(admissions.admit('no/device', new Uint8Array(10))).toEqual({ ok: false, refusal: 'client-id' })
  expect(admissions.admit('a', new Uint8Array(PAYLOAD_BYTES_MAX + 1))).toEqual({ ok: false, refusal: 'payload-too-large' })
  expect(admissions.stats.refused).toMatchObject({ 'client-id': 1, 'payload-too-large': 1 })
})

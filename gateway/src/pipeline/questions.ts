/** What the main thread may ask the processor about its state, and how the processor answers. */
import type { Processor } from '../processor/processor.js'
import type { DeviceRow } from '../processor/registry.js'

export type Question = { readonly ask: 'devices' } | { readonly ask: 'device'; readonly deviceId: string }

/** By what is asked. */
export interface Answers {
  readonly devices: readonly DeviceRow[]
  /** null: not known. */
  readonly device: DeviceRow | null
}

export type Answer = Answers[keyof Answers]

export function answer(processor: Processor, question: Question): Answer {
  switch (question.ask) {
    case 'devices':
      return processor.devices()
    case 'device':
      return processor.device(question.deviceId)
    default:
      return question satisfies never
  }
}

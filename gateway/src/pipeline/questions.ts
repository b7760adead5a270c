/** What the main thread may ask the processor about its state, and how the processor answers. */
import type { Processor } from '../processor/processor.js'
import type { DeviceRow } from '../processor/registry.js'
import type { RequeueMark } from '../processor/requeue.js'
import type { ServedLatest, ServedRows, ServedState, ServingQuestion } from './served-state.js'

export type Question =
  | { readonly ask: 'devices' }
  | { readonly ask: 'device'; readonly deviceId: string }
  | { readonly ask: 'requeue-mark' }
  | ServingQuestion

/** By what is asked. */
export interface Answers {
  readonly devices: readonly DeviceRow[]
  /** null: not known. */
  readonly device: DeviceRow | null
  readonly 'requeue-mark': RequeueMark
  readonly 'reading-rows': ServedRows
  readonly 'feature-rows': ServedRows
  /** null: the device is not known. */
  readonly 'latest-features': ServedLatest | null
}

export type Answer = Answers[keyof Answers]

export function answer(processor: Processor, served: ServedState, question: Question): Answer {
  switch (question.ask) {
    case 'devices':
      return processor.devices()
    case 'device':
      return processor.device(question.deviceId)
    case 'requeue-mark':
      return processor.show(state => state.requeued)
    case 'reading-rows':
      return served.readingRows(question)
    case 'feature-rows':
      return served.featureRows(question)
    case 'latest-features':
      return served.latestFeatures(question.deviceId)
    default:
      return question satisfies never
  }
}

/** What a front's process is given at its start. */
import type { FrontOptions } from './front.js'

/** The environment variable that holds its options, JSON. */
export const FRONT_ENV = 'TIDEMARK_FRONT'

/** The descriptor of its socket pair with the core. */
export const LINK_DESCRIPTOR = 4

export interface FrontProcessOptions extends FrontOptions {
  readonly host: string
  readonly port: number
  readonly logLevel: string
}

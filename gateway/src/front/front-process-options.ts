/** What a front's process is given at its start. */
import type { FrontOptions } from './front.js'

/** The environment variable that holds its options, JSON. */
export const FRONT_ENV = 'TIDEMARK_FRONT'

/** The descriptor of its socket pair with the core. */
export const LINK_DESCRIPTOR = 4

/**
 * A light session leaves no garbage that lives longer than a wave, so a small young generation costs no time; with V8's own limit of
 * 16 MiB it grows with what passes, to 22 MB a front more. aedes' clients are made of objects that live longer: they have V8's limit.
 */
export const LIGHT_SEMI_SPACE_MEBIBYTES = 4

export interface FrontProcessOptions extends FrontOptions {
  readonly host: string
  readonly port: number
  readonly logLevel: string
}

/** A body of bytes: how it is checked, and how the description shows it. */
import { z } from 'zod'

/** At least one byte. Its route's scope must parse the media type as a buffer. */
export function binaryBody(description: string) {
  return z
    .custom<Buffer<ArrayBuffer>>(body => Buffer.isBuffer(body) && body.length > 0, 'is empty, or not of the media type that is wanted')
    .describe(description)
}

/** Overwrites pages of a file with noise, as a worn SD card does. */
import { closeSync, fstatSync, openSync, writeSync } from 'node:fs'
import type { Draw } from '../replay/draw.js'

const PAGE_BYTES = 4096
/** One page in so many, and at least one. */
const SPOILT_EVERY = 100

/** Where the file has no page but its first, nothing. Returns which pages. */
export function spoilPages(path: string, draw: Draw): number[] {
  const file = openSync(path, 'r+')
  try {
    const pages = Math.floor(fstatSync(file).size / PAGE_BYTES)
    const spoilt = pages < 2 ? [] : Array.from({ length: Math.ceil(pages / SPOILT_EVERY) }, () => draw.integer(1, pages - 1))
    for (const page of spoilt) writeSync(file, noise(draw), 0, PAGE_BYTES, page * PAGE_BYTES)
    return spoilt
  } finally {
    closeSync(file)
  }
}

function noise(draw: Draw): Uint8Array {
  return Uint8Array.from({ length: PAGE_BYTES }, () => draw.integer(0, 255))
}

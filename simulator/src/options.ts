/** How the command line reads numbers, durations and times, and checks files before anything long begins. */
import { closeSync, openSync, readFileSync } from 'node:fs'
import { durationMs, rfc3339Ms } from '@tidemark/protocol'
import { InvalidArgumentError } from 'commander'
import { UsageError } from './broker.js'
import { parseRun, type Run } from './run-file.js'

export function numberOf(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It is no number.')
  return value
}

/** In ms. */
export function durationOf(text: string): number {
  try {
    return durationMs(text)
  } catch {
    throw new InvalidArgumentError('Write a number and ms, s, m, h or d, like 5s.')
  }
}

/** In Unix ms. */
export function timeOf(text: string): number {
  const timeMs = rfc3339Ms(text)
  if (timeMs === null) throw new InvalidArgumentError('Write it like 2026-11-24T08:00:00Z.')
  return timeMs
}

/** Says before a run what would be a pity to learn after it. */
export function requireWritable(path: string): void {
  try {
    closeSync(openSync(path, 'a'))
  } catch (cause) {
    throw new UsageError(`cannot write ${path}: check that its folder exists and is yours`, { cause })
  }
}

export function readRun(path: string): Run {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new UsageError(`cannot read ${path}: give the file that \`tidemark-sim run --out\` or \`generate --out\` wrote`, { cause })
  }
  try {
    return parseRun(text)
  } catch (cause) {
    throw new UsageError(`${path} holds no run: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

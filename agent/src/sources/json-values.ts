/** Takes values out of what a device says: JSON, or one bare value. */
import { getProperty } from 'dot-prop'
import type { Measurement, Scaling } from './mapping.js'

export interface JsonMapping extends Scaling {
  /** Where the value is in the JSON, like `AM2301.Temperature`; absent where the text is the value. */
  readonly path?: string | undefined
}

/** Puts the values of several metrics from one text into a measurement. */
export function putValues(measurement: Measurement, text: string, mappings: Readonly<Record<string, JsonMapping>>): void {
  let json: unknown
  let problem: string | null = null
  try {
    json = JSON.parse(text)
  } catch {
    problem = `${JSON.stringify(text.slice(0, 40))} is no JSON`
  }
  for (const [name, mapping] of Object.entries(mappings)) {
    if (mapping.path === undefined) measurement.put(name, isBare(json) ? json : text.trim(), mapping)
    else if (problem !== null) measurement.fail(name, problem)
    else putAt(measurement, name, json, mapping.path, mapping)
  }
}

function putAt(measurement: Measurement, name: string, json: unknown, path: string, scaling: Scaling): void {
  const raw = typeof json === 'object' && json !== null ? getProperty(json, path) : undefined
  if (raw === undefined) measurement.fail(name, `there is no ${path}`)
  else if (raw === null) measurement.fail(name, `${path} is null`)
  else measurement.put(name, raw, scaling)
}

/** JSON strings are taken out of their quotes. */
function isBare(json: unknown): json is string | number | boolean {
  return typeof json === 'string' || typeof json === 'number' || typeof json === 'boolean'
}

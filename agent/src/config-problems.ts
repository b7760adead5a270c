import { z } from 'zod'
import { didYouMean } from './nearest.js'
import type { LineOf } from './yaml-lines.js'

/** Says what is wrong with a configuration in one line, naming the key as it is written in the file, and its line. */

/**
 * @param input what was parsed, to tell which variant of a union was meant
 * @param lineOf tells where a key stands
 */
export function describeProblems(error: z.ZodError, schema: z.ZodType, input: unknown, lineOf: LineOf): string {
  const problems = error.issues.flatMap(issue => describe(issue, schema, input))
  return problems
    .map(({ problem, path }) => {
      const line = lineOf(path)
      return line === null ? problem : `${problem} (line ${line})`
    })
    .join('; ')
}

interface Problem {
  readonly problem: string
  readonly path: readonly PropertyKey[]
}

function describe(issue: z.core.$ZodIssue, schema: z.ZodType, input: unknown): Problem[] {
  const { path } = issue
  if (issue.code === 'unrecognized_keys') {
    const known = knownKeys(schema, path, input)
    return issue.keys.map(key => ({
      problem: `there is no key ${keyName([...path, key])}${didYouMean(key, known)}`,
      path: [...path, key]
    }))
  }
  return [{ problem: describeValue(issue, input), path }]
}

function describeValue(issue: z.core.$ZodIssue, input: unknown): string {
  const at = keyName(issue.path)
  if (issue.code === 'invalid_type' && valueAt(input, issue.path) === undefined) return `${at} is missing`
  if (issue.code === 'invalid_union' && issue.discriminator !== undefined) {
    const options = 'options' in issue && Array.isArray(issue.options) ? issue.options.map(String) : []
    const value = valueAt(input, issue.path)
    return value === undefined
      ? `${at} is missing; there are: ${options.join(', ')}`
      : `there is no ${at} "${value}"${didYouMean(String(value), options)}`
  }
  const message = issue.message.charAt(0).toLowerCase() + issue.message.slice(1)
  return at === '' ? message : `${at}: ${message}`
}

function keyName(path: readonly PropertyKey[]): string {
  return path.map(String).join('.')
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input
  for (const key of path) value = typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined
  return value
}

/** The keys of the object schema at a path. */
function knownKeys(schema: z.core.$ZodType, path: readonly PropertyKey[], input: unknown): string[] {
  let at: z.core.$ZodType | undefined = schema
  let value = input
  for (const key of path) {
    at = within(at, key, value)
    value = valueAt(value, [key])
  }
  return Object.keys(objectOf(at, value)?.shape ?? {})
}

/** The schema at a key of what is at `schema`. */
function within(schema: z.core.$ZodType | undefined, key: PropertyKey, value: unknown): z.core.$ZodType | undefined {
  const at = unwrapped(schema)
  if (at instanceof z.ZodArray) return at.element
  if (at instanceof z.ZodRecord) return at.valueType
  return objectOf(at, value)?.shape[String(key)]
}

function unwrapped(schema: z.core.$ZodType | undefined): z.core.$ZodType | undefined {
  return schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional
    ? unwrapped(schema.def.innerType)
    : schema
}

function objectOf(schema: z.core.$ZodType | undefined, value: unknown): z.ZodObject | undefined {
  const at = unwrapped(schema)
  if (at instanceof z.ZodObject) return at
  if (at instanceof z.ZodDiscriminatedUnion) {
    const type = valueAt(value, ['type'])
    const objects = at.options.filter(option => option instanceof z.ZodObject)
    return objects.find(option => option.shape.type?.safeParse(type).success)
  }
  return undefined
}

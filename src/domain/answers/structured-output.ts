import type * as z from 'zod'
import { isTooDeep, MAX_JSON_LEVELS } from './json-levels.ts'
import { findJson, repairJson } from './json-text.ts'

/** How the value was found, from strict to lenient. */
export type HowRead = 'json' | 'fenced' | 'balanced' | 'repaired'

export type StructuredReading = { readonly value: unknown; readonly how: HowRead } | { readonly problem: string }

/** Maximum number of characters of an answer that are read. */
const MAX_LENGTH = 2_000_000
const MAX_FENCES = 20

export interface ReadingOptions {
  /** Whether the answer was cut, so that a value that reaches its end may be incomplete. Default false. */
  readonly cut?: boolean
  /**
   * Whether several different values that fit the schema count as none, because the answer may quote one of them.
   * Default false: the first one counts.
   */
  readonly mustBeUnique?: boolean
}

/**
 * Reads a JSON value out of a model's answer: the whole text, a fenced block, the first balanced object or list, then
 * the repaired form of these. Each value must fit the schema. A value without its end is never accepted, even if it
 * could be repaired. `problem` describes the mistake without the answer's text.
 */
export function readStructured(
  answer: string,
  schema: z.ZodType,
  { cut = false, mustBeUnique: sole = false }: ReadingOptions = {},
): StructuredReading {
  const trimmed = answer.slice(0, MAX_LENGTH).trim()
  const text = withoutThinking(trimmed).trim()
  if (trimmed === '') return { problem: 'the answer is empty' }
  if (isTooDeep(text)) return { problem: `the JSON of the answer has more than ${MAX_JSON_LEVELS} levels` }
  const fenced = fencedBlocks(text)
  const { ranges, open } = findJson(text)
  const balanced = ranges.map((range) => range.text)
  let problem = open ? 'the JSON of the answer is incomplete' : 'the answer contains no JSON'
  const stages: readonly [HowRead, readonly string[], (candidate: string) => unknown][] = [
    // A cut value of any other kind lacks its closing mark; a cut number may only lack digits and still parse.
    ['json', cut && /\d$/.test(answer) ? [] : [trimmed, text], JSON.parse],
    ['fenced', fenced, JSON.parse],
    ['balanced', balanced, JSON.parse],
    ['repaired', [...fenced, ...balanced], repairJson],
  ]
  for (const [how, candidates, read] of stages) {
    for (const candidate of candidates) {
      const value = attempt(() => read(candidate))
      if (value === undefined) continue
      const checked = attempt(() => schema.safeParse(value))
      if (checked?.success && how !== 'json' && cut && open) return { problem: 'the JSON of the answer is incomplete' }
      if (checked?.success && how !== 'json' && sole && (open || !areAllEqual(balanced, schema))) return { problem: SEVERAL }
      if (checked?.success) return { value: checked.data, how }
      if (checked) problem = describe(checked.error)
    }
  }
  return { problem }
}

const SEVERAL = 'the answer contains more than one value that fits, and they differ'

function areAllEqual(candidates: readonly string[], schema: z.ZodType): boolean {
  const values = candidates.flatMap((candidate) => {
    const checked = attempt(() => schema.safeParse(attempt(() => JSON.parse(candidate)) ?? repairJson(candidate)))
    return checked?.success ? [JSON.stringify(checked.data)] : []
  })
  return values.every((value) => value === values[0])
}

const THINKING = ['think', 'thinking', 'reasoning'] as const

/**
 * Removes the reasoning that open models write before their answer. Returns an empty text if the reasoning never ends.
 */
export function withoutThinking(text: string): string {
  let rest = text
  for (const tag of THINKING) {
    const [open, close] = [`<${tag}>`, `</${tag}>`]
    // Some chat templates put the opening tag into the prompt, so that the answer has only the closing one.
    const lastClose = rest.lastIndexOf(close)
    if (lastClose !== -1) rest = rest.slice(lastClose + close.length)
    const unclosed = rest.indexOf(open)
    if (unclosed !== -1) rest = rest.slice(0, unclosed)
  }
  return rest
}

function fencedBlocks(text: string): string[] {
  const blocks: string[] = []
  let at = text.indexOf('```')
  while (at !== -1 && blocks.length < MAX_FENCES) {
    const contentStart = text.indexOf('\n', at)
    const end = contentStart === -1 ? -1 : text.indexOf('```', contentStart)
    if (end === -1) break
    blocks.push(text.slice(contentStart + 1, end).trim())
    at = text.indexOf('```', end + 3)
  }
  return blocks
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

function describe(error: z.ZodError): string {
  const [first] = error.issues
  if (!first) return 'the value does not fit the schema'
  const more = error.issues.length > 1 ? ` (and ${error.issues.length - 1} more)` : ''
  return `${first.path.join('.') || 'the value'}: ${first.message}${more}`
}

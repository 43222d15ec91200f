import { createRequire } from 'node:module'
import type * as z from 'zod'

/** Which way led to the value, from strict to lenient. */
export type HowRead = 'json' | 'fenced' | 'balanced' | 'repaired'

export type StructuredReading = { readonly value: unknown; readonly how: HowRead } | { readonly problem: string }

/** Characters of an answer that are looked at for JSON. */
const MAX_LENGTH = 2_000_000
/** jsonrepair is many times slower than JSON.parse. */
const MAX_REPAIR_LENGTH = 200_000
/** Opening brackets from which a balanced value is tried. */
const MAX_STARTS = 20

/**
 * Reads a JSON value out of a model's answer: the whole text, a fenced block, the first balanced object or list, then what jsonrepair makes of these.
 * At every stage the schema decides: nothing is accepted that it refuses. `problem` says what was wrong, without the answer's text.
 */
export function readStructured(answer: string, schema: z.ZodType): StructuredReading {
  const whole = answer.slice(0, MAX_LENGTH).trim()
  const text = withoutThinking(whole).trim()
  if (whole === '') return { problem: 'the answer is empty' }
  const fenced = fencedBlocks(text)
  const balanced = balancedValues(text)
  let problem = 'the answer holds no JSON'
  const stages: readonly [HowRead, readonly string[], (candidate: string) => unknown][] = [
    ['json', [whole, text], JSON.parse],
    ['fenced', fenced, JSON.parse],
    ['balanced', balanced, JSON.parse],
    ['repaired', [...fenced, ...balanced, ...openEnd(text)], repair],
  ]
  for (const [how, candidates, read] of stages) {
    for (const candidate of candidates) {
      const value = attempt(() => read(candidate))
      if (value === undefined) continue
      const judged = attempt(() => schema.safeParse(value))
      if (judged?.success) return { value: judged.data, how }
      if (judged) problem = describe(judged.error)
    }
  }
  return { problem }
}

const THINKING = ['think', 'thinking'] as const

/** The answer without the reasoning that open models write before it. Where the reasoning never ends, there is no answer. */
export function withoutThinking(text: string): string {
  let rest = text
  for (const tag of THINKING) {
    const [open, close] = [`<${tag}>`, `</${tag}>`]
    // Some chat templates put the opening tag into the prompt, so that only the closing one is left.
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
  while (at !== -1 && blocks.length < MAX_STARTS) {
    const contentStart = text.indexOf('\n', at)
    const end = contentStart === -1 ? -1 : text.indexOf('```', contentStart)
    if (end === -1) break
    blocks.push(text.slice(contentStart + 1, end).trim())
    at = text.indexOf('```', end + 3)
  }
  return blocks
}

function balancedValues(text: string): string[] {
  const values: string[] = []
  let at = 0
  for (let starts = 0; starts < MAX_STARTS; starts++) {
    const start = nextOpening(text, at)
    if (start === -1) break
    const end = balancedEnd(text, start)
    if (end === -1) at = start + 1
    else {
      values.push(text.slice(start, end))
      at = end
    }
  }
  return values
}

/** What an answer that was cut off began with, for jsonrepair to close. */
function openEnd(text: string): string[] {
  const start = nextOpening(text, 0)
  if (start === -1) return []
  // A number may have been cut too: 0.85 must not be read as 0.
  let end = text.length
  while (end > start && /[-+.\w]/.test(text[end - 1] ?? '')) end--
  return [text.slice(start, end)]
}

function nextOpening(text: string, from: number): number {
  const brace = text.indexOf('{', from)
  const bracket = text.indexOf('[', from)
  if (brace === -1 || bracket === -1) return Math.max(brace, bracket)
  return Math.min(brace, bracket)
}

/** Index after the bracket that closes the one at `start`; -1 where none does. */
function balancedEnd(text: string, start: number): number {
  let depth = 0
  let inString = false
  for (let at = start; at < text.length; at++) {
    const character = text[at]
    if (inString) {
      if (character === '\\') at++
      else if (character === '"') inString = false
    } else if (character === '"') inString = true
    else if (character === '{' || character === '[') depth++
    else if (character === '}' || character === ']') {
      depth--
      if (depth === 0) return at + 1
    }
  }
  return -1
}

function repair(candidate: string): unknown {
  if (candidate.length > MAX_REPAIR_LENGTH) return undefined
  return JSON.parse(loadJsonRepair().jsonrepair(candidate))
}

/** Few answers need it: `require` at the first one keeps 3 ms out of every start. */
const loadJsonRepair = (): typeof import('jsonrepair') => createRequire(import.meta.url)('jsonrepair')

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

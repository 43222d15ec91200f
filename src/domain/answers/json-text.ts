import { createRequire } from 'node:module'

/** One JSON object or list in a text: from its opening bracket to the index after its closing one. */
export interface JsonRange {
  readonly text: string
  readonly start: number
  readonly end: number
}

export interface JsonRanges {
  readonly ranges: readonly JsonRange[]
  /**
   * Whether the text ends inside a JSON value, or contains more values than are read, so that the ranges are
   * incomplete.
   */
  readonly open: boolean
}

/** Longer texts are not repaired, because jsonrepair is many times slower than JSON.parse. */
const MAX_REPAIR_LENGTH = 200_000
const MAX_RANGES = 200
/** Maximum unclosed brackets of prose; each costs one scan to the end of the text. */
const MAX_STRAY = 20

/** The beginnings of a JSON value, including those without quotes or with single quotes. Any other bracket is prose. */
const JSON_OPENING = /\{\s*(?:["'}]|[\p{L}_$][\w$]*\s*:)|\[\s*(?:["'{[\]\d-]|true\b|false\b|null\b)/uy

/**
 * Finds the outermost JSON objects and lists of a text, in order. Text after an opening bracket that is never closed
 * belongs to a value that was cut, and is not searched.
 */
export function findJson(text: string): JsonRanges {
  const ranges: JsonRange[] = []
  let unclosedCount = 0
  let start = nextOpening(text, 0)
  while (start !== -1) {
    const end = closingEnd(text, start)
    if (end !== -1) ranges.push({ text: text.slice(start, end), start, end })
    else if (opensJson(text, start) || ++unclosedCount > MAX_STRAY) return { ranges, open: true }
    start = nextOpening(text, end === -1 ? start + 1 : end)
    if (ranges.length >= MAX_RANGES) return { ranges, open: start !== -1 }
  }
  return { ranges, open: false }
}

function nextOpening(text: string, from: number): number {
  const brace = text.indexOf('{', from)
  const bracket = text.indexOf('[', from)
  if (brace === -1 || bracket === -1) return Math.max(brace, bracket)
  return Math.min(brace, bracket)
}

function opensJson(text: string, start: number): boolean {
  JSON_OPENING.lastIndex = start
  return JSON_OPENING.test(text)
}

/** Index after the bracket that closes the one at `start`; -1 where it is never closed. */
function closingEnd(text: string, start: number): number {
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

/**
 * Parses JSON with mistakes that models make: comments, single quotes, missing commas. `undefined` if a repair would
 * have to invent a value: text that ends before its brackets are closed, a key without a value, dots in place of list
 * entries.
 */
export function repairJson(text: string): unknown {
  if (text.length > MAX_REPAIR_LENGTH || closingEnd(text, 0) !== text.length) return undefined
  const outsideStrings = text.replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\\n]|\\.)*'/gs, '""')
  if (/:\s*[,}\]]|\.\.\.|…/.test(outsideStrings)) return undefined
  return JSON.parse(loadJsonRepair().jsonrepair(text))
}

/** Few answers need jsonrepair. `require` at the first one saves 3 ms of each start. */
const loadJsonRepair = (): typeof import('jsonrepair') => createRequire(import.meta.url)('jsonrepair')

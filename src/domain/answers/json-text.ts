import { createRequire } from 'node:module'

/** One JSON object or list in a text: from its opening bracket to the index after its closing one. */
export interface JsonRange {
  readonly text: string
  readonly start: number
  readonly end: number
}

export interface JsonRanges {
  readonly ranges: readonly JsonRange[]
  /** The text ends inside a JSON value, or holds more than is read: what follows the ranges is not known. */
  readonly open: boolean
}

/** jsonrepair is many times slower than JSON.parse. */
const MAX_REPAIR_LENGTH = 200_000
const MAX_RANGES = 200
/** Brackets of prose that nothing closes; each costs one walk to the end of the text. */
const MAX_STRAY = 20

/** What can follow the opening bracket of a JSON value, quotes left out or single. Everything else is a bracket of prose. */
const JSON_OPENING = /\{\s*(?:["'}]|[\p{L}_$][\w$]*\s*:)|\[\s*(?:["'{[\]\d-]|true\b|false\b|null\b)/uy

/**
 * The outermost JSON objects and lists of a text, in its order. Nothing behind an opening bracket that is never closed is a value of its own:
 * it is part of one that was cut.
 */
export function findJson(text: string): JsonRanges {
  const ranges: JsonRange[] = []
  let stray = 0
  let start = nextOpening(text, 0)
  while (start !== -1) {
    const end = closingEnd(text, start)
    if (end !== -1) ranges.push({ text: text.slice(start, end), start, end })
    else if (opensJson(text, start) || ++stray > MAX_STRAY) return { ranges, open: true }
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

/** Index after the bracket that closes the one at `start`; -1 where none does. */
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
 * The value of JSON text as models write it: comments, single quotes, missing commas. `undefined` where only an invented value would do: text that
 * ends before its brackets are closed, a key without a value, a list that is only hinted at with dots.
 */
export function repairJson(text: string): unknown {
  if (text.length > MAX_REPAIR_LENGTH || closingEnd(text, 0) !== text.length) return undefined
  const outsideStrings = text.replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\\n]|\\.)*'/gs, '""')
  if (/:\s*[,}\]]|\.\.\.|…/.test(outsideStrings)) return undefined
  return JSON.parse(loadJsonRepair().jsonrepair(text))
}

/** Few answers need it: `require` at the first one keeps 3 ms out of every start. */
const loadJsonRepair = (): typeof import('jsonrepair') => createRequire(import.meta.url)('jsonrepair')

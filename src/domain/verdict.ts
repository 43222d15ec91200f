import * as z from 'zod'
import type { JsonSchema } from './model-call.ts'
import { parseScore, readProseVerdict } from './prose-verdict.ts'
import { type HowRead, readStructured, withoutThinking } from './structured-output.ts'

/** A judge's word on a draft. At least one of score and approval is there. */
export const verdictSchema = z
  .object({
    /** 0 to 1. */
    score: z.number().min(0).max(1).optional(),
    approved: z.boolean().optional(),
    issues: z.array(z.string()).default([]),
    feedback: z.string().default(''),
  })
  .refine(({ score, approved }) => score !== undefined || approved !== undefined, 'expected a score or an approval')

export type Verdict = z.output<typeof verdictSchema>

export interface VerdictReading {
  readonly verdict: Verdict
  /** `text`: from a score or a decision in prose. */
  readonly how: HowRead | 'text'
}

/**
 * For native structured output: every key required, none beside them, no bounds (not every vendor's strict mode knows them).
 * Reasons stand before the score, so that the score follows from them.
 */
export const VERDICT_JSON_SCHEMA: JsonSchema = {
  type: 'object',
  properties: {
    issues: { type: 'array', items: { type: 'string' }, description: 'What is wrong, one point each; empty when nothing is.' },
    feedback: { type: 'string', description: 'What to change, for the writer.' },
    score: { type: 'number', description: 'Quality from 0 (useless) to 1 (nothing left to improve).' },
    approved: { type: 'boolean', description: 'Whether the text can go out as it is.' },
  },
  required: ['issues', 'feedback', 'score', 'approved'],
  additionalProperties: false,
}

/** What a judge is told at the end of its prompt. */
export const verdictInstruction = (): string =>
  'Answer with one JSON object and nothing else: {"issues": [what is wrong, one string each], "feedback": "what to change", ' +
  '"score": a number from 0 (useless) to 1 (nothing left to improve), "approved": true or false}'

/** Keys under which judges say what a score is out of. */
const SCALE_KEYS = ['scale', 'outof', 'out_of', 'max', 'maxscore', 'max_score']

/** A verdict as models write it, before its parts are read. */
const writtenVerdictSchema = z.preprocess((value) => (isObject(value) ? toVerdict(value) : value), verdictSchema)

/**
 * The verdict in a judge's answer: JSON as `readStructured` finds it, else a labelled score or decision in prose (`8/10`, `85%`, `SCORE: 0.8`).
 * What has no scale, more than one reading or no number is no verdict: `undefined`, never score 0.
 */
export function readVerdict(answer: string): VerdictReading | undefined {
  const structured = readStructured(answer, writtenVerdictSchema)
  if ('value' in structured) return { verdict: verdictSchema.parse(structured.value), how: structured.how }
  const text = withoutThinking(answer).trim()
  // An object that tries to be a verdict and is none must not be searched for stray numbers.
  if ('value' in readStructured(text, judgedSchema)) return undefined
  const found = readProseVerdict(text)
  return found && { verdict: { ...found, issues: [], feedback: text }, how: 'text' }
}

const judgedSchema = z.record(z.string(), z.unknown()).refine((object) => {
  const keys = Object.keys(object).map((key) => key.toLowerCase())
  return keys.includes('score') || keys.includes('approved')
})

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value)

function toVerdict(written: object) {
  const fields = new Map<string, unknown>(Object.entries(written).map(([key, value]) => [key.toLowerCase(), value]))
  const scale = SCALE_KEYS.map((key) => fields.get(key)).find((value) => typeof value === 'number')
  return {
    score: toScore(fields.get('score'), scale),
    approved: toApproval(fields.get('approved')),
    issues: toIssues(fields.get('issues')),
    feedback: toText(fields.get('feedback')),
  }
}

function toScore(value: unknown, scale: unknown): number | undefined {
  if (typeof value === 'string') return parseScore(value)
  if (typeof value !== 'number' || !(value >= 0)) return undefined
  if (value <= 1) return value
  return typeof scale === 'number' && value <= scale ? value / scale : undefined
}

function toApproval(value: unknown): boolean | undefined {
  if (typeof value === 'boolean') return value
  if (typeof value !== 'string') return undefined
  const word = value.trim().toLowerCase()
  if (word === 'true' || word === 'yes') return true
  return word === 'false' || word === 'no' ? false : undefined
}

function toIssues(value: unknown): string[] {
  if (typeof value === 'string') return value.trim() === '' ? [] : [value]
  return Array.isArray(value) ? value.map(toText).filter((text) => text !== '') : []
}

/** Objects come as `key: value` lines; judges like `{ "severity": "high", "issue": "…" }`. */
function toText(value: unknown): string {
  if (typeof value === 'string') return value
  if (value === undefined || value === null) return ''
  if (typeof value !== 'object') return String(value)
  if (Array.isArray(value)) return value.map(toText).join('\n')
  return Object.entries(value)
    .map(([key, member]) => `${key}: ${typeof member === 'object' ? JSON.stringify(member) : String(member)}`)
    .join('; ')
}

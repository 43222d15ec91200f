import * as z from 'zod'
import type { JsonSchema } from '../execution/model-call.ts'
import { findJson, repairJson } from './json-text.ts'
import { namesScaleOfOne, type ProseVerdict, readProseVerdict } from './prose-verdict.ts'
import { plainKey, readScore } from './score.ts'
import { type HowRead, type ReadingOptions, withoutThinking } from './structured-output.ts'

/** A reviewer's verdict on a draft, with a score, an approval or both. */
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

/**
 * The fields of a verdict that control a loop. Each is validated separately, because the step may have another output
 * schema.
 */
const steeringSchema = z
  .object({ score: verdictSchema.shape.score.catch(undefined), approved: verdictSchema.shape.approved.catch(undefined) })
  .catch({ score: undefined, approved: undefined })

/**
 * Score of a step's `parsed` value, 0 to 1. A verdict that only approves counts as 1; anything else has no score, never
 * 0.
 */
export function scoreOf(parsed: unknown): number | undefined {
  const { score, approved } = steeringSchema.parse(parsed)
  return score ?? (approved === true ? 1 : undefined)
}

/** Whether a step's `parsed` value is a verdict that approves. */
export const isApproved = (parsed: unknown): boolean => steeringSchema.parse(parsed).approved === true

export interface VerdictReading {
  readonly verdict: Verdict
  /** `text`: from a score or a decision in prose. */
  readonly how: HowRead | 'text'
}

/**
 * Schema for native structured output: all keys required, no other keys, and no bounds, which the strict mode of some
 * vendors rejects. The reasons come before the score, so that the model writes them first.
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

/** The instruction at the end of a reviewer's prompt. */
export const verdictInstruction = (): string =>
  'Answer with one JSON object and nothing else: {"issues": [what is wrong, one string each], "feedback": "what to change", ' +
  '"score": a number from 0 (useless) to 1 (nothing left to improve), "approved": true or false}'

/** A reading, or the problem with the answer, for the notes of the step. */
export type VerdictOutcome = VerdictReading | { readonly problem: string }

/** Maximum number of characters of an answer that are read. */
const MAX_LENGTH = 2_000_000

const NO_VERDICT = { problem: 'it contains no verdict' } as const
const CUT = { problem: 'its JSON is incomplete' } as const
const UNREADABLE = { problem: 'its score fits no scale' } as const
const SEVERAL = { problem: 'it contains more than one verdict, and they differ' } as const

/**
 * Reads the verdict in a reviewer's answer: a JSON object, else a labelled score or decision in prose (`8/10`, `85%`,
 * `SCORE: 0.8`). A reviewer may quote the draft or an example of an answer, so two different verdicts count as none,
 * wherever they are. A verdict that was cut, has no scale or can be read in two ways does not count either, and never
 * becomes score 0.
 */
export function readVerdict(answer: string, { cut = false }: ReadingOptions = {}): VerdictOutcome {
  const trimmed = answer.slice(0, MAX_LENGTH).trim()
  const text = withoutThinking(trimmed).trim()
  const value = parse(trimmed) ?? parse(text)
  if (isObject(value)) return ofObjects([{ value, how: 'json' }], undefined)
  const { ranges, open } = findJson(text)
  const objects: FoundObject[] = []
  let prose = ''
  let end = 0
  for (const range of ranges) {
    const before = text.slice(end, range.start)
    prose += before
    end = range.end
    const found = parse(range.text)
    const read = found ?? attempt(() => repairJson(range.text))
    const how = found === undefined ? 'repaired' : /```\w*\s*$/.test(before) ? 'fenced' : 'balanced'
    if (typeof read === 'object' && read !== null) objects.push({ value: read, how })
  }
  prose += text.slice(end)
  const verdicts = objects.flatMap(verdictObjectsIn)
  // The missing part may hold the reviewer's own verdict, and a verdict before it may be a quoted one.
  if (open && (verdicts.length > 0 || VERDICT_KEY.test(text))) return CUT
  if (verdicts.length > 0) return ofObjects(verdicts, readProseVerdict(prose, { cut, labelled: true }))
  const found = readProseVerdict(prose, { cut })
  return found ? { verdict: { ...found, issues: [], feedback: text }, how: 'text' } : NO_VERDICT
}

interface FoundObject {
  readonly value: object
  readonly how: HowRead
  /** The object around the verdict, if any; it may state the scale. */
  readonly container?: object
}

function ofObjects(found: readonly FoundObject[], prose: ProseVerdict | undefined): VerdictOutcome {
  const verdicts = found.flatMap(verdictObjectsIn)
  const readings: VerdictReading[] = []
  for (const { value, how, container = {} } of verdicts) {
    const read = toVerdict({ ...withoutScore(container), ...value })
    if (read === 'unreadable') return UNREADABLE
    const checked = read && verdictSchema.safeParse(read)
    if (checked?.success) readings.push({ verdict: checked.data, how })
  }
  const last = readings.at(-1)
  if (!last) return NO_VERDICT
  const { score, approved } = last.verdict
  const isUnanimous = readings.every(({ verdict }) => verdict.score === score && verdict.approved === approved)
  return isUnanimous && !contradicts(prose, last.verdict) ? last : SEVERAL
}

function contradicts(prose: ProseVerdict | undefined, { score, approved }: Verdict): boolean {
  if (!prose) return false
  if (prose.disapproves && approved === true) return true
  const differs = prose.score !== undefined && score !== undefined && Math.abs(prose.score - score) > ROUNDING
  return differs || (prose.approved !== undefined && approved !== undefined && prose.approved !== approved)
}

/** Tolerance, because reviewers round a score that they repeat in words. */
const ROUNDING = 0.051

const VERDICT_KEY = /["']?\b(?:score|approved)["']?\s*:/i

/**
 * The objects that have the fields of a verdict: the value itself, else its members (`{ "verdict": { … } }`, a list of
 * one).
 */
function verdictObjectsIn({ value, how }: FoundObject): readonly FoundObject[] {
  if (isObject(value) && isVerdictLike(value)) return [{ value, how }]
  const members: readonly (readonly [string, unknown])[] = Object.entries(value)
  return members.flatMap(([key, member]) =>
    isObject(member) && isVerdictLike(member) && !QUOTED_KEY.test(key) ? [{ value: member, how, container: value }] : [],
  )
}

/** Keys of members that quote another text. */
const QUOTED_KEY = /quot|draft|example|sample|previous|earlier|original|author/i

const withoutScore = (container: object): object =>
  Object.fromEntries(Object.entries(container).filter(([, member]) => typeof member !== 'object' || Array.isArray(member)))

const isVerdictLike = (object: object): boolean => Object.keys(object).some((key) => /^(?:score|approved)$/i.test(key))

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null && !Array.isArray(value)

const parse = (text: string): unknown => attempt(() => JSON.parse(text))

function attempt(read: () => unknown): unknown {
  try {
    return read()
  } catch {
    return undefined
  }
}

/**
 * The fields of a verdict, converted from the forms in which models write them; `unreadable` if the score is a number
 * that cannot be converted.
 */
function toVerdict(object: object) {
  const fields = new Map<string, unknown>(Object.entries(object).map(([key, value]) => [plainKey(key), value]))
  const score = readScore(fields.get('score'), fields)
  if (score === 'unreadable') return score
  // A bare 1 is the best score on the requested scale, but almost the worst on a scale that the text beside it names.
  if (score === 1 && fields.get('score') === 1 && namesScaleOfOne(Object.values(object).map(toText).join('\n')))
    return 'unreadable'
  return {
    score,
    approved: toApproval(fields.get('approved')),
    issues: toIssues(fields.get('issues')),
    feedback: toText(fields.get('feedback')),
  }
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

/**
 * Converts a value to text. Objects become `key: value` pairs, because reviewers often write `{ "severity": "high",
 * "issue": "…" }`.
 */
function toText(value: unknown): string {
  if (typeof value === 'string') return value
  if (value === undefined || value === null) return ''
  if (typeof value !== 'object') return String(value)
  if (Array.isArray(value)) return value.map(toText).join('\n')
  return Object.entries(value)
    .map(([key, member]) => `${key}: ${typeof member === 'object' ? JSON.stringify(member) : String(member)}`)
    .join('; ')
}

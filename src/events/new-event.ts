import * as z from 'zod'
import { toProblems } from '../domain/definition/problems.ts'
import { EVENT_PRIORITIES, type NewEvent } from '../domain/event.ts'
import { replaceUnstorable } from '../domain/storable-text.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'

/** Bytes of the data of one event as JSON. */
const MAX_EVENT_BYTES = 65_536

const name = z
  .string()
  .min(1)
  .max(100)
  .regex(/^[\w.:-]+$/, 'expected letters, digits and the characters _ . : -')
const id = z
  .string()
  .min(1)
  .max(200)
  // Postgres refuses NUL in text, and its driver changes a surrogate without its other half.
  .regex(/^[^\0]*$/, 'expected text without NUL')
  .regex(/^\P{Surrogate}*$/u, 'expected text without lone surrogates')

const newEventSchema = z.strictObject({
  type: name,
  source: name,
  subject: id.optional(),
  correlationId: id.optional(),
  causationId: id.optional(),
  userId: id.optional(),
  priority: z.enum(EVENT_PRIORITIES).default('normal'),
})

/** An event whose fields are known to be valid and whose data is a copy, so that a later change does not reach it. */
export type ParsedEvent = z.output<typeof newEventSchema> & { readonly data: unknown }

/** Levels of objects and lists in the data. Databases and clients refuse deeper ones, each at a depth of its own. */
const MAX_LEVELS = 100

/** Throws EVENT_INVALID with the field and what it expects. */
export function parseNewEvent(event: NewEvent): ParsedEvent {
  if (typeof event !== 'object' || event === null) throw invalid('event', `expected an object, found ${typeof event}`)
  const { data, ...fields } = event
  const parsed = newEventSchema.safeParse(fields)
  if (parsed.success) return { ...parsed.data, data: copyData(data) }
  const [problem] = toProblems(newEventSchema, parsed.error.issues, fields)
  throw invalid(problem?.path ?? 'event', problem?.message ?? 'expected an event')
}

function copyData(data: unknown): unknown {
  const json = toJson(data)
  const bytes = Buffer.byteLength(json)
  if (bytes > MAX_EVENT_BYTES) throw invalid('data', `expected at most ${MAX_EVENT_BYTES} bytes of JSON, found ${bytes}`)
  const copy: unknown = JSON.parse(json)
  if (!hasLevels(copy, MAX_LEVELS)) throw invalid('data', `expected at most ${MAX_LEVELS} levels of objects and lists`)
  return copy
}

/** Whether a value has at most so many levels. Stops there, so that a deep one does not exhaust the stack. */
const hasLevels = (value: unknown, levels: number): boolean => {
  if (typeof value !== 'object' || value === null) return true
  return levels > 0 && Object.values(value).every((member) => hasLevels(member, levels - 1))
}

function toJson(data: unknown): string {
  try {
    // Handlers of this process get what the database gives to all others.
    const json: string | undefined = JSON.stringify(data ?? null)
    if (json !== undefined) return replaceUnstorable(json)
  } catch {
    // Said below.
  }
  throw invalid('data', 'expected JSON, found a value that JSON cannot hold')
}

const invalid = (field: string, problem: string): OrchestratorError =>
  new OrchestratorError('EVENT_INVALID', `${field}: ${problem}`, { details: { field } })

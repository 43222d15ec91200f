import * as z from 'zod'
import { WAIT_KINDS } from '../domain/waiting/wait.ts'
import { arrayOf, id, instant, pageOf, queryInteger } from './instant.ts'

/** Text that every database can store without loss. */
const text = (maxLength: number) =>
  z
    .string()
    .max(maxLength)
    .regex(/^[^\0\p{Surrogate}]*$/u, 'expected text without NUL and unpaired surrogates')

/** Address of a step within its flow: its id, `step[3]` for an item, `outer/inner` inside a sub-flow. */
export const stepPath = text(500).min(1)

/** A decision about a step that waits, or the data of an event for it. */
export const stepAnswer = z.strictObject({
  /** Required for an approval. */
  approved: z.boolean().optional(),
  /** Replaces the text that the step shows. */
  edit: z.string().max(1_000_000).optional(),
  /** Must fit the schema of the step. */
  data: z.unknown().optional(),
  /** `hash` of the step in the list: the decision is refused if the step shows something else by now. */
  hash: text(200).optional(),
})

const waitKey = { flowId: z.string(), path: z.string(), iteration: z.number() }

/** The decision that counts. */
export const stepDecision = z.object({
  ...waitKey,
  approved: z.boolean().optional(),
  edit: z.string().optional(),
  data: z.unknown().optional(),
  by: z.string(),
  at: instant,
})

/** An event for the steps that wait for it. */
export const newEvent = z.strictObject({
  event: text(200).min(1),
  /** Reaches the steps with the same text as their `correlation`; without it those that have none. */
  correlation: text(10_000).min(1).optional(),
  data: z.unknown().optional(),
})
/** The steps that an event has reached. */
export const eventDelivery = z.object({ delivered: arrayOf(z.object(waitKey)) })

const waitKind = z.enum(WAIT_KINDS)

/** A step that waits for a decision, a time or an event. */
export const waitingStep = z.object({
  ...waitKey,
  threadId: z.string(),
  kind: waitKind,
  prompt: z.string().optional(),
  /** The text that is decided about. */
  show: z.string().optional(),
  /** JSON Schema of `data`. */
  schema: z.record(z.string(), z.unknown()).optional(),
  event: z.string().optional(),
  correlation: z.string().optional(),
  since: instant,
  deadline: instant.optional(),
  hash: z.string(),
  /** Whether an answer of the caller is accepted. */
  mayAnswer: z.boolean(),
})
export const waitingPage = pageOf(waitingStep)

export const waitingListQuery = z.strictObject({
  /** Only steps of this flow. Default: steps of all flows that the caller may read. */
  flowId: id.optional(),
  limit: queryInteger(1, 1_000).optional(),
  cursor: z.string().max(4_000).optional(),
})
/** The path stands in the address under the name that routes of a step have. */
export const stepPathParams = z.object({ flowId: id, stepId: stepPath })

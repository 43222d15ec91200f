import * as z from 'zod'
import type { EventQuery } from '../../domain/event.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

const id = z.string().min(1)
const seq = z.int().min(0)

const querySchema = z.strictObject({
  afterSeq: seq.optional(),
  afterUpdateSeq: seq.optional(),
  throughSeq: seq.optional(),
  from: z.date().optional(),
  to: z.date().optional(),
  types: z.array(z.string()).optional(),
  subject: id.optional(),
  correlationId: id.optional(),
  userId: id.optional(),
}) satisfies z.ZodType<EventQuery>

/** Throws INPUT_INVALID: a field of another name would find every event. */
export function assertReplayInput(query: unknown, handler: unknown): void {
  const parsed = querySchema.safeParse(query)
  const [issue] = parsed.error?.issues ?? []
  if (issue) throw wrong(['replay', ...issue.path].join('.'), issue.message)
  if (typeof handler !== 'function') throw wrong('replay', 'expected a function as handler')
}

/** Throws INPUT_INVALID: without an id every event would be found. */
export function assertCorrelationId(correlationId: unknown): void {
  if (!id.safeParse(correlationId).success) throw wrong('correlated', 'expected an id')
}

const wrong = (subject: string, problem: string): OrchestratorError =>
  new OrchestratorError('INPUT_INVALID', `${subject}: ${problem}`)

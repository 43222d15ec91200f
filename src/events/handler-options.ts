import * as z from 'zod'
import { LONGEST_TIMER_MS } from '../async/clock.ts'
import type { EventFilter } from '../domain/event.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'

const filterSchema = z.strictObject({
  type: z.union([z.string(), z.array(z.string())]).optional(),
  source: z.string().optional(),
  subject: z.string().optional(),
  correlationId: z.string().optional(),
  userId: z.string().optional(),
})

const functionSchema = z.custom((value) => typeof value === 'function', 'expected a function')

/** Limits of handlers. A queue without a limit, or with a negative one, would stop the process. */
const optionsSchema = z.object({
  maxQueue: z.int().min(1).optional(),
  maxQueueBytes: z.int().min(1).optional(),
  overflow: z.enum(['drop_low', 'drop_oldest']).optional(),
  order: z.enum(['priority', 'arrival']).optional(),
})

const aggregateSchema = optionsSchema.extend({
  windowMs: z.number().positive().max(LONGEST_TIMER_MS),
  maxSize: z.int().min(1),
  by: functionSchema.optional(),
})

/** Throws INPUT_INVALID for a filter, a handler or options of `on` that are of the wrong form. */
export function assertHandlerInput(filter: EventFilter, handler: unknown, options: unknown): void {
  assertForm(filterSchema, filter, 'filter')
  assertForm(functionSchema, handler, 'function')
  assertForm(optionsSchema, options, 'options')
}

/** Throws INPUT_INVALID for options or a handler of `aggregate` that are of the wrong form. */
export function assertAggregateInput(options: unknown, handler: unknown): void {
  assertForm(aggregateSchema, options, 'options')
  assertForm(functionSchema, handler, 'function')
}

function assertForm(schema: z.ZodType, value: unknown, name: string): void {
  const parsed = schema.safeParse(value)
  if (parsed.success) return
  const [issue] = parsed.error.issues
  const path = [name, ...(issue?.path ?? [])].join('.')
  throw new OrchestratorError('INPUT_INVALID', `${path} of a handler of events: ${issue?.message ?? 'expected an object'}`)
}

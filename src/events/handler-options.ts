import * as z from 'zod'
import type { EventFilter } from '../domain/event.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'

/** The longest time of a timer; a longer one would end at once. */
const MAX_TIMER_MS = 2_147_483_647

const filterSchema = z.strictObject({
  type: z.union([z.string(), z.array(z.string())]).optional(),
  source: z.string().optional(),
  subject: z.string().optional(),
  correlationId: z.string().optional(),
  userId: z.string().optional(),
})

/** Limits of handlers. A queue without a limit, or with a negative one, would stop the process. */
const optionsSchema = z.object({
  maxQueue: z.int().min(1).optional(),
  maxQueueBytes: z.int().min(1).optional(),
  overflow: z.enum(['drop_low', 'drop_oldest']).optional(),
  order: z.enum(['priority', 'arrival']).optional(),
})

const aggregateSchema = optionsSchema.extend({
  windowMs: z.number().positive().max(MAX_TIMER_MS),
  maxSize: z.int().min(1),
})

/** Throws INPUT_INVALID for a filter or options of `on` that are of the wrong form. */
export function assertHandlerInput(filter: EventFilter, options: unknown): void {
  assertForm(filterSchema, filter, 'filter')
  assertForm(optionsSchema, options, 'options')
}

/** Throws INPUT_INVALID for options of `aggregate` that are of the wrong form. */
export const assertAggregateOptions = (options: unknown): void => assertForm(aggregateSchema, options, 'options')

function assertForm(schema: z.ZodType, value: unknown, name: string): void {
  const parsed = schema.safeParse(value)
  if (parsed.success) return
  const [issue] = parsed.error.issues
  const path = [name, ...(issue?.path ?? [])].join('.')
  throw new OrchestratorError('INPUT_INVALID', `${path} of a handler of events: ${issue?.message ?? 'expected an object'}`)
}

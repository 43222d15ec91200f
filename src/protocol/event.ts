import * as z from 'zod'
import { EVENT_PRIORITIES } from '../domain/event.ts'
import { arrayOf, id, instant, queryInteger } from './instant.ts'

/** One event of the log, or an update of a flow as an event. */
export const event = z.object({
  id: z.string(),
  /** Number in the log; 0 for updates of flows. */
  seq: z.number().int(),
  type: z.string(),
  source: z.string(),
  subject: z.string().optional(),
  correlationId: z.string().optional(),
  causationId: z.string().optional(),
  userId: z.string().optional(),
  priority: z.enum(EVENT_PRIORITIES),
  data: z.unknown(),
  timestamp: instant,
})

const afterSeq = queryInteger(0, Number.MAX_SAFE_INTEGER).optional()

/** One type or several, separated by commas; `service_*` means all types that begin like it. */
const types = z
  .string()
  .min(1)
  .max(1_000)
  .transform((text) => text.split(','))
  .pipe(z.array(z.string().regex(/^[\w.:-]*\*?$/, 'expected a type, or its beginning and *')))

const eventsQueryFields = z.strictObject({
  correlationId: id.optional(),
  type: types.optional(),
  /**
   * Only events of the log with a higher number. Without it a list begins with the oldest event and has the updates of
   * the flow with the correlation id, and a stream begins now.
   */
  afterSeq,
  /** `nextCursor` of the page before, in a list. It counts updates of flows as well, which `afterSeq` leaves out. */
  cursor: z
    .string()
    .regex(/^\d{1,15}\.\d{1,15}$/, 'expected the nextCursor of a list of events')
    .optional(),
  limit: queryInteger(1, 1_000).default(100),
})
export const eventsQuery = eventsQueryFields.refine(
  ({ afterSeq, cursor }) => afterSeq === undefined || cursor === undefined,
  'expected afterSeq or cursor and not both',
)
export const eventList = z.object({
  items: arrayOf(event),
  /** Value of `cursor` for the next page; absent on the last one. */
  nextCursor: z.string().optional(),
  /** The highest number of the log so far: a value of `afterSeq`. */
  lastSeq: z.number().int(),
})

/** Which events a WebSocket receives. */
export const eventFilter = z.strictObject({
  type: z.union([id, z.array(id).max(100)]).optional(),
  source: id.optional(),
  subject: id.optional(),
  correlationId: id.optional(),
})

/** An event that a caller publishes. Only operators may set `source` and `userId`. */
export const publishedEvent = z.strictObject({
  type: id,
  source: id.optional(),
  subject: id.optional(),
  correlationId: id.optional(),
  causationId: id.optional(),
  userId: id.optional(),
  priority: z.enum(EVENT_PRIORITIES).optional(),
  data: z.unknown(),
})

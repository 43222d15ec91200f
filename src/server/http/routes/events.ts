import * as z from 'zod'
import type { EventPosition } from '../../../orchestrator/events/event-page.ts'
import { event, eventList, eventsQuery, publishedEvent } from '../../../protocol/event.ts'
import { eventDelivery, newEvent } from '../../../protocol/waiting.ts'
import { permissionDeniedForEvent } from '../../access/event-rights.ts'
import { callerOf, type Routes } from '../../requests/routes.ts'
import type { ServerDeps } from '../../server-deps.ts'
import { sendEventHeaders } from '../../streaming/begin-events.ts'
import { openEventReader, readerOf } from '../../streaming/event-reader.ts'
import type { EventStreams } from '../event-streams.ts'

const tags = ['events']
/** A number that this server has sent; anything else counts as absent. */
const lastEventId = z
  .string()
  .regex(/^\d{1,15}$/)
  .transform(Number)
  .optional()
  .catch(undefined)

/** The event log, and events for steps that wait. */
export const eventRoutes =
  ({ events, orchestrator }: Pick<ServerDeps, 'events' | 'orchestrator'>, streams: Pick<EventStreams, 'open'>): Routes =>
  async (app) => {
    app.get(
      '/events',
      {
        schema: {
          operationId: 'listEvents',
          tags,
          summary:
            'List events, or stream them with `Accept: text/event-stream` after `Last-Event-ID` or `afterSeq`; with the scope `operate` those of all users',
          querystring: eventsQuery,
          response: {
            200: {
              description: 'Events by time, or each as an event of its type',
              content: { 'application/json': { schema: eventList }, 'text/event-stream': { schema: event } },
            },
          },
        },
        config: { scope: 'read' },
      },
      async (request, reply) => {
        const caller = callerOf(request)
        const { correlationId, type: types, afterSeq, cursor, limit } = request.query
        if (!wantsStream(request.headers.accept)) {
          const position = cursor === undefined ? { afterSeq } : toPosition(cursor)
          const found = await events.page({ correlationId, types, ...position }, limit, readerOf(caller))
          const { events: items, next } = found
          // A number above the newest one would hide all events up to it from a client that reads page after page.
          const fromSeq = items.length === 0 && afterSeq ? Math.min(afterSeq, await events.newestSeq()) : (position.afterSeq ?? 0)
          const lastSeq = items.reduce((last, { seq }) => Math.max(last, seq), fromSeq)
          return reply.send({ items, lastSeq, ...(next && { nextCursor: `${next.afterSeq}.${next.afterUpdateSeq}` }) })
        }
        if (request.method === 'HEAD') return sendEventHeaders(reply)
        const after = lastEventId.parse(request.headers['last-event-id']) ?? afterSeq
        const filter = { type: types, correlationId }
        await streams.open(request, reply, ({ isFull, write }) =>
          openEventReader(events, {
            caller,
            filter,
            afterSeq: after,
            sink: {
              isFull,
              send: (sent) => write(toText(sent.seq, sent.type, z.encode(event, sent))),
              gap: (from, to) => write(toText(0, 'gap', { from, to })),
            },
          }),
        )
        return reply
      },
    )

    app.post(
      '/events',
      {
        schema: {
          operationId: 'sendEvent',
          tags,
          summary:
            'Publish an event with a `type` into the log, or send one with the name `event` to every step that waits for it now, in the flows that you may write',
          body: z.union([newEvent, publishedEvent]),
          response: { 200: eventDelivery, 201: event },
        },
        config: { scope: 'execute', idempotent: true },
      },
      async (request, reply) => {
        const caller = callerOf(request)
        const { body } = request
        if ('event' in body) return reply.code(200).send(await orchestrator.signalEvent(caller.userId, body))
        const { source = 'user', userId = caller.userId, priority, data = null, ...fields } = body
        if (caller.scopes.includes('operate')) {
          const owner = source === 'user' || body.userId !== undefined ? { userId } : {}
          return reply.code(201).send(await events.publish({ ...fields, ...owner, source, priority, data }))
        }
        if (source !== 'user' || userId !== caller.userId || priority === 'critical') throw permissionDeniedForEvent()
        return reply.code(201).send(await events.publishAs(caller.userId, { ...fields, priority, data }))
      },
    )
  }

function toPosition(cursor: string): EventPosition {
  const [afterSeq, afterUpdateSeq] = cursor.split('.').map(Number)
  return { afterSeq: afterSeq ?? 0, afterUpdateSeq: afterUpdateSeq ?? 0 }
}

/** A client that takes JSON as well gets JSON, which ends. */
const wantsStream = (accept = ''): boolean => accept.includes('text/event-stream') && !accept.includes('application/json')

/** Updates of flows have no number of the log: a client that reconnects continues after the last event that has one. */
const toText = (seq: number, type: string, data: unknown): string =>
  `${seq === 0 ? '' : `id: ${seq}\n`}event: ${type}\ndata: ${JSON.stringify(data)}\n\n`

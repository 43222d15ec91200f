import * as z from 'zod'
import { event, eventFilter } from './event.ts'
import { execution, flowStatusReport } from './flow.ts'
import { arrayOf, id } from './instant.ts'
import { problem } from './problem.ts'
import { serviceReport } from './service.ts'
import { stepAnswer, stepDecision, stepPath } from './waiting.ts'

/** Subprotocol of the WebSocket. A browser sends its ticket as a second one, `ticket.<ticket>`. */
export const SOCKET_PROTOCOL = 'polyphony.v1'
export const TICKET_PREFIX = 'ticket.'

/** Repeated in the answer, so that a client can match it with its message. */
const requestId = id.optional()

/** Messages of a client. The server defines their handling in `server/socket/messages.ts`. */
export const clientFrame = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('subscribe'),
    requestId,
    flowId: id,
    /** Number of the last update that the client has received. Default: 0. */
    afterSeq: z.number().int().min(0).max(2_147_483_647).default(0),
  }),
  z.strictObject({ type: z.literal('unsubscribe'), requestId, flowId: id }),
  z.strictObject({ type: z.literal('execute'), requestId, flowId: id, options: execution.optional() }),
  z.strictObject({ type: z.literal('cancel'), requestId, flowId: id }),
  z.strictObject({ type: z.literal('signal'), requestId, flowId: id, path: stepPath, answer: stepAnswer }),
  z.strictObject({
    type: z.literal('subscribe_events'),
    requestId,
    filter: eventFilter.default({}),
    /** Number of the last event that the client has received. Default: only events from now on. */
    afterSeq: z.number().int().min(0).optional(),
  }),
  z.strictObject({ type: z.literal('unsubscribe_events'), requestId }),
  /** Asks for the states of all services, then for every change. */
  z.strictObject({ type: z.literal('subscribe_services'), requestId }),
  z.strictObject({ type: z.literal('ping'), requestId }),
])
export type ClientFrame = z.output<typeof clientFrame>
export type ClientFrameInput = z.input<typeof clientFrame>

/** Messages of the server, apart from updates, which it sends without an envelope. */
export const serverFrame = z.discriminatedUnion('type', [
  z.object({ type: z.literal('subscribed'), requestId, flowId: z.string(), afterSeq: z.number() }),
  z.object({ type: z.literal('unsubscribed'), requestId, flowId: z.string() }),
  /** Answer to `execute` and `cancel`. */
  z.object({ type: z.literal('status'), requestId, flowId: z.string(), status: flowStatusReport }),
  /** Answer to `signal`. */
  z.object({ type: z.literal('decided'), requestId, flowId: z.string(), decision: stepDecision }),
  /** The flow has ended, and with it the subscription. There are no more updates until the flow is executed again. */
  z.object({ type: z.literal('end'), flowId: z.string(), status: z.string(), lastSeq: z.number() }),
  z.object({ type: z.literal('events_subscribed'), requestId, afterSeq: z.number().optional() }),
  z.object({ type: z.literal('events_unsubscribed'), requestId }),
  z.object({ type: z.literal('event'), event }),
  /** Events from and to these numbers were dropped, because the client read too slowly. */
  z.object({ type: z.literal('gap'), from: z.number(), to: z.number() }),
  z.object({ type: z.literal('pong'), requestId }),
  /** Answer to `subscribe_services`: the number of services, whose states are sent next. */
  z.object({ type: z.literal('services_subscribed'), requestId, services: z.number() }),
  /** State of one service; at most four a second of each. */
  z.object({ type: z.literal('service'), service: serviceReport }),
  /** A message was not processed, or a subscription ended, because of this problem. */
  z.object({ type: z.literal('refused'), requestId, flowId: z.string().optional(), problem }),
])
export type ServerFrame = z.output<typeof serverFrame>
export type WireServerFrame = z.input<typeof serverFrame>

/** Codes and reasons with which the server closes a WebSocket. */
export const SOCKET_CLOSE = {
  /** The server is shutting down. Clients should reconnect. */
  goingAway: { code: 1001, reason: 'server is closing' },
  /** The client sent too many frames that are not valid. */
  policy: { code: 1008, reason: 'too many invalid frames' },
  tooBig: { code: 1009, reason: 'message too big' },
  /** The client read too slowly. It can reconnect with `afterSeq` and loses nothing. */
  slow: { code: 4008, reason: 'reader too slow' },
  flooded: { code: 4029, reason: 'too many messages' },
  /** The key was revoked, or the key or token has expired. */
  unauthenticated: { code: 4401, reason: 'no longer authenticated' },
} as const

/** Ticket that opens one WebSocket, once. For browsers, which cannot set headers on WebSockets. */
export const ticket = z.object({ ticket: z.string(), protocols: arrayOf(z.string()), expiresAt: z.string() })

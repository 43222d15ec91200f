import * as z from 'zod'
import { execution, flowStatusReport } from './flow.ts'
import { arrayOf, id } from './instant.ts'
import { problem } from './problem.ts'

/** Subprotocol of the WebSocket; a browser sends its ticket as a second one, `ticket.<ticket>`. */
export const SOCKET_PROTOCOL = 'polyphony.v1'
export const TICKET_PREFIX = 'ticket.'

/** Given back with the answer, so that a client finds what it asked. */
const requestId = id.optional()

/** What a client may send. */
export const clientFrame = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('subscribe'),
    requestId,
    flowId: id,
    /** The last update that the client has; default 0. */
    afterSeq: z.number().int().min(0).max(2_147_483_647).default(0),
  }),
  z.strictObject({ type: z.literal('unsubscribe'), requestId, flowId: id }),
  z.strictObject({ type: z.literal('execute'), requestId, flowId: id, options: execution.optional() }),
  z.strictObject({ type: z.literal('cancel'), requestId, flowId: id }),
  z.strictObject({ type: z.literal('ping'), requestId }),
])
export type ClientFrame = z.output<typeof clientFrame>
export type ClientFrameInput = z.input<typeof clientFrame>

/** What the server sends besides updates, which stand alone as they are. */
export const serverFrame = z.discriminatedUnion('type', [
  z.object({ type: z.literal('subscribed'), requestId, flowId: z.string(), afterSeq: z.number() }),
  z.object({ type: z.literal('unsubscribed'), requestId, flowId: z.string() }),
  /** Answer to `execute` and `cancel`. */
  z.object({ type: z.literal('status'), requestId, flowId: z.string(), status: flowStatusReport }),
  /** Nothing follows on this flow until it is executed again; the subscription is over. */
  z.object({ type: z.literal('end'), flowId: z.string(), status: z.string(), lastSeq: z.number() }),
  z.object({ type: z.literal('pong'), requestId }),
  /** What was asked is not done, or a subscription ended because of it. */
  z.object({ type: z.literal('refused'), requestId, flowId: z.string().optional(), problem }),
])
export type ServerFrame = z.output<typeof serverFrame>
export type WireServerFrame = z.input<typeof serverFrame>

/** Why the server closes a WebSocket. */
export const SOCKET_CLOSE = {
  /** The server shuts down: connect again. */
  goingAway: { code: 1001, reason: 'server is closing' },
  /** A frame that is no JSON object of this protocol, again and again. */
  policy: { code: 1008, reason: 'too many frames that could not be understood' },
  tooBig: { code: 1009, reason: 'message too big' },
  /** Connect again with `afterSeq`: nothing is lost. */
  slow: { code: 4008, reason: 'reader too slow' },
  flooded: { code: 4029, reason: 'too many messages' },
  /** The key was revoked or the token expired. */
  unauthenticated: { code: 4401, reason: 'no longer authenticated' },
} as const

/** A single-use permission to open one WebSocket, for browsers, which cannot send headers. */
export const ticket = z.object({ ticket: z.string(), protocols: arrayOf(z.string()), expiresAt: z.string() })

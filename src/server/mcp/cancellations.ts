import * as z from 'zod'
import type { Caller } from '../access/caller.ts'

const CANCELLED = 'notifications/cancelled'

const requestId = z.union([z.string().max(200), z.number()])
const message = z.object({
  method: z.string(),
  id: requestId.optional(),
  params: z.object({ requestId: requestId.optional() }).optional(),
})

export type JsonRpcMessage = z.output<typeof message>

/**
 * The fields of a message that routing needs; undefined for a batch and for a body that is not a request or
 * notification.
 */
export const readMessage = (body: unknown): JsonRpcMessage | undefined => message.safeParse(body).data

/**
 * A batch without the cancellations in it. They could only cancel calls of the same batch, and the stream would wait
 * for the answers of these calls without end.
 */
export function withoutCancellations(body: unknown): unknown {
  if (!Array.isArray(body)) return body
  const kept = body.filter((one) => readMessage(one)?.method !== CANCELLED)
  return kept.length === 0 ? body : kept
}

/** Origin of a message: a caller, and one of its clients. */
export interface MessageOrigin {
  readonly caller: Caller
  /** Value of the session header. */
  readonly session: string | readonly string[] | undefined
}

/**
 * Cancellation by a separate message, which clients of revisions before 2026-07-28 use; later ones close the stream.
 * Request ids start again with every client, so a call is identified by its caller, its session and its id: the
 * messages of another caller never reach it. A message that arrives at another process has no effect, and the call ends
 * when its time is over.
 */
export function createCancellations() {
  const calls = new Map<string, AbortController>()

  return {
    /** Registers a call, whose `clientGone` a later message aborts, or cancels the call that this message names. */
    handle({ method, id, params }: JsonRpcMessage, { caller, session }: MessageOrigin, clientGone: AbortController): void {
      if (typeof session !== 'string') return
      const keyOf = (of: string | number) => JSON.stringify([caller.via, caller.keyId ?? caller.userId, session, of])
      if (method === CANCELLED && params?.requestId !== undefined) {
        calls.get(keyOf(params.requestId))?.abort()
      } else if (method === 'tools/call' && id !== undefined && !clientGone.signal.aborted) {
        const key = keyOf(id)
        calls.set(key, clientGone)
        clientGone.signal.addEventListener('abort', () => {
          if (calls.get(key) === clientGone) calls.delete(key)
        })
      }
    },
    get size(): number {
      return calls.size
    },
  }
}

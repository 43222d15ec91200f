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

/** What is needed of a message to route it; `undefined` for a batch and for anything that is none. */
export const readMessage = (body: unknown): JsonRpcMessage | undefined => message.safeParse(body).data

/** A batch of calls without the cancellations in it: they could only meet calls beside them, whose answers the stream would then wait for without end. */
export function withoutCancellations(body: unknown): unknown {
  if (!Array.isArray(body)) return body
  const kept = body.filter((one) => readMessage(one)?.method !== CANCELLED)
  return kept.length === 0 ? body : kept
}

/** Where a message came from: a caller, and which of its clients. */
export interface MessageLocation {
  readonly caller: Caller
  /** As the header says it. */
  readonly session: string | readonly string[] | undefined
}

/**
 * Calls of clients that cancel by a message of its own (revisions before 2026-07-28; later ones close the stream). Ids of requests begin anew with every
 * client, so one is known by its caller, its session and its id; what another caller sends never meets it. A message that reaches another process
 * finds nothing: that call ends when its time is over.
 */
export function createCancellations() {
  const calls = new Map<string, AbortController>()

  return {
    /** Aborts `gone` when the client cancels this message, or aborts the call that this message cancels. */
    take({ method, id, params }: JsonRpcMessage, { caller, session }: MessageLocation, gone: AbortController): void {
      if (typeof session !== 'string') return
      const keyOf = (of: string | number) => JSON.stringify([caller.via, caller.keyId ?? caller.userId, session, of])
      if (method === CANCELLED && params?.requestId !== undefined) {
        calls.get(keyOf(params.requestId))?.abort()
      } else if (method === 'tools/call' && id !== undefined && !gone.signal.aborted) {
        const key = keyOf(id)
        calls.set(key, gone)
        gone.signal.addEventListener('abort', () => {
          if (calls.get(key) === gone) calls.delete(key)
        })
      }
    },
    get size(): number {
      return calls.size
    },
  }
}

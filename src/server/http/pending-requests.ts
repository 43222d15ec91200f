import type { ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance, FastifyReply } from 'fastify'

/** All requests of the app whose responses have not been sent completely. */
export interface PendingRequests {
  /** Must be called before any route is registered. */
  watch(app: FastifyInstance): void
  /**
   * Resolves when every request is answered, at the latest after `closeTimeoutMs`. Called before connections are
   * closed.
   */
  settle(): Promise<void>
}

/** Milliseconds that a complete response may take to reach its client. */
const FLUSH_TIMEOUT_MS = 1_000
const POLL_INTERVAL_MS = 20

export function createPendingRequests({ closeTimeoutMs }: { readonly closeTimeoutMs: number }): PendingRequests {
  const pending = new Map<ServerResponse, FastifyReply>()
  const until = async (isOver: () => boolean, timeoutMs: number) => {
    for (const endMs = performance.now() + timeoutMs; !isOver() && performance.now() < endMs; ) await delay(POLL_INTERVAL_MS)
  }
  return {
    watch(app) {
      app.addHook('onRequest', (_, reply, done) => {
        const { raw } = reply
        pending.set(raw, reply)
        raw.once('close', () => pending.delete(raw))
        done()
      })
    },
    async settle() {
      // A stream counts as sent here, because its response was taken over from Fastify. The in-flight register ends
      // streams.
      await until(() => [...pending.values()].every(({ sent }) => sent), closeTimeoutMs)
      await until(() => pending.size === 0, FLUSH_TIMEOUT_MS)
    },
  }
}

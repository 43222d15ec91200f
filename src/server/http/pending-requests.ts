import type { ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance, FastifyReply } from 'fastify'

/** Requests of which the answer has not left. */
export interface RequestsUnderWay {
  /** Adds what knows of them; before any route. */
  watch(app: FastifyInstance): void
  /** Ends with the client's connection, and when the server is to close: who waits for a flow answers then. */
  waitSignal(reply: FastifyReply): AbortSignal
  /** Lets those who wait answer with what there is. */
  endWaits(): void
  /** Resolves when all are answered, or when the time is over. */
  settle(): Promise<void>
}

/** Milliseconds for an answer to reach its reader, once there is one. */
const FLUSH_MS = 1_000
const LOOK_MS = 20

export function createRequestsUnderWay({ closeTimeoutMs }: { readonly closeTimeoutMs: number }): RequestsUnderWay {
  const open = new Map<ServerResponse, FastifyReply>()
  // One controller each: a signal that lives as long as the server would keep what depends on it.
  const waits = new Set<AbortController>()

  const until = async (isOver: () => boolean, withinMs: number) => {
    for (const deadlineMs = performance.now() + withinMs; !isOver() && performance.now() < deadlineMs; ) await delay(LOOK_MS)
  }

  return {
    watch(app) {
      app.addHook('onRequest', (_, reply, done) => {
        const { raw } = reply
        open.set(raw, reply)
        raw.once('close', () => open.delete(raw))
        done()
      })
    },
    waitSignal({ raw }) {
      const wait = new AbortController()
      const end = () => {
        waits.delete(wait)
        wait.abort()
      }
      if (raw.destroyed) end()
      else {
        waits.add(wait)
        raw.once('close', end)
      }
      return wait.signal
    },
    endWaits() {
      for (const wait of waits) wait.abort()
    },
    async settle() {
      // Streams were taken over from Fastify and have been ended by their owners.
      await until(() => [...open.values()].every(({ sent }) => sent), closeTimeoutMs)
      await until(() => open.size === 0, FLUSH_MS)
    },
  }
}

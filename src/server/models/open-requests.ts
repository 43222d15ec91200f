import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ServerSettings } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { createPlaces } from '../access/places.ts'
import { callerOf } from '../http/requests.ts'

/** Requests that wait for a flow, and flows that are followed for nobody. */
export function createOpenRequests(sockets: ServerSettings['sockets']) {
  const places = createPlaces({ ...sockets, name: 'requests that wait for a flow' })
  // One controller each: a signal that lives as long as the server would keep what depends on it.
  const open = new Map<AbortController, Promise<void>>()

  function track<Answer>(gone: AbortController, answered: Promise<Answer>): Promise<Answer> {
    const settled = answered.then(nothing, nothing).finally(() => open.delete(gone))
    open.set(gone, settled)
    return answered
  }

  return {
    /**
     * Does the work of one request. The signal it gets ends with the client's connection, or with the server: then nobody wants the answer any
     * more. With an Idempotency-Key somebody may come back for it, so only the server ends it.
     */
    answer<Answer>(
      request: FastifyRequest,
      { raw }: FastifyReply,
      work: (gone: AbortSignal) => Promise<Answer>,
    ): Promise<Answer> {
      const giveBack = places.take(callerOf(request).userId)
      const gone = new AbortController()
      const look = () => {
        if (!raw.writableFinished && !request.idempotency) gone.abort()
      }
      if (raw.destroyed) look()
      else raw.once('close', look)
      return track(gone, work(gone.signal).finally(giveBack))
    },
    /** Does work that nobody waits for, until the server ends. */
    inBackground(work: (closing: AbortSignal) => Promise<unknown>): void {
      const closing = new AbortController()
      track(closing, work(closing.signal)).catch(nothing)
    },
    /** Ends them all, and resolves when they are. */
    async close(): Promise<void> {
      const reason = new OrchestratorError('SERVER_CLOSING', 'The server is shutting down: ask again')
      for (const gone of open.keys()) gone.abort(reason)
      await Promise.all(open.values())
    },
  }
}

export type OpenRequests = ReturnType<typeof createOpenRequests>

const nothing = () => {}

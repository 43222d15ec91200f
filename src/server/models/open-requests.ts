import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ServerSettings } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Authenticator } from '../access/authenticator.ts'
import type { Caller } from '../access/caller.ts'
import { createConnectionLimiter } from '../access/connection-limiter.ts'
import { callerOf } from '../requests/routes.ts'
import { createPeriodicCheck } from '../streaming/periodic-check.ts'

export interface OpenRequestsOptions {
  readonly authenticator: Pick<Authenticator, 'isCurrent'>
  readonly settings: Pick<ServerSettings, 'sockets' | 'closeTimeoutMs'>
  /** Milliseconds between looks at whether the callers of waiting requests still are some. */
  readonly recheckIntervalMs: number
}

/** Work under way. */
interface Open {
  readonly settled: Promise<void>
  /** Who waits for it; absent: nobody does. */
  readonly caller?: Caller
}

/** Requests that wait for a flow, and flows that are followed for nobody. */
export function createOpenRequests({ authenticator, settings, recheckIntervalMs }: OpenRequestsOptions) {
  const places = createConnectionLimiter({ ...settings.sockets, name: 'requests that wait for a flow' })
  // One controller each: a signal that lives as long as the server would keep what depends on it.
  const open = new Map<AbortController, Open>()

  function track<Answer>(gone: AbortController, answered: Promise<Answer>, caller?: Caller): Promise<Answer> {
    const settled = answered.then(nothing, nothing).finally(() => open.delete(gone))
    open.set(gone, { settled, caller })
    return answered
  }

  const recheck = async ([gone, { caller }]: readonly [AbortController, Open]) => {
    if (!caller || (await authenticator.isCurrent(caller))) return
    gone.abort(new OrchestratorError('UNAUTHENTICATED', 'Not authenticated any more'))
  }
  const timer = setInterval(
    createPeriodicCheck(() => Promise.all([...open].map(recheck))),
    recheckIntervalMs,
  ).unref()

  return {
    /**
     * Does the work of one request. The signal it gets ends with the client's connection, with its key, or with the server: then nobody is to have
     * the answer any more. With an Idempotency-Key a client that has left may come back for it.
     */
    answer<Answer>(
      request: FastifyRequest,
      { raw }: FastifyReply,
      work: (gone: AbortSignal) => Promise<Answer>,
    ): Promise<Answer> {
      const caller = callerOf(request)
      const giveBack = places.acquire(caller.userId)
      const gone = new AbortController()
      const look = () => {
        if (!raw.writableFinished && !request.idempotency) gone.abort()
      }
      if (raw.destroyed) look()
      else raw.once('close', look)
      return track(gone, work(gone.signal).finally(giveBack), caller)
    },
    /** Does work that nobody waits for, until the server ends. */
    inBackground(work: (closing: AbortSignal) => Promise<unknown>): void {
      const closing = new AbortController()
      track(closing, work(closing.signal)).catch(nothing)
    },
    /** Ends them all, and resolves when they are, or are waited for no longer. */
    async close(): Promise<void> {
      clearInterval(timer)
      const reason = new OrchestratorError('SERVER_CLOSING', 'The server is shutting down: ask again')
      const all = [...open]
      for (const [gone] of all) gone.abort(reason)
      let late: NodeJS.Timeout | undefined
      const tooLate = new Promise<void>((resolve) => {
        late = setTimeout(resolve, settings.closeTimeoutMs)
      })
      await Promise.race([Promise.all(all.map(([, { settled }]) => settled)), tooLate])
      clearTimeout(late)
    },
  }
}

export type OpenRequests = ReturnType<typeof createOpenRequests>

const nothing = () => {}

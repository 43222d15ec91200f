import type { ServerResponse } from 'node:http'
import { sliceMs } from '../../async/attended-time.ts'
import type { ServerSettings } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Authenticator } from '../access/authenticator.ts'
import { authenticationEnded, type Caller } from '../access/caller.ts'
import { type ConnectionLimiter, createConnectionLimiter } from '../access/connection-limiter.ts'
import { createPeriodicCheck } from './periodic-check.ts'

export interface InFlightDeps {
  readonly authenticator: Pick<Authenticator, 'isCurrent'>
  readonly settings: Pick<ServerSettings, 'sockets'>
  /** Milliseconds between two rechecks of all entries. */
  readonly recheckIntervalMs: number
}

/** Work whose answer is not complete: a stream, a WebSocket, a tool call, or a request that waits for a flow. */
export interface InFlightEntry {
  /**
   * Client whose key or token every recheck verifies. Undefined for work that no client waits for: it is not
   * rechecked.
   */
  readonly caller?: Caller
  /** Limit that the entry counts against, for its caller. Undefined: no limit, or one that was reserved before. */
  readonly limit?: Limit
  /**
   * Must end the answer with the data that is available. Called at most once, with SERVER_CLOSING when the server
   * closes, UNAUTHENTICATED when the key was revoked or has expired, or the error that `recheck` returned.
   */
  respondNow(reason: OrchestratorError): void
  /**
   * Called at every recheck while the key is valid. Resolves with the error that ends the entry; a rejection is
   * ignored.
   */
  recheck?(): Promise<OrchestratorError | undefined>
  /** Called at least once a second. Must close a connection whose client has read too little for too long. */
  closeIfSlow?(): void
}

/**
 * One HTTP request that waits. Every request has controllers of its own: a signal that lives as long as the server
 * would keep everything in memory that depends on it.
 */
export interface InFlightRequest {
  /** Aborted when the connection of the response has closed, whether or not the answer was sent. */
  readonly clientGone: AbortController
  /** Aborted when the request must be answered immediately, with the reason that `InFlightEntry.respondNow` gets. */
  readonly respondNow: AbortSignal
  /** Must be called when the work is done. Further calls have no effect. */
  release(): void
}

/** Connections that are limited together, by the name that the error states. */
export type Limit = 'WebSockets' | 'event streams' | 'requests that wait for a flow'

/** The register of everything that waits for an answer, for all interfaces of one server. */
export interface InFlight {
  /** Counts a connection before its entry is added. Returns the function that releases it. Throws RATE_LIMITED. */
  reserve(caller: Caller, limit: Limit): () => void
  /** Adds an entry and returns the function that releases it. Throws RATE_LIMITED when `limit` is reached. */
  add(entry: InFlightEntry): () => void
  /** Adds an entry for a request and its response. Throws RATE_LIMITED. */
  open(response: ServerResponse, entry?: Pick<InFlightEntry, 'caller' | 'limit'>): InFlightRequest
  /** Ends the entries whose callers may no longer wait. Runs every `recheckIntervalMs` without overlap. */
  recheck(): Promise<void>
  /** Ends every entry, those added later included. Resolves when all are released, at the latest after `graceMs`. */
  close(graceMs: number): Promise<void>
  readonly size: number
}

export function createInFlight({ authenticator, settings, recheckIntervalMs }: InFlightDeps): InFlight {
  const entries = new Set<InFlightEntry>()
  const limiters = new Map<Limit, ConnectionLimiter>()
  let closing: Promise<void> | undefined
  let onIdle = () => {}

  const reserve = ({ userId }: Caller, limit: Limit) => {
    const limiter = limiters.get(limit) ?? createConnectionLimiter({ ...settings.sockets, name: limit })
    limiters.set(limit, limiter)
    return limiter.acquire(userId)
  }

  function add(entry: InFlightEntry): () => void {
    const { caller, limit } = entry
    const releaseLimit = caller && limit !== undefined ? reserve(caller, limit) : undefined
    entries.add(entry)
    // Deferred, because `entry` may use the function that is returned here.
    if (closing) queueMicrotask(() => end(entry, serverClosing()))
    return () => {
      releaseLimit?.()
      if (entries.delete(entry) && entries.size === 0) onIdle()
    }
  }

  const ended = new WeakSet<InFlightEntry>()
  const end = (entry: InFlightEntry, reason: OrchestratorError) => {
    if (!entries.has(entry) || ended.has(entry)) return
    ended.add(entry)
    entry.respondNow(reason)
  }
  const recheckEntry = async (entry: InFlightEntry) => {
    if (!entry.caller || ended.has(entry)) return
    const isCurrent = await authenticator.isCurrent(entry.caller)
    const reason = isCurrent ? await entry.recheck?.() : authenticationEnded()
    if (reason) end(entry, reason)
  }
  const recheck = async () => {
    await Promise.allSettled([...entries].map(recheckEntry))
  }
  const closeSlow = () => {
    for (const entry of entries) entry.closeIfSlow?.()
  }
  const timers = [
    setInterval(createPeriodicCheck(recheck), recheckIntervalMs),
    setInterval(closeSlow, sliceMs(settings.sockets.slowAfterMs)),
  ].map((timer) => timer.unref())

  const endAll = async (graceMs: number) => {
    for (const timer of timers) clearInterval(timer)
    for (const entry of entries) end(entry, serverClosing())
    if (entries.size === 0) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, graceMs)
      onIdle = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  return {
    reserve,
    add,
    open(response, entry) {
      const clientGone = new AbortController()
      const respondNow = new AbortController()
      const release = add({ ...entry, respondNow: (reason) => respondNow.abort(reason) })
      onceClosed(response, () => clientGone.abort())
      return { clientGone, respondNow: respondNow.signal, release }
    },
    recheck,
    close(graceMs) {
      closing ??= endAll(graceMs)
      return closing
    },
    get size() {
      return entries.size
    },
  }
}

/** Calls back when the response has closed; immediately when it already has, because it emits no further event then. */
export function onceClosed(response: ServerResponse, callback: () => void): void {
  if (response.destroyed) callback()
  else response.once('close', callback)
}

const serverClosing = (): OrchestratorError =>
  new OrchestratorError('SERVER_CLOSING', 'The server is shutting down: send the request again')

import type { Clock, StopTimer } from '../async/clock.ts'
import { untilAborted } from '../async/until-aborted.ts'
import { withCallFacts } from '../domain/execution/call-facts.ts'
import type { ServiceState } from '../domain/services/service-state.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { Elsewhere } from './elsewhere/elsewhere.ts'
import { assertAnswers, hindranceElsewhere, standingElsewhere } from './elsewhere/run-elsewhere.ts'
import type { MachineModel } from './machine/machine-model.ts'
import { isAtRest, returnsByItself } from './machine/returning.ts'
import type { ServiceEntry } from './service-entry.ts'

/** Whether a service gets calls that may go elsewhere as well. */
export type ServiceStanding =
  | { readonly mayAsk: true; readonly run: number }
  | {
      readonly mayAsk: false
      readonly run: number
      /** Whether it will get calls again without a command. */
      readonly mayReturn: boolean
      /** Milliseconds until then, as far as they are known. */
      readonly waitMs: number
      readonly code: 'PROVIDER_UNAVAILABLE' | 'SERVICE_NOT_RUNNING'
    }

/** A call to a service, from its permission to its end. */
export interface EnteredCall {
  readonly endpoint: string
  /** Aborts when the run ends. */
  readonly ended: AbortSignal
  leave(succeeded: boolean): void
}

/** The run of a service that gets its calls. */
export interface ReachedRun {
  /** Absent for code of this process without an address. */
  readonly endpoint?: string
  /** Aborts when the run ends. */
  readonly ended?: AbortSignal
  /** Whether another process supervises the run. */
  readonly isElsewhere: boolean
}

/** The calls of steps to services that stand behind a provider. */
export interface ProviderCalls {
  /**
   * Permits a call to a service that runs or is degraded, and counts it until it leaves. Starts one with
   * `start: demand` first, unless `start` is false. Rejects with PROVIDER_UNAVAILABLE and the wait for a service that
   * will run by itself, which is also the case after a start that failed and will be repeated, with
   * SERVICE_NOT_RUNNING for another one, with SERVICE_ADDRESS_REFUSED for an endpoint that is not allowed, and with the
   * reason of the abort.
   */
  enter(id: string, signal: AbortSignal, options?: { readonly start?: boolean }): Promise<EnteredCall>
  /** `undefined` for an id that no service has. Called for members of pools before each call. */
  standing(id: string): ServiceStanding | undefined
  /** Why a service does not answer as it should, in words for people; `undefined` if it runs. */
  hindrance(id: string): { readonly message: string; readonly startsByItself: boolean } | undefined
  /**
   * Must be awaited before `reach`; absent where nothing has to be learned of other processes. Rejects with the reason
   * of an abort.
   */
  refresh(entry: ServiceEntry, signal?: AbortSignal): Promise<void> | undefined
  /** Where calls to a service go: to this process or another one. Throws the reason why it gets no calls now. */
  reach(entry: ServiceEntry): ReachedRun
  /** Counts a call to a service that runs until the returned function is called with its outcome. */
  begin(entry: ServiceEntry): (succeeded: boolean) => void
  /** Measures starts, for the wait for the next one. Must be called after every change of a service. */
  changed(id: string, before: MachineModel, model: MachineModel): void
  /** Stops no more services for want of calls. */
  close(): void
}

export interface ProviderCallsDeps {
  readonly find: (id: string) => ServiceEntry | undefined
  readonly start: (id: string, signal: AbortSignal) => Promise<unknown>
  readonly stop: (id: string) => Promise<unknown>
  /** Whether a service that runs, or is about to, depends on this one. Called before an idle stop. */
  readonly isNeeded: (id: string) => boolean
  /** Throws SERVICE_ADDRESS_REFUSED. Implemented by AddressRule.check. */
  readonly checkAddress: (address: string) => unknown
  /** What other processes run; absent where none shares the database. */
  readonly elsewhere?: Pick<Elsewhere, 'find' | 'refresh' | 'doubt'>
  readonly clock: Clock
  /** Milliseconds of a clock that no one sets. */
  readonly monotonicNow: () => number
}

interface StartTimes {
  startedAtMs?: number
  lastedMs?: number
}

/** States from which the first call starts a service, or waits for its start. */
const STARTABLE: ReadonlySet<ServiceState> = new Set<ServiceState>(['idle', 'waiting', 'starting'])
/** The shortest wait: a service that starts is asked again no sooner. */
const MIN_WAIT_MS = 500
/** Wait for what has no known end, such as a dependency or calls in flight. */
const USUAL_WAIT_MS = 1_000

export function createProviderCalls(deps: ProviderCallsDeps): ProviderCalls {
  const { find, start, stop, isNeeded, checkAddress, elsewhere, clock, monotonicNow } = deps
  // By entry and not by id: what is left of a service that was replaced must not touch the new one.
  const starts = new WeakMap<ServiceEntry, StartTimes>()
  const idleTimers = new Map<ServiceEntry, StopTimer>()
  let isClosed = false
  /** Services that are being stopped because no one used them: the next call starts them again. */
  const endingUnused = new WeakSet<ServiceEntry>()
  /** Calls that wait for the start of their service; each aborts when the start fails and will be repeated. */
  const waitingCalls = new Map<ServiceEntry, Set<AbortController>>()

  const startsWithCall = (entry: ServiceEntry): boolean => {
    const { state } = entry.life.snapshot().model
    if (entry.definition.start !== 'demand') return false
    return STARTABLE.has(state) || (state === 'stopping' && endingUnused.has(entry))
  }

  const standingOf = (entry: ServiceEntry): ServiceStanding => {
    const other = elsewhere?.find(entry)
    if (other) return standingElsewhere(other)
    const { model } = entry.life.snapshot()
    const run = model.runs
    const isAsleep = model.state === 'idle' || model.state === 'stopping'
    if (model.state === 'running' || (isAsleep && startsWithCall(entry))) return { mayAsk: true, run }
    if (!returnsByItself(model)) {
      return { mayAsk: false, run, mayReturn: false, waitMs: Number.POSITIVE_INFINITY, code: 'SERVICE_NOT_RUNNING' }
    }
    return { mayAsk: false, run, mayReturn: true, waitMs: waitOf(entry, model), code: 'PROVIDER_UNAVAILABLE' }
  }

  /** A start of unknown length is asked for again after as long as it has lasted, so that the waits double. */
  function waitOf(entry: ServiceEntry, { state, nextStartAtMs }: MachineModel): number {
    const now = monotonicNow()
    const { startedAtMs = now, lastedMs } = starts.get(entry) ?? {}
    if (state === 'backoff') return Math.max(0, (nextStartAtMs ?? now) - now) + (lastedMs ?? 0)
    if (state !== 'starting') return USUAL_WAIT_MS
    return Math.max(MIN_WAIT_MS, lastedMs === undefined ? now - startedAtMs : startedAtMs + lastedMs - now)
  }

  function assertRuns(entry: ServiceEntry): void {
    const { id, life } = entry
    const { model } = life.snapshot()
    const { state } = model
    if (state === 'running' || state === 'degraded') return
    const details = { provider: id, service: id, state, notSent: true }
    if (!returnsByItself(model)) throw notRunning(id, state)
    const retryAfterMs = Math.round(waitOf(entry, model))
    const cause = model.lastError ? ` after ${model.lastError.code}` : ''
    const error = new OrchestratorError('PROVIDER_UNAVAILABLE', `the service "${id}" does not run yet (${state}${cause})`, {
      details: { ...details, retryAfterMs },
    })
    throw withCallFacts(error, { retryAfterMs, generated: false })
  }

  function refresh(entry: ServiceEntry, signal?: AbortSignal): Promise<void> | undefined {
    const refreshing = elsewhere?.refresh(entry)
    return refreshing && signal ? untilAborted(refreshing, signal) : refreshing
  }

  function reach(entry: ServiceEntry): ReachedRun {
    const other = elsewhere?.find(entry)
    if (other) {
      assertAnswers(other)
      return { endpoint: other.address, ended: other.ended, isElsewhere: true }
    }
    assertRuns(entry)
    const [endpoint, ended] = [entry.body.endpoint(), entry.life.runSignal()]
    return { ...(endpoint !== undefined && { endpoint }), ...(ended && { ended }), isElsewhere: false }
  }

  async function startOnDemand(entry: ServiceEntry, signal: AbortSignal): Promise<void> {
    const { id, life } = entry
    const waiting = waitingCalls.get(entry) ?? new Set()
    waitingCalls.set(entry, waiting)
    const failedOnce = new AbortController()
    waiting.add(failedOnce)
    try {
      await start(id, AbortSignal.any([signal, failedOnce.signal]))
    } catch (error) {
      if (signal.aborted) throw signal.reason
      // The caller learns how long the next start takes to come, and may go elsewhere.
      if (!failedOnce.signal.aborted) throw notRunning(id, life.snapshot().model.state, error)
    } finally {
      waiting.delete(failedOnce)
      if (waiting.size === 0) waitingCalls.delete(entry)
      // A service whose callers have all left is used by no one.
      stopWhenUnused(entry)
    }
  }

  const isUsed = (entry: ServiceEntry): boolean => entry.life.snapshot().inFlight > 0 || waitingCalls.has(entry)

  function stopIdleTimer(entry: ServiceEntry): void {
    idleTimers.get(entry)?.()
    idleTimers.delete(entry)
  }

  function stopWhenUnused(entry: ServiceEntry): void {
    const { id, definition, life } = entry
    const { idleStopMs } = definition
    if (idleStopMs === undefined || isClosed || isUsed(entry) || isAtRest(life.snapshot().model)) return
    stopIdleTimer(entry)
    const stopTimer = clock.startTimer(idleStopMs, () => {
      idleTimers.delete(entry)
      if (find(id) !== entry || isUsed(entry)) return
      if (isNeeded(id)) return stopWhenUnused(entry)
      endingUnused.add(entry)
      // A failure to stop is a state of the service.
      const stopping = stop(id).catch(() => undefined)
      void stopping.then(() => endingUnused.delete(entry))
    })
    idleTimers.set(entry, stopTimer)
  }

  function begin(entry: ServiceEntry): (succeeded: boolean) => void {
    stopIdleTimer(entry)
    const end = entry.life.beginCall()
    return (succeeded) => {
      end(succeeded)
      if (!succeeded) elsewhere?.doubt(entry)
      stopWhenUnused(entry)
    }
  }

  return {
    async enter(id, signal, { start: mayStart = true } = {}) {
      const entry = find(id)
      if (!entry) throw notRunning(id, 'removed')
      const refreshing = refresh(entry, signal)
      if (refreshing) await refreshing
      if (mayStart && startsWithCall(entry) && !elsewhere?.find(entry)) await startOnDemand(entry, signal)
      const { endpoint, ended } = reach(entry)
      if (endpoint === undefined || !ended) throw notRunning(id, entry.life.snapshot().model.state)
      checkAddress(endpoint)
      return { endpoint, ended, leave: begin(entry) }
    },
    standing(id) {
      const entry = find(id)
      return entry && standingOf(entry)
    },
    hindrance(id) {
      const entry = find(id)
      if (!entry) return undefined
      const other = elsewhere?.find(entry)
      if (other) return hindranceElsewhere(other)
      const { model } = entry.life.snapshot()
      const { state } = model
      if (state === 'running') return undefined
      const { start: startMode } = entry.definition
      const isAsleep = state === 'idle' || (state === 'stopping' && startsWithCall(entry))
      const startsByItself = returnsByItself(model) || (isAsleep && startMode !== 'manual')
      const will = isAsleep ? STARTS[startMode] : undefined
      const advice = will ?? (startsByItself ? 'it will run by itself' : `start it: polyphony services start ${id}`)
      return { message: `the service "${id}" is ${state} in this process; ${advice}`, startsByItself }
    },
    refresh,
    reach,
    begin,
    changed(id, before, model) {
      const entry = find(id)
      if (!entry || model.state === before.state) return
      if (model.state === 'backoff') for (const waiting of waitingCalls.get(entry) ?? []) waiting.abort()
      // The time without calls is counted for each run that someone asks for.
      if (isAtRest(model)) stopIdleTimer(entry)
      const known = starts.get(entry) ?? {}
      if (model.state === 'starting') known.startedAtMs = monotonicNow()
      else if (before.state === 'starting' && model.state === 'running' && known.startedAtMs !== undefined) {
        known.lastedMs = monotonicNow() - known.startedAtMs
      }
      starts.set(entry, known)
    },
    close() {
      isClosed = true
      for (const stopTimer of idleTimers.values()) stopTimer()
      idleTimers.clear()
    },
  }
}

const STARTS = {
  auto: 'it starts with all services',
  demand: 'the first call starts it',
  manual: undefined,
} as const satisfies Record<ServiceEntry['definition']['start'], string | undefined>

function notRunning(id: string, state: string, cause?: unknown): OrchestratorError {
  // Users read this error. The message of a failed start names folders and processes; the report has it.
  const reason = OrchestratorError.is(cause) ? ` (${cause.code})` : ''
  return new OrchestratorError('SERVICE_NOT_RUNNING', `expected the service "${id}" to run, found it ${state}${reason}`, {
    details: { provider: id, service: id, state, notSent: true },
    cause,
  })
}

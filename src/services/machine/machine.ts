import type { ExitReason, ServiceExit } from '../../domain/services/service-state.ts'
import type {
  EventKind,
  MachineEffect,
  MachineError,
  MachineEvent,
  MachineModel,
  MachineStep,
  TimerName,
} from './machine-model.ts'
import {
  after,
  hasRun,
  type MachineContext,
  requestStop,
  same,
  toBackoff,
  toDegraded,
  toFailed,
  toIdle,
  toRunning,
  toStopping,
  toWaiting,
  unhealthyTimer,
  withoutRun,
  withTimer,
} from './machine-states.ts'

type Handler<Event> = (model: MachineModel, event: Event, context: MachineContext) => MachineStep

const LEASES_UNTIL_IDLE = 10
const MAX_SUCCESS_THRESHOLD = 8
/** The driver reports what it cannot kill after `killTimeoutMs`; the machine waits a little longer for that report. */
const KILL_REPORT_MS = 1_000

/**
 * The life of one service as a pure function. A handler exists for every kind of event; events of an older run and
 * timers that were replaced change nothing.
 */
export function transition(model: MachineModel, event: MachineEvent, context: MachineContext): MachineStep {
  if ('run' in event && event.run !== model.run) return same(model)
  return handle(model, event, context)
}

const handle = <Kind extends EventKind>(model: MachineModel, event: MachineEvent<Kind>, context: MachineContext): MachineStep =>
  HANDLERS[event.kind](model, event, context)

/** The end of a run without a command. */
function unexpectedExit(model: MachineModel, exit: ServiceExit, context: MachineContext): MachineStep {
  const { settings } = context
  const succeeded = exit.signal === undefined && (exit.code === 0 || settings.successExitCodes.includes(exit.code ?? -1))
  const isKnown = exit.code !== undefined || exit.signal !== undefined
  const reason: ExitReason = succeeded ? 'completed' : isKnown ? 'crashed' : 'unknown'
  const lastExit = { ...exit, reason }
  const quiet: readonly MachineEffect[] = [{ kind: 'pace', pace: 'off' }]
  if (!succeeded) return after(quiet, toBackoff({ ...model, lastExit }, exitError(model, exit), context))
  if (settings.restart.when !== 'always') return after(quiet, toIdle({ ...withoutRun(model), lastExit, readyAtMs: undefined }))
  // An end that was a success counts as no failure, but must not be repeated without a wait.
  const { delayMs } = settings.restart
  const waiting: MachineModel = { ...withoutRun(model), lastExit, readyAtMs: undefined, state: 'backoff' }
  return after(quiet, withTimer({ ...waiting, nextStartAtMs: context.nowMs + delayMs }, 'backoff', delayMs))
}

const exitError = ({ state }: MachineModel, { code, signal }: ServiceExit): MachineError => ({
  code: 'SERVICE_START_FAILED',
  message: `${state === 'starting' ? 'ended before it was ready' : 'ended by itself'} (${signal ?? (code === undefined ? 'exit code unknown' : `exit code ${code}`)})`,
  details: { ...(code !== undefined && { exitCode: code }), ...(signal !== undefined && { signal }) },
})

/** The end of a run that was being stopped. */
function stopped(model: MachineModel, exit: ServiceExit | undefined, context: MachineContext): MachineStep {
  const reason = model.reason ?? 'stopped'
  const ended: MachineModel = exit ? { ...model, lastExit: { ...exit, reason } } : model
  if (model.next === 'backoff') return toBackoff(ended, model.lastError ?? REASONS.unknown, context)
  const over: MachineModel = { ...withoutRun(ended), readyAtMs: undefined }
  return model.next === 'waiting' ? toWaiting(over) : toIdle(over)
}

const REASONS = {
  unknown: { code: 'SERVICE_START_FAILED', message: 'ended for an unknown reason' },
  unhealthy: { code: 'SERVICE_START_FAILED', message: 'gave no sign of health for restartAfterMs' },
  memory: { code: 'SERVICE_START_FAILED', message: 'used more memory than its limit' },
  lease: { code: 'SERVICE_NOT_RUNNING', message: 'sent no heartbeat for ten leases' },
} as const satisfies Record<string, MachineError>

const TIMERS: { readonly [Name in TimerName]: (model: MachineModel, context: MachineContext) => MachineStep } = {
  start: (model, { settings }) => {
    const message = `was not ready after ${settings.startTimeoutMs} ms`
    const lastError: MachineError = { code: 'SERVICE_START_TIMEOUT', message }
    return toStopping({ ...model, lastError }, settings, { next: 'backoff', reason: 'start_timeout', drainMs: 0 })
  },
  uptime: (model, context) => toRunning(model, context, 'unknown'),
  drain: (model, { settings }) => requestStop(model, settings),
  stop: (model, { settings }) =>
    after([{ kind: 'kill', run: model.run ?? 0 }], withTimer(model, 'kill', settings.killTimeoutMs + KILL_REPORT_MS)),
  kill: (model, { settings }) => {
    const message = `could not be ended within ${settings.killTimeoutMs} ms`
    return toFailed(model, { code: 'SERVICE_UNKILLABLE', message })
  },
  backoff: (model) => toWaiting({ ...model, restarts: model.restarts + 1 }),
  unhealthy: (model, { settings }) =>
    toStopping({ ...model, lastError: REASONS.unhealthy }, settings, { next: 'backoff', reason: 'unhealthy', drainMs: 0 }),
  reset: (model) => withTimer({ ...model, attempt: 0, flaps: 0 }, undefined),
}

function badProbe(model: MachineModel, context: MachineContext): MachineStep {
  const badProbes = model.badProbes + 1
  if (model.state === 'running' && badProbes >= context.settings.failureThreshold) {
    return toDegraded({ ...model, badProbes }, context)
  }
  return same({ ...model, badProbes, goodProbes: 0 })
}

function goodProbe(model: MachineModel, context: MachineContext): MachineStep {
  const { settings } = context
  const known: MachineModel = { ...model, badProbes: 0 }
  if (model.state === 'starting') return settings.ready === 'probe' ? toRunning(known, context, 'healthy') : same(known)
  if (model.state === 'running') return same({ ...known, health: 'healthy' })
  const goodProbes = model.goodProbes + 1
  // A service that was healthy only briefly must stay so for longer before it gets calls again.
  const needed = Math.min(
    Math.max(MAX_SUCCESS_THRESHOLD, settings.successThreshold),
    settings.successThreshold * 2 ** (model.flaps - 1),
  )
  if (goodProbes >= needed && model.missedLeases === 0) return toRunning(known, context, 'healthy')
  return unhealthyTimer({ ...known, goodProbes }, settings)
}

const HANDLERS: { readonly [Kind in EventKind]: Handler<MachineEvent<Kind>> } = {
  start(model, _event, { settings }) {
    // Something of the last run could not be ended: that is repeated first.
    if (model.state === 'failed' && hasRun(model))
      return toStopping(model, settings, { next: 'waiting', reason: 'stopped', drainMs: 0 })
    if (['idle', 'failed', 'backoff'].includes(model.state)) return toWaiting({ ...model, attempt: 0, lastError: undefined })
    return model.state === 'stopping' ? same({ ...model, next: 'waiting', reason: 'stopped', attempt: 0 }) : same(model)
  },
  stop(model, { drainMs }, { settings }) {
    if (model.state === 'stopping') return same({ ...model, next: 'idle', reason: 'stopped' })
    if (hasRun(model))
      return toStopping(model, settings, { next: 'idle', reason: 'stopped', drainMs: drainMs ?? settings.drainMs })
    const effects: readonly MachineEffect[] = model.state === 'waiting' ? [{ kind: 'dequeue' }] : []
    return model.state === 'idle' || model.state === 'failed' ? toIdle(model) : after(effects, toIdle(model))
  },
  restart(model, _event, { settings }) {
    if (model.state === 'stopping') return same({ ...model, next: 'waiting', reason: 'stopped' })
    if (hasRun(model)) return toStopping(model, settings, { next: 'waiting', reason: 'stopped', drainMs: settings.drainMs })
    return model.state === 'waiting' ? same(model) : toWaiting({ ...model, attempt: 0, lastError: undefined })
  },
  admitted(model, _event, { settings }) {
    if (model.state !== 'waiting') return same(model)
    const run = model.runs + 1
    const starting: MachineModel = { ...withoutRun(model), state: 'starting', run, runs: run, readyAtMs: undefined }
    return after([{ kind: 'spawn', run }], withTimer(starting, 'start', settings.startTimeoutMs))
  },
  dependency_failed: (model, { error }) =>
    model.state === 'waiting' ? after([{ kind: 'dequeue' }], toFailed(model, error)) : same(model),
  started(model, _event, context) {
    const { settings } = context
    const existing: MachineModel = { ...model, exists: true }
    // The start was aborted and has ended nevertheless: the run is asked to end like any other.
    if (model.state === 'stopping') return requestStop(existing, settings)
    if (model.state === 'failed') return toStopping(existing, settings, { next: 'idle', reason: 'stopped', drainMs: 0 })
    const pace: readonly MachineEffect[] = settings.hasProbe ? [{ kind: 'pace', pace: 'start' }] : []
    if (settings.ready === 'started') return toRunning(existing, context, 'unknown')
    if (settings.ready === 'uptime') return after(pace, withTimer(existing, 'uptime', settings.minUptimeMs))
    return { model: existing, effects: pace }
  },
  start_failed(model, { error }, context) {
    if (model.state === 'failed') return same(withoutRun(model))
    return model.state === 'stopping' ? stopped(model, undefined, context) : toBackoff(model, error, context)
  },
  ready: (model, _event, context) =>
    model.state === 'starting' && model.exists ? toRunning(model, context, model.health) : same(model),
  probe(model, { ok }, context) {
    if (model.state === 'stopping' || !model.exists) return same(model)
    return ok ? goodProbe(model, context) : badProbe(model, context)
  },
  call_succeeded(model, _event, { settings }) {
    if (model.state === 'running') return same({ ...model, badProbes: 0 })
    return model.state === 'degraded' ? unhealthyTimer(model, settings) : same(model)
  },
  drained: (model, _event, { settings }) =>
    model.state === 'stopping' && model.timer?.name === 'drain' ? requestStop(model, settings) : same(model),
  exit(model, { exit }, context) {
    // What could not be ended has ended after all.
    if (model.state === 'failed') return same(withoutRun(model))
    return model.state === 'stopping' ? stopped(model, exit, context) : unexpectedExit(model, exit, context)
  },
  unkillable: (model, { error }) => (model.state === 'stopping' ? toFailed(model, error) : same(model)),
  memory(model, { use }, context) {
    const { settings } = context
    // A run that is being stopped and still grows would take the memory of the others before its time to end is over.
    if (model.state === 'stopping') {
      const hasTime = model.timer?.name === 'drain' || model.timer?.name === 'stop'
      return use === 'far_over' && hasTime ? TIMERS.stop(model, context) : same(model)
    }
    if (!model.exists || model.state === 'failed') return same(model)
    const overLimit = use === 'within' ? 0 : model.overLimit + 1
    if (overLimit < 2) return same({ ...model, overLimit })
    const stopping = toStopping({ ...model, lastError: REASONS.memory }, settings, {
      next: 'backoff',
      reason: 'memory',
      drainMs: 0,
    })
    return after([{ kind: 'limit', limit: 'memory' }], stopping)
  },
  lease_missed(model, _event, context) {
    if (model.state !== 'running' && model.state !== 'degraded') return same(model)
    const missed: MachineModel = { ...model, missedLeases: model.missedLeases + 1 }
    if (missed.missedLeases >= LEASES_UNTIL_IDLE) {
      return toStopping({ ...missed, lastError: REASONS.lease }, context.settings, {
        next: 'idle',
        reason: 'unhealthy',
        drainMs: 0,
      })
    }
    return model.state === 'running' ? toDegraded(missed, context) : same(missed)
  },
  beat(model, _event, context) {
    const beating: MachineModel = { ...model, missedLeases: 0 }
    const isBack = model.state === 'degraded' && model.missedLeases > 0 && model.badProbes < context.settings.failureThreshold
    return isBack ? toRunning(beating, context, 'healthy') : same(beating)
  },
  timer(model, { token }, context) {
    if (model.timer?.token !== token) return same(model)
    return TIMERS[model.timer.name]({ ...model, timer: undefined }, context)
  },
}

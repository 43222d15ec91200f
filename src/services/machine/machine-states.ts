import type { ExitReason } from '../../domain/services/service-state.ts'
import type { MachineEffect, MachineError, MachineModel, MachineSettings, MachineStep, TimerName } from './machine-model.ts'
import { restartDelay } from './restart-policy.ts'

/** What a step of the machine may read besides its model. */
export interface MachineContext {
  readonly settings: MachineSettings
  /** Milliseconds of a clock that no one sets. */
  readonly nowMs: number
  /** From 0 up to 1, for the jitter of restarts. */
  readonly random: number
}

export const same = (model: MachineModel): MachineStep => ({ model, effects: [] })
export const hasRun = ({ run }: MachineModel): boolean => run !== undefined

/** Replaces the timer; `delayMs` undefined only clears it. */
export function withTimer(model: MachineModel, name: TimerName | undefined, delayMs = 0): MachineStep {
  const cleared: readonly MachineEffect[] = model.timer ? [{ kind: 'clear_timer' }] : []
  if (name === undefined) return { model: { ...model, timer: undefined }, effects: cleared }
  const token = model.timers + 1
  return {
    model: { ...model, timers: token, timer: { name, token } },
    effects: [...cleared, { kind: 'set_timer', token, delayMs }],
  }
}

/** Adds effects before those of a step. */
export const after = (effects: readonly MachineEffect[], step: MachineStep): MachineStep => ({
  model: step.model,
  effects: [...effects, ...step.effects],
})

export function toWaiting(model: MachineModel): MachineStep {
  return after([{ kind: 'enqueue' }], withTimer({ ...model, state: 'waiting', nextStartAtMs: undefined }, undefined))
}

export function toIdle(model: MachineModel): MachineStep {
  return withTimer({ ...model, state: 'idle', health: 'unknown', nextStartAtMs: undefined }, undefined)
}

/** Begins to end the run: no new calls, then the signal of the driver, then force. */
export function toStopping(
  model: MachineModel,
  settings: MachineSettings,
  plan: Pick<MachineModel, 'next'> & { readonly reason: ExitReason; readonly drainMs: number },
): MachineStep {
  const { run = 0 } = model
  const stopping: MachineModel = { ...model, state: 'stopping', next: plan.next, reason: plan.reason }
  const quiet: readonly MachineEffect[] = [{ kind: 'pace', pace: 'off' }]
  // A start that has not ended yet has no run that could be asked: its signal aborts, and the driver leaves nothing.
  if (!model.exists) {
    const { stopTimeoutMs, killTimeoutMs } = settings
    return after([...quiet, { kind: 'abort_start', run }], withTimer(stopping, 'kill', stopTimeoutMs + killTimeoutMs))
  }
  return after([...quiet, { kind: 'drain', run }], withTimer(stopping, 'drain', plan.drainMs))
}

export const requestStop = (model: MachineModel, settings: MachineSettings): MachineStep =>
  after([{ kind: 'request_stop', run: model.run ?? 0 }], withTimer(model, 'stop', settings.stopTimeoutMs))

export function toRunning(model: MachineModel, { settings, nowMs }: MachineContext, health: MachineModel['health']): MachineStep {
  const running: MachineModel = {
    ...model,
    state: 'running',
    health,
    readyAtMs: model.readyAtMs ?? nowMs,
    badProbes: 0,
    goodProbes: 0,
    lastError: undefined,
  }
  const pace: readonly MachineEffect[] = settings.hasProbe ? [{ kind: 'pace', pace: 'steady' }] : []
  const unsettled = running.attempt > 0 || running.flaps > 0
  return after(pace, unsettled ? withTimer(running, 'reset', settings.restart.resetAfterMs) : withTimer(running, undefined))
}

export function toDegraded(model: MachineModel, { settings }: MachineContext): MachineStep {
  const degraded: MachineModel = { ...model, state: 'degraded', health: 'unhealthy', goodProbes: 0, flaps: model.flaps + 1 }
  const pace: readonly MachineEffect[] = settings.hasProbe ? [{ kind: 'pace', pace: 'retry' }] : []
  return after(pace, unhealthyTimer(degraded, settings))
}

/** Slow is not dead: only a service without any sign of life for long is started again. */
export const unhealthyTimer = (model: MachineModel, settings: MachineSettings): MachineStep =>
  settings.restart.when === 'never' || model.missedLeases > 0
    ? withTimer(model, undefined)
    : withTimer(model, 'unhealthy', settings.restartAfterMs)

/** The run is over and nothing of it is left. */
export const withoutRun = (model: MachineModel): MachineModel => ({
  ...model,
  run: undefined,
  exists: false,
  health: 'unknown',
  badProbes: 0,
  goodProbes: 0,
  overLimit: 0,
  missedLeases: 0,
})

/** After a failure: another start after a wait, or none. */
export function toBackoff(model: MachineModel, error: MachineError, { settings, nowMs, random }: MachineContext): MachineStep {
  const attempt = model.attempt + 1
  const ranMs = model.readyAtMs === undefined ? 0 : nowMs - model.readyAtMs
  const ended: MachineModel = { ...withoutRun(model), attempt, readyAtMs: undefined }
  const delayMs = restartDelay(settings.restart, attempt, ranMs, random)
  if (delayMs === undefined) return toFailed(ended, attempt > 1 ? gaveUp(error, attempt) : error)
  return withTimer({ ...ended, state: 'backoff', lastError: error, nextStartAtMs: nowMs + delayMs }, 'backoff', delayMs)
}

const gaveUp = (error: MachineError, attempts: number): MachineError => ({
  code: 'SERVICE_GAVE_UP',
  message: `failed ${attempts} times in a row, the last time: ${error.message}`,
  details: { ...error.details, attempts, cause: error.code },
})

export const toFailed = (model: MachineModel, error: MachineError): MachineStep =>
  withTimer({ ...model, state: 'failed', lastError: error, nextStartAtMs: undefined }, undefined)

import { randomUUID } from 'node:crypto'
import type { Clock, StopTimer } from '../../async/clock.ts'
import type { ServiceFigures } from '../../domain/services/service-figures.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { transition } from '../machine/machine.ts'
import {
  IDLE_MODEL,
  type MachineEffect,
  type MachineError,
  type MachineEvent,
  type MachineModel,
} from '../machine/machine-model.ts'
import type { Probe } from '../network/probes.ts'
import type { ServiceStartOptions } from '../service.ts'
import type { RunUsage, ServiceLimit, ServiceRun } from '../service-driver.ts'
import { createCommands } from './commands.ts'
import { createProber, type ProbeResult } from './health.ts'
import type { LifeSettings } from './life-settings.ts'
import { createSampling } from './sampling.ts'

/** A permission to start that the service waits for. */
export interface Admission {
  startEnded(): void
  release(): void
}

export interface ServiceLifeDeps {
  readonly id: string
  readonly settings: LifeSettings
  /** Starts one run; `onLine` receives the lines of a process where `readyLine` is set. */
  readonly startRun: (runId: string, signal: AbortSignal, onLine: ((text: string) => unknown) | undefined) => Promise<ServiceRun>
  readonly probe?: Probe
  /** Text of the line that makes the service ready. */
  readonly readyLine?: string
  readonly leaseMs?: number
  readonly memoryBytes?: number
  /** Multiple of the memory limit above which a run gets no time to end by itself. */
  readonly memoryHardFactor: number
  /** Percent of one core. More is reported and not ended: a service that computes does its work. */
  readonly cpuPercent?: number
  readonly sampleEveryMs: number
  /** Number of the last run of an earlier service with the same id; default 0. */
  readonly runsBefore?: number
  readonly clock: Clock
  /** Milliseconds of a clock that no one sets. */
  readonly monotonicNow: () => number
  /** Asks for a slot once the dependencies run. */
  readonly admit: (onAdmitted: () => void, onFailed: (error: MachineError) => void) => Admission
  /** Called after every change, with the model before it. */
  readonly onChange: (before: MachineModel, model: MachineModel) => void
  readonly onLimit: (limit: ServiceLimit) => void
}

/** Counted since the registration of the service. */
export type LifeTotals = Readonly<Pick<ServiceFigures, 'failedProbes' | 'answeredCalls' | 'unansweredCalls'>>

/** Everything that is known of a life at this moment. */
export interface LifeSnapshot {
  readonly model: MachineModel
  readonly since: Date
  readonly run?: ServiceRun
  readonly usage?: RunUsage
  readonly probe?: ProbeResult
  readonly inFlight: number
  readonly totals: LifeTotals
}

/** One service that lives: a machine over the runs of a driver. */
export interface ServiceLife {
  start(options?: ServiceStartOptions): Promise<void>
  stop(drainMs?: number): Promise<void>
  restart(): Promise<void>
  beat(): void
  /** Counts a call until the returned function is called with its outcome. */
  beginCall(): (succeeded: boolean) => void
  snapshot(): LifeSnapshot
  /** Aborts with the run; for calls, which must not outlive it. */
  runSignal(): AbortSignal | undefined
}

interface Current {
  readonly number: number
  readonly abort: AbortController
  run?: ServiceRun
}

export function createServiceLife(deps: ServiceLifeDeps): ServiceLife {
  const { clock, settings, monotonicNow } = deps
  let model: MachineModel = { ...IDLE_MODEL, runs: deps.runsBefore ?? 0 }
  let since = new Date(clock.now())
  let current: Current | undefined
  let admission: Admission | undefined
  let stopTimer: StopTimer | undefined
  let stopLease: StopTimer | undefined
  let stopSampling: StopTimer | undefined
  let usage: RunUsage | undefined
  let lastProbe: ProbeResult | undefined
  let inFlight = 0
  const totals = { failedProbes: 0, answeredCalls: 0, unansweredCalls: 0 }
  let isDraining = false
  const events: MachineEvent[] = []
  let isDispatching = false

  const commands = createCommands(deps.id, clock, () => model)
  const sampling = createSampling({
    ...deps,
    everyMs: deps.sampleEveryMs,
    onUsage(found, use) {
      usage = found
      if (use && model.run !== undefined) dispatch({ kind: 'memory', run: model.run, use })
    },
  })
  const prober =
    deps.probe &&
    createProber({
      probe: deps.probe,
      timing: settings.probe,
      clock,
      monotonicNow,
      onResult(result) {
        lastProbe = result
        if (!result.ok) totals.failedProbes++
        if (model.run !== undefined) dispatch({ kind: 'probe', run: model.run, ok: result.ok })
      },
    })

  /** An effect may cause the next event; events are handled one after another. */
  function dispatch(event: MachineEvent): void {
    events.push(event)
    if (isDispatching) return
    isDispatching = true
    try {
      for (let next = events.shift(); next !== undefined; next = events.shift()) apply(next)
    } finally {
      isDispatching = false
    }
    commands.settle()
  }

  function apply(event: MachineEvent): void {
    const before = model
    const step = transition(before, event, { settings: settings.machine, nowMs: monotonicNow(), random: clock.random() })
    model = step.model
    if (model.state !== before.state) since = new Date(clock.now())
    for (const effect of step.effects) perform(effect)
    if (before.state === 'starting' && model.state !== 'starting') admission?.startEnded()
    if (before.run !== undefined && model.run === undefined) endOfRun()
    watchLease()
    if (model !== before) deps.onChange(before, model)
  }

  const perform = <Kind extends MachineEffect['kind']>(effect: Extract<MachineEffect, { kind: Kind }>): void =>
    effects[effect.kind](effect)

  const effects: { readonly [Kind in MachineEffect['kind']]: (effect: Extract<MachineEffect, { kind: Kind }>) => void } = {
    enqueue() {
      releaseSlot()
      admission = deps.admit(
        () => dispatch({ kind: 'admitted' }),
        (error) => dispatch({ kind: 'dependency_failed', error }),
      )
    },
    dequeue: () => releaseSlot(),
    spawn: ({ run }) => void spawn(run),
    abort_start: () =>
      current?.abort.abort(new OrchestratorError('SERVICE_NOT_RUNNING', `the start of "${deps.id}" was given up`)),
    drain({ run }) {
      isDraining = true
      if (inFlight === 0) dispatch({ kind: 'drained', run })
    },
    request_stop() {
      current?.abort.abort(new OrchestratorError('SERVICE_NOT_RUNNING', `"${deps.id}" is being stopped`))
      // A run that cannot be asked is left to `kill`, which comes after the stop timeout.
      void current?.run?.requestStop().catch(() => undefined)
    },
    kill({ run }) {
      void current?.run?.kill().catch((error) => dispatch({ kind: 'unkillable', run, error: toMachineError(error) }))
    },
    pace: ({ pace }) => prober?.setPace(pace),
    set_timer({ token, delayMs }) {
      stopTimer = clock.startTimer(delayMs, () => dispatch({ kind: 'timer', token }))
    },
    clear_timer: () => stopTimer?.(),
    limit: ({ limit }) => deps.onLimit(limit),
  }

  async function spawn(number: number): Promise<void> {
    const own: Current = { number, abort: new AbortController() }
    current = own
    isDraining = false
    const { readyLine } = deps
    const onLine =
      readyLine === undefined
        ? undefined
        : (text: string) => {
            if (!text.includes(readyLine)) return true
            // The line may come before the driver has said that the run exists.
            queueMicrotask(() => dispatch({ kind: 'ready', run: number }))
            return false
          }
    try {
      const run = await deps.startRun(randomUUID(), own.abort.signal, onLine)
      attach(own, run)
      dispatch({ kind: 'started', run: number })
    } catch (error) {
      dispatch({ kind: 'start_failed', run: number, error: toMachineError(error) })
    }
  }

  function attach(own: Current, run: ServiceRun): void {
    own.run = run
    void run.ended.then((exit) => dispatch({ kind: 'exit', run: own.number, exit }))
    stopSampling = sampling.begin(run)
  }

  function endOfRun(): void {
    stopSampling?.()
    stopLease?.()
    stopLease = undefined
    current?.abort.abort(new OrchestratorError('SERVICE_NOT_RUNNING', `"${deps.id}" has ended`))
    current = undefined
    usage = undefined
    if (model.state !== 'waiting') releaseSlot()
  }

  function releaseSlot(): void {
    admission?.release()
    admission = undefined
  }

  function watchLease(renew = false): void {
    const { leaseMs } = deps
    if (leaseMs === undefined || model.run === undefined || (stopLease && !renew)) return
    stopLease?.()
    const { run } = model
    stopLease = clock.startTimer(leaseMs, () => {
      stopLease = undefined
      dispatch({ kind: 'lease_missed', run })
    })
  }

  return {
    start(options) {
      dispatch({ kind: 'start' })
      return commands.untilRunning(options)
    },
    stop(drainMs) {
      const { run } = model
      dispatch({ kind: 'stop', ...(drainMs !== undefined && { drainMs }) })
      return commands.untilEnded(run)
    },
    restart() {
      dispatch({ kind: 'restart' })
      return commands.untilRunning()
    },
    beat() {
      if (model.run === undefined) return void dispatch({ kind: 'start' })
      // A program that announces itself is ready, whatever it was waited for.
      if (model.state === 'starting') dispatch({ kind: 'ready', run: model.run })
      dispatch({ kind: 'beat', run: model.run })
      watchLease(true)
    },
    beginCall() {
      const { run } = model
      inFlight++
      let isOver = false
      return (succeeded) => {
        if (isOver) return
        isOver = true
        inFlight--
        totals[succeeded ? 'answeredCalls' : 'unansweredCalls']++
        if (run !== undefined && succeeded) dispatch({ kind: 'call_succeeded', run })
        if (isDraining && inFlight === 0 && model.run !== undefined) dispatch({ kind: 'drained', run: model.run })
      }
    },
    snapshot: () => ({
      model,
      since,
      inFlight,
      totals,
      ...(current?.run && { run: current.run }),
      ...(usage && { usage }),
      ...(lastProbe && { probe: lastProbe }),
    }),
    runSignal: () => current?.abort.signal,
  }
}

function toMachineError(error: unknown): MachineError {
  const { code, message, details } = OrchestratorError.from(error, 'SERVICE_START_FAILED')
  return { code, message, details }
}

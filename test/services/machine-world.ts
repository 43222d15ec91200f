import { transition } from '../../src/services/machine/machine.ts'
import {
  IDLE_MODEL,
  type MachineEffect,
  type MachineEvent,
  type MachineModel,
  type MachineSettings,
} from '../../src/services/machine/machine-model.ts'

export const SETTINGS: MachineSettings = {
  startTimeoutMs: 60_000,
  minUptimeMs: 1_000,
  ready: 'probe',
  hasProbe: true,
  drainMs: 10_000,
  stopTimeoutMs: 10_000,
  killTimeoutMs: 5_000,
  failureThreshold: 3,
  successThreshold: 2,
  restartAfterMs: 60_000,
  restart: { when: 'failure', maxRetries: 3, delayMs: 30_000, maxDelayMs: 300_000, resetAfterMs: 600_000 },
  successExitCodes: [],
}

/** A machine with a clock and runs that exist only as numbers. */
export function createMachineWorld(given: Partial<MachineSettings> = {}, random = () => 0.5) {
  const settings: MachineSettings = { ...SETTINGS, ...given }
  let model: MachineModel = IDLE_MODEL
  let nowMs = 0
  let timer: { readonly token: number; readonly atMs: number } | undefined
  const alive = new Set<number>()
  const effects: MachineEffect[] = []
  const states: string[] = [model.state]
  const delays: number[] = []

  function dispatch(event: MachineEvent): void {
    const step = transition(model, event, { settings, nowMs, random: random() })
    if (step.model.state !== model.state) states.push(step.model.state)
    model = step.model
    for (const effect of step.effects) {
      effects.push(effect)
      if (effect.kind === 'spawn') alive.add(effect.run)
      if (effect.kind === 'clear_timer') timer = undefined
      if (effect.kind === 'set_timer') {
        timer = { token: effect.token, atMs: nowMs + effect.delayMs }
        if (model.state === 'backoff') delays.push(effect.delayMs)
      }
    }
  }

  /** Lets time pass; timers fire on the way. */
  function advance(ms: number): void {
    const endMs = nowMs + ms
    while (timer !== undefined && timer.atMs <= endMs) {
      const { token, atMs } = timer
      nowMs = Math.max(nowMs, atMs)
      timer = undefined
      dispatch({ kind: 'timer', token })
    }
    nowMs = endMs
  }

  const run = () => model.run ?? 0
  function exit(code?: number, signal?: string): void {
    const ended = run()
    alive.delete(ended)
    dispatch({
      kind: 'exit',
      run: ended,
      exit: { at: new Date(0), ...(code !== undefined && { code }), ...(signal && { signal }) },
    })
  }

  return {
    dispatch,
    advance,
    exit,
    alive,
    effects,
    states,
    delays,
    run,
    model: () => model,
    nowMs: () => nowMs,
    /** Token of the timer that is set. */
    timerToken: () => timer?.token,
    probe: (ok: boolean) => dispatch({ kind: 'probe', run: run(), ok }),
    spawns: () => effects.filter(({ kind }) => kind === 'spawn').length,
    /** Starts it and lets it become ready. */
    bringUp() {
      dispatch({ kind: 'start' })
      dispatch({ kind: 'admitted' })
      dispatch({ kind: 'started', run: run() })
      if (settings.hasProbe) dispatch({ kind: 'probe', run: run(), ok: true })
    },
  }
}

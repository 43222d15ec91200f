import { createServiceLife, type ServiceLifeDeps } from '../../src/services/life/service-life.ts'
import type { RunUsage, ServiceLimit } from '../../src/services/service-driver.ts'
import { SETTINGS } from './machine-world.ts'

const TIMING = { intervalMs: 30_000, timeoutMs: 10_000, startIntervalMs: 500, retryIntervalMs: 2_000 }

/** One life on clocks that the test moves: that of the wall, and the one that no one sets. */
export function createLifeWorld(given: Partial<ServiceLifeDeps> & { readonly usage?: () => Promise<RunUsage | undefined> } = {}) {
  let monotonicMs = 0
  let wallMs = 1_000_000_000_000
  let next = 0
  const timers = new Map<number, { readonly atMs: number; readonly run: () => void }>()
  const states: string[] = []
  const limits: ServiceLimit[] = []
  let end = (_code: number) => {}
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve))
  const fireDue = async () => {
    for (;;) {
      const [due] = [...timers].filter(([, { atMs }]) => atMs <= monotonicMs).sort(([, one], [, other]) => one.atMs - other.atMs)
      if (!due) return settle()
      timers.delete(due[0])
      due[1].run()
      await settle()
    }
  }
  const life = createServiceLife({
    id: 'one',
    settings: { machine: SETTINGS, probe: TIMING },
    async startRun(runId) {
      const ended = new Promise<{ code: number; at: Date }>((resolve) => {
        end = (code) => resolve({ code, at: new Date(wallMs) })
      })
      const stop = async () => end(0)
      const { usage } = given
      return { runId, startedAt: new Date(wallMs), adopted: false, ended, requestStop: stop, kill: stop, ...(usage && { usage }) }
    },
    sampleEveryMs: 2_000,
    memoryHardFactor: 2,
    clock: {
      now: () => wallMs,
      random: () => 0.5,
      startTimer(delayMs, run) {
        const id = next++
        timers.set(id, { atMs: monotonicMs + delayMs, run })
        return () => void timers.delete(id)
      },
    },
    monotonicNow: () => monotonicMs,
    admit(onAdmitted) {
      onAdmitted()
      return { startEnded() {}, release() {} }
    },
    onChange(before, model) {
      if (before.state !== model.state) states.push(model.state)
    },
    onLimit: (limit) => limits.push(limit),
    ...given,
  })
  return {
    life,
    /** The clock that no one sets. */
    nowMs: () => monotonicMs,
    states,
    limits,
    settle,
    exit: (code: number) => end(code),
    /** Somebody sets the clock of the wall, or the machine was suspended, which the monotonic clock does not count. */
    setWall(byMs: number) {
      wallMs += byMs
    },
    /** Time passes on both clocks, and every timer fires when it is due. */
    async advance(ms: number) {
      await settle()
      const endMs = monotonicMs + ms
      for (;;) {
        const atMs = Math.min(...[...timers.values()].map((timer) => timer.atMs))
        if (atMs > endMs) break
        const passedMs = Math.max(0, atMs - monotonicMs)
        monotonicMs += passedMs
        wallMs += passedMs
        await fireDue()
      }
      wallMs += endMs - monotonicMs
      monotonicMs = endMs
      await settle()
    },
    /** This process does nothing for so long; every timer that was due in between fires after it. */
    async stall(ms: number) {
      monotonicMs += ms
      wallMs += ms
      await fireDue()
    },
  }
}

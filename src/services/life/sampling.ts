import type { Clock, StopTimer } from '../../async/clock.ts'
import type { MemoryUse } from '../machine/machine-model.ts'
import type { RunUsage, ServiceLimit, ServiceRun } from '../service-driver.ts'

export interface SamplingDeps {
  /** Longest time in milliseconds between two samples. */
  readonly everyMs: number
  /** Bytes of the whole tree. */
  readonly memoryBytes?: number
  /** Multiple of `memoryBytes` above which a sample counts as far over. */
  readonly memoryHardFactor: number
  /** Percent of one core. More is reported and not ended: a service that computes does its work. */
  readonly cpuPercent?: number
  readonly clock: Clock
  /** Milliseconds of a clock that no one sets. */
  readonly monotonicNow: () => number
  /** Called with every sample; `use` is `undefined` without a limit of memory, or if the process is gone. */
  readonly onUsage: (usage: RunUsage | undefined, use: MemoryUse | undefined) => void
  readonly onLimit: (limit: ServiceLimit) => void
}

/** Reads what runs of one service use. */
export interface Sampling {
  /** Samples the run until the returned function is called. Runs without a process are not sampled. */
  begin(run: ServiceRun): StopTimer
}

/** Least milliseconds between two reports of too much processor time. */
const CPU_REPORT_MS = 60_000
/** Least milliseconds between two samples of a run that grows towards its limit. */
const SHORTEST_MS = 50
/** Milliseconds before the first sample of a run with a limit: nothing is known of its growth yet. */
const FIRST_MS = 100
/** Least part of `everyMs` between two samples at common moments. */
const LEAST_PART = 0.1

export function createSampling({
  everyMs,
  memoryBytes,
  memoryHardFactor,
  cpuPercent,
  clock,
  monotonicNow,
  onUsage,
  onLimit,
}: SamplingDeps): Sampling {
  let cpuReportedMs = Number.NEGATIVE_INFINITY

  function reportCpu(usage: RunUsage): void {
    if (cpuPercent === undefined || usage.cpuPercent <= cpuPercent) return
    if (monotonicNow() - cpuReportedMs < CPU_REPORT_MS) return
    cpuReportedMs = monotonicNow()
    onLimit('cpu')
  }

  function useOf({ memoryBytes: used }: RunUsage): MemoryUse | undefined {
    if (memoryBytes === undefined) return undefined
    if (used > memoryBytes * memoryHardFactor) return 'far_over'
    return used > memoryBytes ? 'over' : 'within'
  }

  /** All services are sampled at the same moments, so that one reading of the process table serves them all. */
  function untilCommonMoment(): number {
    const restMs = everyMs - (monotonicNow() % everyMs)
    return restMs < everyMs * LEAST_PART ? restMs + everyMs : restMs
  }

  /** Half of the time in which the run would reach its limit, as it grew since the sample before. */
  function untilNext(usedBytes: number | undefined, beforeBytes: number, passedMs: number): number {
    const longestMs = untilCommonMoment()
    if (memoryBytes === undefined || usedBytes === undefined) return longestMs
    const perMs = (usedBytes - beforeBytes) / Math.max(1, passedMs)
    const untilLimitMs = usedBytes > memoryBytes ? 0 : perMs > 0 ? (memoryBytes - usedBytes) / perMs : Number.POSITIVE_INFINITY
    return Math.min(longestMs, Math.max(SHORTEST_MS, untilLimitMs / 2))
  }

  return {
    begin(run) {
      let hasEnded = false
      let stopTimer: StopTimer | undefined
      let before = { atMs: monotonicNow(), bytes: 0 }
      const next = (delayMs: number) => {
        stopTimer = clock.startTimer(delayMs, () => void sample(delayMs))
      }
      async function sample(waitedMs: number): Promise<void> {
        // An older reading would show nothing of what happened in the wait. One that fails, for example because too
        // many files are open, is repeated at the next sample.
        const usage = await run.usage?.(waitedMs / 2).catch(() => undefined)
        if (hasEnded) return
        if (usage) reportCpu(usage)
        onUsage(usage, usage && useOf(usage))
        if (hasEnded) return
        const now = { atMs: monotonicNow(), bytes: usage?.memoryBytes ?? before.bytes }
        next(untilNext(usage?.memoryBytes, before.bytes, now.atMs - before.atMs))
        before = now
      }
      if (run.usage) next(memoryBytes === undefined ? untilCommonMoment() : Math.min(FIRST_MS, everyMs))
      return () => {
        hasEnded = true
        stopTimer?.()
      }
    },
  }
}

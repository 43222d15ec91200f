import type { Clock, StopTimer } from '../../async/clock.ts'
import type { RunUsage, ServiceLimit, ServiceRun } from '../service-driver.ts'

export interface SamplingDeps {
  readonly everyMs: number
  /** Bytes of the whole tree. */
  readonly memoryBytes?: number
  /** Percent of one core. More is reported and not ended: a service that computes does its work. */
  readonly cpuPercent?: number
  readonly clock: Clock
  /** Milliseconds of a clock that no one sets. */
  readonly monotonicNow: () => number
  /** Called with every sample; `isOver` says whether it is over the memory limit, `undefined` without a limit. */
  readonly onUsage: (usage: RunUsage | undefined, isOver: boolean | undefined) => void
  readonly onLimit: (limit: ServiceLimit) => void
}

/** Reads what runs of one service use. */
export interface Sampling {
  /** Samples the run until the returned function is called. Runs without a process are not sampled. */
  begin(run: ServiceRun): StopTimer
}

/** Least milliseconds between two reports of too much processor time. */
const CPU_REPORT_MS = 60_000

export function createSampling({
  everyMs,
  memoryBytes,
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

  return {
    begin(run) {
      let hasEnded = false
      let stopTimer: StopTimer | undefined
      const next = () => {
        stopTimer = clock.startTimer(everyMs, () => void sample())
      }
      async function sample(): Promise<void> {
        // A table that cannot be read now, for example because too many files are open, is read again later.
        const usage = await run.usage?.().catch(() => undefined)
        if (hasEnded) return
        if (usage) reportCpu(usage)
        onUsage(usage, usage && memoryBytes !== undefined ? usage.memoryBytes > memoryBytes : undefined)
        if (!hasEnded) next()
      }
      if (run.usage) next()
      return () => {
        hasEnded = true
        stopTimer?.()
      }
    },
  }
}

import type { Clock } from '../../async/clock.ts'

/** Figures of the last minute, and of this process. */
export interface SystemMetrics {
  /** Milliseconds: the average of the steps that ended in the last minute; 0 if none did. */
  readonly responseTime: number
  /** Workflows that ended in the last minute. */
  readonly throughput: number
  /** From 0 to 1: the part of the workflows of the last minute that failed. */
  readonly errorRate: number
  /** Megabytes of this process. */
  readonly memoryUsage: number
  /** Percent of one core since the last sample. */
  readonly cpuUsage: number
  readonly timestamp: Date
}

const WINDOW_MS = 60_000
/** Entries and samples that are kept; with more, the oldest do not count. */
const MAX_KEPT = 10_000
const MAX_SAMPLES = 360

interface Ended {
  readonly at: number
  readonly isSuccess: boolean
  readonly ms: number
}

/** Counts what ended in the last minute. */
export function createMetricsWindow({ now }: Pick<Clock, 'now'>) {
  const steps: Ended[] = []
  const workflows: Ended[] = []
  const samples: SystemMetrics[] = []
  let lastCpu = process.cpuUsage()
  let lastCpuAt = now()
  let cpuUsage = 0

  function add(list: Ended[], entry: Ended): void {
    list.push(entry)
    if (list.length > MAX_KEPT) list.shift()
  }
  const recent = (list: readonly Ended[]) => list.filter(({ at }) => at > now() - WINDOW_MS)

  function measureCpu(): number {
    const elapsedMs = now() - lastCpuAt
    // A shorter time has no meaningful share.
    if (elapsedMs < 10) return cpuUsage
    const { user, system } = process.cpuUsage(lastCpu)
    cpuUsage = (user + system) / 10 / elapsedMs
    lastCpu = process.cpuUsage()
    lastCpuAt = now()
    return cpuUsage
  }

  function read(): SystemMetrics {
    const endedSteps = recent(steps)
    const endedWorkflows = recent(workflows)
    const failed = endedWorkflows.filter(({ isSuccess }) => !isSuccess).length
    return {
      responseTime: endedSteps.length === 0 ? 0 : endedSteps.reduce((sum, { ms }) => sum + ms, 0) / endedSteps.length,
      throughput: endedWorkflows.length,
      errorRate: endedWorkflows.length === 0 ? 0 : failed / endedWorkflows.length,
      memoryUsage: process.memoryUsage.rss() / 1_000_000,
      cpuUsage: measureCpu(),
      timestamp: new Date(now()),
    }
  }

  return {
    stepEnded: (ms: number, isSuccess: boolean): void => add(steps, { at: now(), ms, isSuccess }),
    workflowEnded: (isSuccess: boolean): void => add(workflows, { at: now(), ms: 0, isSuccess }),
    read,
    /** Keeps a sample. */
    sample(): SystemMetrics {
      const metrics = read()
      samples.push(metrics)
      if (samples.length > MAX_SAMPLES) samples.shift()
      return metrics
    },
    /** The samples that were kept, the oldest first; at most 360. */
    history: (): readonly SystemMetrics[] => [...samples],
  }
}

export type MetricsWindow = ReturnType<typeof createMetricsWindow>

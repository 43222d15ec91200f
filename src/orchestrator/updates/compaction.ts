import type { UpdateRepository } from '../../repositories/repository.ts'

/** Milliseconds after the end of a flow, in which those who watched it still read its chunks. */
const WAIT_MS = 2_000
/** Flows that wait for their compaction; further ones stay as they are, which costs only their size. */
const MAX_WAITING = 10_000
/** Flows that are compacted when the process closes; a command that runs one flow would otherwise never compact it. */
const MAX_AT_CLOSE = 20

export interface CompactionDeps {
  /** Implemented by UpdateRepository.compact. */
  readonly compact: UpdateRepository['compact']
  readonly waitMs?: number
}

/**
 * Joins the text chunks of flows that this process has ended, in the background and one flow at a time. Each flow has
 * one process that ended it, so no lock is needed and nothing is searched for.
 */
export function createCompaction({ compact, waitMs = WAIT_MS }: CompactionDeps) {
  const waiting = new Map<string, number>()
  let timer: NodeJS.Timeout | undefined
  let isRunning = false

  const schedule = () => {
    const [first] = waiting.values()
    if (timer || isRunning || first === undefined) return
    timer = setTimeout(() => void run(), Math.max(0, first - performance.now())).unref()
  }
  const run = async () => {
    timer = undefined
    isRunning = true
    for (const [flowId, dueMs] of waiting) {
      if (dueMs > performance.now()) break
      await compactQuietly(flowId)
    }
    isRunning = false
    schedule()
  }
  // A flow whose compaction fails stays readable as it is.
  const compactQuietly = async (flowId: string) => {
    waiting.delete(flowId)
    await compact(flowId).catch(() => {})
  }

  return {
    /** Called with a flow that has ended and whose text was stored in several rows. */
    add(flowId: string): void {
      if (waiting.size >= MAX_WAITING) return
      waiting.delete(flowId)
      waiting.set(flowId, performance.now() + waitMs)
      schedule()
    },
    /** Must be called while the database is still open. */
    async close(): Promise<void> {
      clearTimeout(timer)
      const last = [...waiting.keys()].slice(0, MAX_AT_CLOSE)
      waiting.clear()
      for (const flowId of last) await compact(flowId).catch(() => {})
    },
  }
}

export type Compaction = ReturnType<typeof createCompaction>

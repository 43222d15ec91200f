import pLimit from 'p-limit'
import type { StoredRunOptions } from '../../domain/execution/flow.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { FlowRepository } from '../../repositories/repository.ts'
import { createFlowId } from '../flows/flow-id.ts'
import type { RecoveryLog } from './recovery.ts'

export interface ResumptionDeps {
  readonly flows: Pick<FlowRepository, 'find' | 'findInterrupted'>
  /**
   * Starts a flow again in the name of the user who created it. Resolves when it runs; `ended` resolves or rejects at
   * its end. Implemented by createOwnership.
   */
  readonly start: (flowId: string, userId: string, options: StoredRunOptions) => Promise<{ readonly ended: Promise<unknown> }>
  readonly logger: RecoveryLog
  /** Resumed flows that run at once; default 50. The others wait, so that a restart does not flood the providers. */
  readonly concurrency?: number
}

/** A flow that has had more owners is not resumed automatically, because it may crash every process that runs it. */
const MAX_OWNERS = 20
/** An older flow is not resumed automatically. */
const MAX_AGE_MS = 7 * 86_400_000
const MAX_FOUND_AT_START = 10_000
const DEFAULT_CONCURRENCY = 50

/**
 * Resumes flows of dead processes that were started with `resumeAfterCrash`. No flow is resumed before `start`, so that
 * a process that only reads the database spends no money.
 */
export function createResumption({ flows, start, logger, concurrency = DEFAULT_CONCURRENCY }: ResumptionDeps) {
  const foundBeforeStart = new Set<string>()
  const limit = pLimit(concurrency)
  let isActive = false

  /** Resolves when the flow runs, or with `undefined` if it cannot be resumed. */
  async function tryStart(flowId: string): Promise<{ readonly ended: Promise<unknown> } | undefined> {
    try {
      const flow = await flows.find(flowId)
      if (!flow?.runOptions || flow.error?.code !== 'FLOW_INTERRUPTED' || flow.ownerEpoch > MAX_OWNERS) return undefined
      const { streaming, saveMessages, timeout, limits, apiKeyId } = flow.runOptions
      const options = { streaming, saveMessages, timeout, limits, apiKeyId }
      return await start(flowId, flow.userId, options)
    } catch (error) {
      const { code } = OrchestratorError.from(error)
      // Another process has resumed the flow first.
      if (code !== 'FLOW_ALREADY_RUNNING') logger.warn('an interrupted flow could not be resumed', { flowId, code })
      return undefined
    }
  }

  /** Resolves when the flow runs, cannot be resumed, or waits in the queue. */
  const resume = (flowId: string) =>
    new Promise<void>((resolve) => {
      void limit(async () => {
        const run = isActive ? await tryStart(flowId) : undefined
        resolve()
        // A failed flow has reported its error in its own updates.
        await run?.ended.catch(() => {})
      })
      if (limit.activeCount + limit.pendingCount > concurrency) resolve()
    })

  return {
    /** Called by the recovery with flows that it has marked. */
    interrupted(flowIds: readonly string[]): void {
      for (const flowId of flowIds) {
        if (isActive) void resume(flowId)
        else foundBeforeStart.add(flowId)
      }
    },
    /**
     * Resolves when every interrupted flow runs again, waits in the queue, or cannot be resumed. That includes flows
     * that another process has marked without resuming them. Rejects if the database cannot be queried.
     */
    async start(): Promise<void> {
      isActive = true
      const found = await flows.findInterrupted(createFlowId(Date.now() - MAX_AGE_MS), MAX_FOUND_AT_START)
      const flowIds = new Set([...foundBeforeStart, ...found])
      foundBeforeStart.clear()
      await Promise.all(Array.from(flowIds, resume))
    },
    /** Starts no further flow: queued flows are left to the next process. */
    stop(): void {
      isActive = false
      limit.clearQueue()
    },
  }
}

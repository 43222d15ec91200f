import pLimit from 'p-limit'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { FlowRepository, StoredRunOptions } from '../../repositories/repository.ts'
import { createFlowId } from '../flows/flow-id.ts'
import type { RecoveryLog } from './recovery.ts'

export interface ResumptionDeps {
  readonly flows: Pick<FlowRepository, 'find' | 'findInterrupted'>
  /** Starts the flow again on behalf of who created it. Resolves when it runs; `ended` resolves or rejects when it is over. */
  readonly start: (flowId: string, userId: string, options: StoredRunOptions) => Promise<{ readonly ended: Promise<unknown> }>
  readonly logger: RecoveryLog
  /** Flows that may run again at once; default 50. The others wait, so that a start does not ask all providers for everything together. */
  readonly atOnce?: number
}

/** Owners that a flow may have had: one that takes down every process that runs it is left to people. */
const MAX_OWNERS = 20
/** An older flow that nobody went on with is left to people, too. */
const MAX_AGE_MS = 7 * 86_400_000
const MAX_FOUND_AT_START = 10_000
const RESUMED_AT_ONCE = 50

/**
 * Goes on with flows that a dead process left, where they were started so that this is wanted. Nothing happens before `start`: a process that only
 * looks at the database does not spend money.
 */
export function createResumption({ flows, start, logger, atOnce = RESUMED_AT_ONCE }: ResumptionDeps) {
  const foundBeforeStart = new Set<string>()
  const limit = pLimit(atOnce)
  let isActive = false

  /** Resolves when the flow runs, with its end; with nothing where it cannot be resumed. */
  async function begin(flowId: string): Promise<{ readonly ended: Promise<unknown> } | undefined> {
    try {
      const flow = await flows.find(flowId)
      if (!flow?.runOptions || flow.error?.code !== 'FLOW_INTERRUPTED' || flow.ownerEpoch > MAX_OWNERS) return undefined
      return await start(flowId, flow.userId, flow.runOptions)
    } catch (error) {
      const { code } = OrchestratorError.from(error)
      // Another process was faster.
      if (code !== 'FLOW_ALREADY_RUNNING') logger.warn('an interrupted flow could not be resumed', { flowId, code })
      return undefined
    }
  }

  /** Resolves when the flow runs, cannot be resumed, or waits for its turn. */
  const resume = (flowId: string) =>
    new Promise<void>((resolve) => {
      void limit(async () => {
        const run = isActive ? await begin(flowId) : undefined
        resolve()
        // Who fails has told so in its own stream of updates.
        await run?.ended.catch(() => {})
      })
      if (limit.activeCount + limit.pendingCount > atOnce) resolve()
    })

  return {
    /** Told by the recovery of flows that it has marked. */
    interrupted(flowIds: readonly string[]): void {
      for (const flowId of flowIds) {
        if (isActive) void resume(flowId)
        else foundBeforeStart.add(flowId)
      }
    },
    /**
     * Resolves when everything found so far is running again, waits for its turn, or cannot be resumed. That includes what a process marked that did
     * not go on with it: a command line in between, or a server that ended just then. Rejects where the database cannot be asked.
     */
    async start(): Promise<void> {
      isActive = true
      const found = await flows.findInterrupted(createFlowId(Date.now() - MAX_AGE_MS), MAX_FOUND_AT_START)
      const flowIds = new Set([...foundBeforeStart, ...found])
      foundBeforeStart.clear()
      await Promise.all(Array.from(flowIds, resume))
    },
    /** Nothing more is started: what waits for its turn is left to the next process. */
    stop(): void {
      isActive = false
      limit.clearQueue()
    },
  }
}

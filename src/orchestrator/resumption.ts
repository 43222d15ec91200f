import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { FlowRepository, StoredRunOptions } from '../repositories/repository.ts'
import { createFlowId } from './flow-id.ts'
import type { RecoveryLog } from './recovery.ts'

export interface ResumptionPorts {
  readonly flows: Pick<FlowRepository, 'find' | 'findInterrupted'>
  /** Starts the flow again on behalf of who created it. */
  readonly start: (flowId: string, userId: string, options: StoredRunOptions) => Promise<unknown>
  readonly logger: RecoveryLog
}

/** Owners that a flow may have had: one that takes down every process that runs it is left to people. */
const MAX_OWNERS = 20
/** An older flow that nobody went on with is left to people, too. */
const MAX_AGE_MS = 7 * 86_400_000
const MAX_FOUND_AT_START = 1_000

/**
 * Goes on with flows that a dead process left, where they were started so that this is wanted. Nothing happens before `start`: a process that only
 * looks at the database does not spend money.
 */
export function createResumption({ flows, start, logger }: ResumptionPorts) {
  const waiting = new Set<string>()
  let isActive = false
  let work: Promise<void> = Promise.resolve()

  async function resume(flowId: string): Promise<void> {
    try {
      const flow = await flows.find(flowId)
      if (!flow?.runOptions || flow.error?.code !== 'FLOW_INTERRUPTED' || flow.ownerEpoch > MAX_OWNERS) return
      await start(flowId, flow.userId, flow.runOptions)
    } catch (error) {
      const { code } = OrchestratorError.from(error)
      // Another process was faster.
      if (code !== 'FLOW_ALREADY_RUNNING') logger.warn('an interrupted flow could not be resumed', { flowId, code })
    }
  }
  const resumeWaiting = () => {
    work = work.then(async () => {
      for (const flowId of waiting) {
        if (!isActive) return
        waiting.delete(flowId)
        await resume(flowId)
      }
    })
    return work
  }

  return {
    /** Told by the recovery of flows that it has marked. */
    interrupted(flowIds: readonly string[]): void {
      for (const flowId of flowIds) waiting.add(flowId)
      if (isActive) void resumeWaiting()
    },
    /**
     * Resolves when everything found so far is running again, or cannot be. That includes what a process marked that did not go on with it: a command
     * line in between, or a server that ended just then. Rejects where the database cannot be asked.
     */
    async start(): Promise<void> {
      isActive = true
      const found = await flows.findInterrupted(createFlowId(Date.now() - MAX_AGE_MS), MAX_FOUND_AT_START)
      for (const flowId of found) waiting.add(flowId)
      return resumeWaiting()
    },
    stop(): void {
      isActive = false
    },
  }
}

import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { FlowRepository, StoredRunOptions } from '../repositories/repository.ts'
import type { RecoveryLog } from './recovery.ts'

export interface ResumptionPorts {
  readonly flows: Pick<FlowRepository, 'find'>
  /** Starts the flow again on behalf of who created it. */
  readonly start: (flowId: string, userId: string, options: StoredRunOptions) => Promise<unknown>
  readonly logger: RecoveryLog
}

/** Owners that a flow may have had: one that takes down every process that runs it is left to people. */
const MAX_OWNERS = 20

/**
 * Goes on with flows that a dead process left, where they were started so that this is wanted. Nothing happens before `start`: a process that only
 * looks at the database does not spend money.
 */
export function createResumption({ flows, start, logger }: ResumptionPorts) {
  let waiting: string[] = []
  let isActive = false
  let work: Promise<void> = Promise.resolve()

  async function resume(flowId: string): Promise<void> {
    try {
      const flow = await flows.find(flowId)
      if (!flow?.runOptions || flow.error?.code !== 'FLOW_INTERRUPTED' || flow.ownerEpoch > MAX_OWNERS) return
      await start(flowId, flow.userId, flow.runOptions)
    } catch (error) {
      logger.warn('an interrupted flow could not be resumed', { flowId, code: OrchestratorError.from(error).code })
    }
  }
  const resumeWaiting = () => {
    const flowIds = waiting
    waiting = []
    work = work.then(async () => {
      for (const flowId of flowIds) if (isActive) await resume(flowId)
    })
    return work
  }

  return {
    /** Told by the recovery of flows that it has marked. */
    interrupted(flowIds: readonly string[]): void {
      waiting.push(...flowIds)
      if (isActive) void resumeWaiting()
    },
    /** Resolves when everything found so far is running again, or cannot be. */
    start(): Promise<void> {
      isActive = true
      return resumeWaiting()
    },
    stop(): void {
      isActive = false
    },
  }
}

export type Resumption = ReturnType<typeof createResumption>

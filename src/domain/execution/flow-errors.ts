import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/**
 * The same error for a flow that does not exist and for one that the caller may not read, so that ids cannot be probed.
 */
export const flowNotFound = (flowId: string): OrchestratorError =>
  new OrchestratorError('FLOW_NOT_FOUND', `No flow "${flowId}"`, { details: { flowId } })

/** FLOW_CANCELLED. `message` states what cancelled the flow and why. */
export const flowCancelled = (flowId: string, message = 'The flow was cancelled'): OrchestratorError =>
  new OrchestratorError('FLOW_CANCELLED', message, { details: { flowId } })

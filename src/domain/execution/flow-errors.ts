import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type ClaimRefusal, FLOW_SCHEMA_VERSION } from './flow.ts'

/**
 * The same error for a flow that does not exist and for one that the caller may not read, so that ids cannot be probed.
 */
export const flowNotFound = (flowId: string): OrchestratorError =>
  new OrchestratorError('FLOW_NOT_FOUND', `No flow "${flowId}"`, { details: { flowId } })

/** `message` says who cancelled the flow and why; without a `flowId` it is the reason for several flows. */
export const flowCancelled = (flowId: string | undefined, message = 'The flow was cancelled'): OrchestratorError =>
  new OrchestratorError('FLOW_CANCELLED', message, flowId === undefined ? {} : { details: { flowId } })

/** Why a flow cannot be started. */
export function notStartable(flowId: string, { status, newerVersion, hasChanged }: ClaimRefusal): OrchestratorError {
  if (newerVersion !== undefined) return versionUnknown(flowId, newerVersion)
  const details = { flowId, status, hasChanged }
  if (status === undefined) return flowNotFound(flowId)
  if (status === 'COMPLETED') return new OrchestratorError('FLOW_ALREADY_COMPLETED', `Flow "${flowId}" is completed`, { details })
  const state = status === 'PAUSED' ? 'is paused and goes on by itself' : 'is running'
  return new OrchestratorError('FLOW_ALREADY_RUNNING', `Flow "${flowId}" ${state}`, { details })
}

/** Whether a flow could not be started because it has had another owner since it was read. */
export const hasFlowChanged = (error: unknown): boolean => OrchestratorError.is(error) && error.details.hasChanged === true

/** For a flow that only processes of a later version can run. */
export const versionUnknown = (flowId: string, found: number): OrchestratorError =>
  new OrchestratorError(
    'FLOW_VERSION_UNKNOWN',
    `Flow "${flowId}": expected rows of version ${FLOW_SCHEMA_VERSION} or older, found version ${found}, which a later version of Polyphony has written`,
    { details: { flowId, known: FLOW_SCHEMA_VERSION, found } },
  )

/** A flow that continues only when somebody decides or sends an event. `paths`: the steps that wait. */
export const flowPaused = (flowId: string, paths: readonly string[]): OrchestratorError => {
  const steps = paths.map((path) => `"${path}"`).join(', ')
  return new OrchestratorError('FLOW_PAUSED', `Flow "${flowId}" waits for a decision or an event at ${steps}`, {
    details: { flowId, paths },
  })
}

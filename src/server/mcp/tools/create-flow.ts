import type { FlowDefinitionInput, FlowLimits } from '../../../domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import type { ToolInvocation } from './tool.ts'

export interface CreatedFlow {
  readonly flowId: string
  /** Takes back what was created, as long as the flow has not started: a call that failed leaves nothing behind. */
  undo(): Promise<void>
}

/** Stores a flow, in a new thread unless one is given. Rejects as the services do. */
export async function createFlow(
  { deps: { orchestrator, conversations }, caller: { userId } }: ToolInvocation,
  definition: FlowDefinitionInput,
  given: string | undefined,
): Promise<CreatedFlow> {
  const threadId = given ?? (await conversations.createThread(userId, { title: toTitle(definition.name) })).id
  const removeThread = async () => {
    if (given === undefined) await conversations.deleteThread(threadId, userId)
  }
  try {
    const { id: flowId } = await orchestrator.createFlow(threadId, userId, definition)
    const undo = async () => {
      const { status } = await orchestrator.getFlowStatus(flowId, userId)
      if (status !== 'PENDING') return
      await orchestrator.deleteFlow(flowId, userId)
      await removeThread()
    }
    // An error of `undo` is ignored: the caller reports the first one.
    return { flowId, undo: () => undo().catch(() => {}) }
  } catch (error) {
    await removeThread().catch(() => {})
    throw error
  }
}

/**
 * Rejects with everything that would stop the run half-way, before a cent is spent: sharing that the user has not allowed, providers that are missing. Limits
 * given for the run count instead of the definition's.
 */
export async function assertWouldRun(
  { deps: { orchestrator }, caller: { userId } }: ToolInvocation,
  definition: FlowDefinitionInput,
  limits: FlowLimits | undefined,
): Promise<void> {
  const { problems } = await orchestrator.checkFlow(definition, userId)
  // What is wrong with the definition itself is told when it is stored.
  const stops = problems.filter(({ code }) => code !== 'FLOW_INVALID' && (code !== 'LIMIT_EXCEEDED' || limits === undefined))
  const [first] = stops
  if (!first) return
  const lines = new Set(stops.map(({ path, message }) => (path ? `${path}: ${message}` : message)))
  throw new OrchestratorError(first.code, [...lines].join('\n'), { details: { problems: stops } })
}

/** Title of the new thread: the name of a definition that is not validated yet. */
const toTitle = (name: unknown): string | undefined =>
  typeof name === 'string' && name !== '' && name.length <= 500 && !name.includes('\0') ? name : undefined

import type { FlowDefinitionInput, FlowLimits } from '../../../domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import type { ToolInvocation } from './tool.ts'

export interface CreatedFlow {
  readonly flowId: string
  /** Deletes the new flow and thread if the flow has not started, so that a failed call leaves nothing behind. */
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
    const { id: flowId } = await orchestrator.createFlow(threadId, userId, definition, { overNetwork: true })
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

interface PreflightCall {
  readonly deps: Pick<ToolInvocation['deps'], 'orchestrator'>
  readonly caller: Pick<ToolInvocation['caller'], 'userId'>
}

/**
 * Rejects with every problem that would stop the run half-way, before any cost arises. Problems of the definition
 * itself are reported when it is stored, and limits given for the run replace those of the definition.
 */
export async function assertWouldRun(
  { deps: { orchestrator }, caller: { userId } }: PreflightCall,
  definition: FlowDefinitionInput,
  limits: FlowLimits | undefined,
): Promise<void> {
  const stops = await orchestrator.preflight(definition, userId, {
    steps: 'all',
    ignoreDefinition: true,
    ignoreLimits: limits !== undefined,
    overNetwork: true,
  })
  const [first] = stops
  if (!first) return
  const lines = new Set(stops.map(({ path, message }) => (path ? `${path}: ${message}` : message)))
  throw new OrchestratorError(first.code, [...lines].join('\n'), { details: { problems: stops } })
}

/** Title of the new thread: the name of a definition that is not validated yet. */
const toTitle = (name: unknown): string | undefined =>
  typeof name === 'string' && name !== '' && name.length <= 500 && !name.includes('\0') ? name : undefined

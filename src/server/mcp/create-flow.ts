import { type DefinitionSource, toDefinition } from '../http/definition-source.ts'
import type { ToolCall } from './tool.ts'

export interface CreatedFlow {
  readonly flowId: string
  /** Takes back what was created, as long as the flow has not started: a call that failed leaves nothing behind. */
  undo(): Promise<void>
}

/** Stores a flow, in a new thread unless one is given. Rejects as the services do. */
export async function createFlow(
  { parts: { orchestrator, conversations }, caller: { userId } }: ToolCall,
  { threadId: given, ...source }: DefinitionSource & { readonly threadId?: string },
): Promise<CreatedFlow> {
  const definition = toDefinition(source)
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
    // The first error is the one to tell.
    return { flowId, undo: () => undo().catch(() => {}) }
  } catch (error) {
    await removeThread().catch(() => {})
    throw error
  }
}

/** The name of a definition that nobody has checked yet. */
const toTitle = (name: unknown): string | undefined =>
  typeof name === 'string' && name !== '' && name.length <= 500 && !name.includes('\0') ? name : undefined

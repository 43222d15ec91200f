import { flowNotFound } from '../../domain/execution/flow-errors.ts'
import type { ThreadRight } from '../../domain/users/thread.ts'
import { permissionDenied, threadNotFound } from '../../domain/users/thread.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { PermissionService } from '../../policies/policy.ts'
import type { FlowRepository, StoredFlow } from '../../repositories/repository.ts'

export interface FlowAccessDeps {
  readonly flows: FlowRepository
  readonly permissions: PermissionService
}

/**
 * Finds flows that a caller may access. Without read access the error is the same as for an unknown id, so ids cannot
 * be probed.
 */
export function createFlowAccess({ flows, permissions }: FlowAccessDeps) {
  /** Rights are read from the database by these ids, so only text may reach it. */
  function assertIds(ids: Readonly<Record<string, unknown>>): void {
    for (const [name, id] of Object.entries(ids)) {
      if (typeof id === 'string' && id !== '' && !id.includes('\0')) continue
      throw new OrchestratorError(
        'INPUT_INVALID',
        `${name}: expected text that is not empty, found ${id === '' ? 'none' : typeof id}`,
      )
    }
  }

  async function require(threadId: string, userId: string, right: ThreadRight, notFound: () => OrchestratorError): Promise<void> {
    assertIds({ threadId, userId })
    if (await permissions.can(userId, threadId, right)) return
    if (right === 'read' || !(await permissions.can(userId, threadId, 'read'))) throw notFound()
    throw permissionDenied(threadId, right)
  }

  async function loadFlow(flowId: string): Promise<StoredFlow> {
    assertIds({ flowId })
    const flow = await flows.find(flowId)
    if (!flow) throw flowNotFound(flowId)
    return flow
  }

  return {
    /** For trusted callers in this process; checks no right. Throws FLOW_NOT_FOUND. */
    loadFlow,
    /** Throws FLOW_NOT_FOUND or PERMISSION_DENIED. `known` is the flow if the caller has already read it. */
    async findFlow(flowId: string, userId: string, right: ThreadRight, known?: StoredFlow): Promise<StoredFlow> {
      const flow = known ?? (await loadFlow(flowId))
      await require(flow.threadId, userId, right, () => flowNotFound(flowId))
      return flow
    },
    /** For requests that concern a user and no thread. */
    assertUser: (userId: string): void => assertIds({ userId }),
    canRead: (threadId: string, userId: string): Promise<boolean> => permissions.can(userId, threadId, 'read'),
    canWrite: (threadId: string, userId: string): Promise<boolean> => permissions.can(userId, threadId, 'write'),
    requireOnThread: (threadId: string, userId: string, right: ThreadRight): Promise<void> =>
      require(threadId, userId, right, () => threadNotFound(threadId)),
  }
}

export type FlowAccess = ReturnType<typeof createFlowAccess>

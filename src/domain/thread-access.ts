import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { ThreadRight } from './thread.ts'

/** The same for a thread of somebody else as for none, so that ids cannot be probed. */
export const threadNotFound = (threadId: string): OrchestratorError =>
  new OrchestratorError(
    'THREAD_NOT_FOUND',
    `Expected a thread that you may read, found none with id ${JSON.stringify(threadId)}.`,
    {
      details: { threadId },
    },
  )

export const permissionDenied = (threadId: string, right: ThreadRight): OrchestratorError =>
  new OrchestratorError(
    'PERMISSION_DENIED',
    `Expected the right "${right}" on thread ${JSON.stringify(threadId)}, found it missing.`,
    {
      details: { threadId, right },
    },
  )

/** Throws THREAD_NOT_FOUND without `read`, PERMISSION_DENIED with `read` but without `right`. */
export function requireRight(rights: ReadonlySet<ThreadRight>, threadId: string, right: ThreadRight): void {
  if (!rights.has('read')) throw threadNotFound(threadId)
  if (!rights.has(right)) throw permissionDenied(threadId, right)
}

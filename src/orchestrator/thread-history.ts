import type { Message } from '../domain/thread.ts'
import type { ThreadRepository } from '../repositories/repository.ts'
import type { FlowRun } from './flow-run.ts'

const NEWEST_MESSAGES = 200

/** The conversation before this flow, loaded once per run: what the flow itself wrote into the thread is no history of it. */
export function createThreadHistory(threads: ThreadRepository): (run: FlowRun) => Promise<readonly Message[]> {
  return (run) => {
    run.history ??= threads
      .messages(run.threadId, NEWEST_MESSAGES)
      .then((messages) => messages.filter((message) => message.metadata.orchestrationFlowId !== run.flowId))
    return run.history
  }
}

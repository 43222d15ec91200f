import { randomUUID } from 'node:crypto'
import type { StepResult } from '../domain/step-result.ts'
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

/** Writes outputs into the thread, where the caller asked for it (S4-134); resolves with the message's id. */
export const createMessageWriter =
  (threads: ThreadRepository, now: () => Date) =>
  async (run: FlowRun, result: StepResult): Promise<string> => {
    const id = randomUUID()
    const { stepId, iteration, provider, model, action, simulated } = result
    await threads.addMessage({
      id,
      threadId: run.threadId,
      role: 'assistant',
      content: result.output ?? '',
      metadata: { orchestrationFlowId: run.flowId, stepId, iteration, provider, model, action, simulated },
      createdAt: now(),
    })
    return id
  }

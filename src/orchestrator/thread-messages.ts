import { createHash } from 'node:crypto'
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

/**
 * The output of a step as a message of the thread. Its id follows from the step, so that a step that is recorded again after a crash cannot put it
 * there twice.
 */
export function toThreadMessage({ flowId, threadId }: FlowRun, result: StepResult): Message {
  const { stepId, iteration, provider, model, action, simulated } = result
  return {
    id: messageIdOf(result),
    threadId,
    role: 'assistant',
    content: result.output ?? '',
    metadata: { orchestrationFlowId: flowId, stepId, iteration, provider, model, action, simulated },
    createdAt: result.completedAt,
  }
}

/** A UUID of the kind that applications define (version 8, RFC 9562). */
export function messageIdOf({ id }: Pick<StepResult, 'id'>): string {
  const hex = createHash('sha256').update(id).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

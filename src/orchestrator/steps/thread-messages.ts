import { toDerivedId } from '../../domain/derived-id.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { Message } from '../../domain/users/thread.ts'
import type { ThreadRepository } from '../../repositories/repository.ts'
import type { FlowExecution, ThreadHistory } from '../flow-run.ts'
import { repeatRead } from '../repeat-read.ts'

/** Newest messages of a conversation that a flow reads, in addition to all system messages. */
const NEWEST_MESSAGES = 200
const MOST_SYSTEM_MESSAGES = 1_000

/**
 * Reads the conversation before a flow, once per execution and without the messages that the flow itself wrote. System
 * messages apply to the whole conversation, so they are read regardless of their age.
 */
export function createThreadHistory(threads: ThreadRepository): (run: FlowExecution) => Promise<ThreadHistory> {
  const load = async (run: FlowExecution): Promise<ThreadHistory> => {
    const newest = await threads.messages(run.threadId, NEWEST_MESSAGES + 1)
    const isCut = newest.length > NEWEST_MESSAGES
    const messages = isCut ? newest.slice(1) : newest
    if (!isCut) return { messages: withoutOwn(run, messages), isCut }
    const known = new Set(messages.map(({ id }) => id))
    const rules = await threads.messages(run.threadId, MOST_SYSTEM_MESSAGES, 'system')
    return { messages: withoutOwn(run, [...rules.filter(({ id }) => !known.has(id)), ...messages]), isCut }
  }
  return (run) => {
    run.progress.history ??= repeatRead(() => load(run), [run.cancellation])
    return run.progress.history
  }
}

/**
 * Leaves out the flow's own messages. Its prompt stays where an answer comes after it, because the conversation would
 * otherwise be out of order.
 */
function withoutOwn({ flowId, inputMessageId }: FlowExecution, messages: readonly Message[]): readonly Message[] {
  const isOwn = ({ id, metadata }: Message) => id === inputMessageId || metadata.orchestrationFlowId === flowId
  const lastAnswer = messages.findLastIndex((message) => message.role === 'assistant' && !isOwn(message))
  return messages.filter((message, index) => !isOwn(message) || (message.role === 'user' && index < lastAnswer))
}

/**
 * The output of a step as a message of the thread. Its id is derived from the step, so that a step recorded again after
 * a crash does not add the message twice.
 */
export function toThreadMessage({ flowId, threadId }: FlowExecution, result: StepResult): Message {
  const { stepId, path, iteration, provider, model, action, simulated, origins } = result
  return {
    id: messageIdOf(result),
    threadId,
    role: 'assistant',
    content: result.output ?? '',
    metadata: { orchestrationFlowId: flowId, stepId, path, iteration, provider, model, action, simulated, origins },
    createdAt: result.completedAt,
  }
}

export const messageIdOf = ({ id }: Pick<StepResult, 'id'>): string => toDerivedId(id)

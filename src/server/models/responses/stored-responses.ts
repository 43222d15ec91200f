import { createKeyedMutex } from '../../../async/keyed-mutex.ts'
import type { OrchestrationFlow } from '../../../domain/execution/flow.ts'
import { INSTRUCTIONS_MARK } from '../../../domain/execution/request-instructions.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import type { ServerDeps } from '../../server-deps.ts'
import { addAnswer, type FlowAnswer } from '../answer.ts'
import type { HistoryMessage } from '../content/conversation.ts'
import { refusal } from '../request-errors.ts'
import { readCalls, roundAfter } from '../tools/rounds.ts'
import { findResponseFacts, type ResponseFacts } from './response-facts.ts'
import { answerOf, type ResponseKey, type ResponseObject, readResponseId, toResponse } from './response-object.ts'

type StoredResponsesDeps = Pick<ServerDeps, 'orchestrator' | 'conversations'>

/** The thread in which a conversation continues. */
export interface Continuation {
  /** Thread to continue. Undefined: a new thread. */
  readonly threadId?: string
  /** Messages that a new thread begins with. */
  readonly before: readonly HistoryMessage[]
}

/** A response as it was stored. */
export interface StoredResponse {
  readonly flow: OrchestrationFlow
  readonly facts: ResponseFacts
  /** Number of calls of tools whose results it continues from. */
  readonly count: number
}

/** Marks the `instructions` of a request, which do not apply to the next response. */
const INSTRUCTIONS = { [INSTRUCTIONS_MARK]: true }

/** Reads responses, which are flows, and continues conversations after them. */
export function createStoredResponses({ orchestrator, conversations }: StoredResponsesDeps) {
  const oneAtATime = createKeyedMutex()

  /** The flow of a response; undefined for a response of another user and for an unknown id. */
  async function find(id: string, userId: string): Promise<StoredResponse | undefined> {
    const key = readResponseId(id)
    if (!key) return undefined
    try {
      const flow = await orchestrator.getFlow(key.flowId, userId)
      const facts = findResponseFacts(flow.metadata)
      // No response continues from more calls than its flow has made.
      const isMade = key.count === 0 || key.count <= (await readCalls({ orchestrator }, flow.id, userId)).length
      return facts && isMade ? { flow, facts, count: key.count } : undefined
    } catch (error) {
      if (OrchestratorError.is(error) && error.code === 'FLOW_NOT_FOUND') return undefined
      throw error
    }
  }

  return {
    /** Rejects with FLOW_NOT_FOUND. */
    async get(id: string, userId: string): Promise<StoredResponse> {
      const found = await find(id, userId)
      if (found) return found
      throw refusal(null, `Response with id '${id}' not found.`, 'not_found', 'FLOW_NOT_FOUND')
    },

    /** The response that stands for a flow, or for the part of it after a number of calls of tools. */
    async current({ flowId, count }: ResponseKey, userId: string, facts: ResponseFacts): Promise<ResponseObject> {
      const made = await readCalls({ orchestrator }, flowId, userId)
      return toResponse(await orchestrator.getFlow(flowId, userId), facts, { ...roundAfter(made, count), count })
    },

    /**
     * Calls `work`, which adds messages, with the thread in which the conversation continues after the previous
     * response. That is the same thread as long as the thread ends with the previous answer and the instructions are
     * the same; otherwise a new thread, which begins with the messages so far. One at a time per thread: when two
     * requests continue after the same response, the second gets a new thread. Rejects with INPUT_INVALID for an
     * unknown or incomplete previous response.
     */
    async continueAfter<Result>(
      { previousId, instructions, userId }: { previousId: string; instructions: string | undefined; userId: string },
      work: (continuation: Continuation) => Promise<Result>,
    ): Promise<Result> {
      const found = await find(previousId, userId)
      if (!found) {
        const message = `Previous response with id '${previousId}' not found.`
        throw refusal('previous_response_id', message, 'previous_response_not_found')
      }
      const { flow, facts } = found
      const answer = answerOf(flow, facts.format !== undefined)
      if (!answer) {
        const message = `previous_response_id: expected a completed response, found '${previousId}', which is not completed`
        throw refusal('previous_response_id', message, 'previous_response_not_completed')
      }
      return oneAtATime(flow.threadId, async () => work(await continuationAfter(flow, answer, instructions, userId)))
    },
  }

  async function continuationAfter(
    { id, threadId }: OrchestrationFlow,
    answer: FlowAnswer,
    instructions: string | undefined,
    userId: string,
  ): Promise<Continuation> {
    const messages = await conversations.getMessages(threadId, userId)
    const index = messages.findLastIndex(({ role, metadata }) => role === 'assistant' && metadata.orchestrationFlowId === id)
    // The process died between the end of the flow and this message, or the flow ran without a client.
    const known = index === -1 ? [...messages, await addAnswer(conversations, { threadId, userId }, answer)] : messages
    const upTo = index === -1 ? known : known.slice(0, index + 1)
    const current = upTo.findLast(isInstructions)?.content
    if (upTo.length === known.length && current === instructions) return { threadId, before: [] }
    const kept = upTo.filter((message) => !isInstructions(message))
    return {
      before: [...toInstructions(instructions), ...kept.map(({ role, content, metadata }) => ({ role, content, metadata }))],
    }
  }
}

const isInstructions = ({ role, metadata }: HistoryMessage): boolean =>
  role === 'system' && metadata?.[INSTRUCTIONS_MARK] === true

/** The instructions of a request as the first message of its thread. */
export const toInstructions = (instructions: string | undefined): readonly HistoryMessage[] =>
  instructions === undefined ? [] : [{ role: 'system', content: instructions, metadata: INSTRUCTIONS }]

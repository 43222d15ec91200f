import type { OrchestrationFlow } from '../../../domain/execution/flow.ts'
import { INSTRUCTIONS_MARK } from '../../../domain/execution/request-instructions.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import type { ServerDeps } from '../../server-deps.ts'
import { addAnswer, type FlowAnswer } from '../answer.ts'
import type { HistoryMessage } from '../conversation.ts'
import { refusal } from '../request-errors.ts'
import { findResponseFacts, type ResponseFacts } from './response-facts.ts'
import { answerOf } from './response-object.ts'

type ResponsesParts = Pick<ServerDeps, 'orchestrator' | 'conversations'>

/** Where a conversation goes on: in its thread, or in a new one that begins with these messages. */
export interface Continuation {
  readonly threadId?: string
  readonly before: readonly HistoryMessage[]
}

/** Marks what the client gave as `instructions`: they do not go over to the next response. */
const INSTRUCTIONS = { [INSTRUCTIONS_MARK]: true }

/** Responses are flows: their ids, who may see them, and what comes after them. */
export function createStoredResponses({ orchestrator, conversations }: ResponsesParts) {
  const turns = new Map<string, Promise<unknown>>()

  /** The flow of a response; `undefined` for an id of somebody else as for an unknown one. */
  async function find(id: string, userId: string): Promise<{ flow: OrchestrationFlow; facts: ResponseFacts } | undefined> {
    const flowId = /^resp_([\w-]{1,100})$/.exec(id)?.[1]
    if (flowId === undefined) return undefined
    try {
      const flow = await orchestrator.getFlow(flowId, userId)
      const facts = findResponseFacts(flow.metadata)
      return facts && { flow, facts }
    } catch (error) {
      if (OrchestratorError.is(error) && error.code === 'FLOW_NOT_FOUND') return undefined
      throw error
    }
  }

  return {
    /** Throws FLOW_NOT_FOUND. */
    async get(id: string, userId: string): Promise<{ flow: OrchestrationFlow; facts: ResponseFacts }> {
      const found = await find(id, userId)
      if (found) return found
      throw refusal(null, `Response with id '${id}' not found.`, 'not_found', 'FLOW_NOT_FOUND')
    },

    /**
     * Gives the place where a response goes on after its previous one to `work`, which adds to it; one at a time per
     * thread, so that of two that go on from the same response the second finds the thread taken. As long as the
     * thread ends with the previous answer and the instructions are the same it goes on in it; otherwise a new one
     * begins with the messages so far.
     */
    async continued<Result>(
      { previousId, instructions, userId }: { previousId: string; instructions: string | undefined; userId: string },
      work: (place: Continuation) => Promise<Result>,
    ): Promise<Result> {
      const found = await find(previousId, userId)
      if (!found) {
        const message = `Previous response with id '${previousId}' not found.`
        throw refusal('previous_response_id', message, 'previous_response_not_found')
      }
      const { flow, facts } = found
      const answer = answerOf(flow, facts.format !== undefined)
      if (!answer) {
        const message = `previous_response_id: expected a response that is completed, found '${previousId}' which is not`
        throw refusal('previous_response_id', message, 'previous_response_not_completed')
      }
      return inTurn(flow.threadId, async () => work(await placeAfter(flow, answer, instructions, userId)))
    },
  }

  async function placeAfter(
    { id, threadId }: OrchestrationFlow,
    answer: FlowAnswer,
    instructions: string | undefined,
    userId: string,
  ): Promise<Continuation> {
    const messages = await conversations.getMessages(threadId, userId)
    const at = messages.findLastIndex(({ role, metadata }) => role === 'assistant' && metadata.orchestrationFlowId === id)
    // The process died between the end of the flow and this message, or nobody followed the flow.
    const known = at === -1 ? [...messages, await addAnswer(conversations, { threadId, userId }, answer)] : messages
    const upTo = at === -1 ? known : known.slice(0, at + 1)
    const told = upTo.findLast(isInstructions)?.content
    if (upTo.length === known.length && told === instructions) return { threadId, before: [] }
    const kept = upTo.filter((message) => !isInstructions(message))
    return {
      before: [...toInstructions(instructions), ...kept.map(({ role, content, metadata }) => ({ role, content, metadata }))],
    }
  }

  function inTurn<Result>(threadId: string, work: () => Promise<Result>): Promise<Result> {
    const mine = (turns.get(threadId) ?? Promise.resolve()).then(work, work)
    const done = mine.then(nothing, nothing).then(() => {
      if (turns.get(threadId) === done) turns.delete(threadId)
    })
    turns.set(threadId, done)
    return mine
  }
}

const nothing = () => {}

const isInstructions = ({ role, metadata }: HistoryMessage): boolean =>
  role === 'system' && metadata?.[INSTRUCTIONS_MARK] === true

/** The instructions of a request as the first message of its thread. */
export const toInstructions = (instructions: string | undefined): readonly HistoryMessage[] =>
  instructions === undefined ? [] : [{ role: 'system', content: instructions, metadata: INSTRUCTIONS }]

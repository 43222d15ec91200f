import type { FlowDefinition, FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ServerDeps } from '../server-deps.ts'
import { addAnswer, type FlowAnswer, noAnswer, toAnswer, toRefusal } from './answer.ts'
import { createAnswerText } from './answer-text.ts'
import type { Conversation, HistoryMessage } from './conversation.ts'
import { assertAnswersJson } from './json/json-answer.ts'
import { assertRunnable } from './runnable.ts'
import type { WantedJson } from './unsupported.ts'

type CallsParts = Pick<ServerDeps, 'orchestrator' | 'conversations' | 'dataSharing'>

export interface FlowCallRequest {
  readonly userId: string
  readonly definition: FlowDefinitionInput
  readonly conversation: Conversation
  /** The form of the answer, where it is to be JSON. */
  readonly json?: WantedJson
  /** The thread that goes on; default: a new one. */
  readonly threadId?: string
  /** Messages that stand in a new thread before those of the conversation. */
  readonly before?: readonly HistoryMessage[]
  readonly metadata: Readonly<Record<string, unknown>>
  readonly streaming: boolean
  /** Aborted when nobody wants the answer any more. */
  readonly gone: AbortSignal
}

/** A flow that runs to answer one request. */
export interface FlowCall {
  readonly flowId: string
  readonly userId: string
  readonly threadId: string
  readonly createdAt: Date
  readonly definition: FlowDefinition
  /** The answer is to be JSON alone. */
  readonly asJson: boolean
}

export interface Follow {
  /** Ends the following, and with it the flow: nobody could reach its answer. */
  readonly gone: AbortSignal
  /** The flow goes on without a follower. */
  readonly goesOn?: boolean
  /** Gets the answer piece by piece, as far as its text is known to be the answer, and is waited for. */
  readonly onText?: (text: string) => Promise<void>
}

const TITLE_CHARACTERS = 80

export type FlowCalls = ReturnType<typeof createFlowCalls>

/** Runs flows for clients that think them models. */
export function createFlowCalls(deps: CallsParts) {
  const { orchestrator, conversations } = deps

  /** Stores the conversation, and starts a flow over it. What fails before the flow runs leaves nothing behind in a new thread. */
  async function begin(order: FlowCallRequest): Promise<FlowCall> {
    const { userId, definition, conversation, json, metadata, streaming, before = [] } = order
    const { messages, prompt } = conversation
    const title = prompt.content.slice(0, 1_000).trim().replace(/\s+/g, ' ').slice(0, TITLE_CHARACTERS)
    const threadId = order.threadId ?? (await conversations.createThread(userId, { title })).id
    let flowId: string | undefined
    try {
      const flow = await orchestrator.createFlow(threadId, userId, definition)
      flowId = flow.id
      if (json) await assertAnswersJson(orchestrator, flow.definition, json)
      await assertRunnable(deps, flow.definition, userId)
      // Marked as the flow's own: it gets the prompt as its input, and finds it a second time in the history only where the assistant has answered it.
      const own = { ...prompt, metadata: { orchestrationFlowId: flowId } }
      const added = [...before, ...messages.map((message) => (message === prompt ? own : message))]
      await conversations.addMessages(threadId, userId, added)
      if (order.gone.aborted) throw abandoned(order.gone)
      await orchestrator.startFlow(flowId, userId, { input: prompt.content, streaming, metadata })
      return { flowId, userId, threadId, createdAt: flow.createdAt, definition: flow.definition, asJson: json !== undefined }
    } catch (error) {
      if (order.threadId === undefined) await conversations.deleteThread(threadId, userId).catch(() => {})
      else if (flowId !== undefined) await orchestrator.deleteFlow(flowId, userId).catch(() => {})
      throw error
    }
  }

  /** Follows a flow to its end, in whichever process it runs. Rejects with the error that ended it. */
  async function follow(call: FlowCall, { gone, goesOn = false, onText }: Follow): Promise<FlowAnswer> {
    const { flowId, userId, threadId, definition, asJson } = call
    let end: End | undefined
    try {
      const text = createAnswerText(onText ? await orchestrator.answerSteps(definition) : [])
      // What ended the flow may be followed by a new start, where another process takes it over.
      for await (const update of orchestrator.streamFlow(flowId, userId, { signal: gone })) {
        end = endOf(update, asJson)
        const piece = text.pieceOf(update)
        if (piece !== undefined) await onText?.(piece)
      }
      if (!end) throw gone.aborted ? abandoned(gone) : notFound(flowId)
      const answer = end.answer ?? (await answerTo(end.error, call))
      await addAnswer(conversations, { threadId, userId }, answer).catch(() => {})
      const rest = answer.refusal === undefined ? text.restOf(answer.text) : ''
      if (rest !== '') await onText?.(rest)
      return answer
    } finally {
      if (!end && !goesOn) await orchestrator.cancelFlow(flowId, userId).catch(() => {})
    }
  }

  /** A refusal is an answer; every other failure is thrown. */
  async function answerTo(error: OrchestratorError, { flowId, userId }: FlowCall): Promise<FlowAnswer> {
    if (error.code !== 'CONTENT_FILTERED') throw error
    const { stepResults } = await orchestrator.getFlow(flowId, userId)
    const answer = toRefusal(flowId, stepResults)
    if (answer) return answer
    throw error
  }

  return { begin, follow }
}

type End = { readonly answer: FlowAnswer } | { readonly answer?: undefined; readonly error: OrchestratorError }

/** How an update ends the flow, where it does. */
function endOf(update: FlowUpdate, asJson: boolean): End | undefined {
  const { flowId } = update
  if (update.type === 'flow_complete') {
    const answer = toAnswer(update.data, asJson)
    return answer ? { answer } : { error: noAnswer(flowId) }
  }
  if (update.type === 'error') {
    const { code, message, retryable, details } = update.data
    return { error: new OrchestratorError(code, message, { retryable, details: { ...details, flowId } }) }
  }
  if (update.type !== 'flow_cancelled' && update.type !== 'flow_paused') return undefined
  return { error: new OrchestratorError('FLOW_CANCELLED', update.data.reason, { details: { flowId } }) }
}

const notFound = (flowId: string): OrchestratorError =>
  new OrchestratorError('FLOW_NOT_FOUND', 'The flow was deleted before it ended', { details: { flowId } })

const abandoned = ({ reason }: AbortSignal): OrchestratorError =>
  OrchestratorError.is(reason) ? reason : new OrchestratorError('FLOW_CANCELLED', 'The client went away')

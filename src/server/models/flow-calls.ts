import { createAnswerText } from '../../domain/answers/answer-text.ts'
import type { FlowDefinition, FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import { flowCancelled, flowPaused } from '../../domain/execution/flow-errors.ts'
import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import { needsSomebody } from '../../domain/waiting/waiting-steps.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { assertRunnable } from '../requests/runnable.ts'
import type { ServerDeps } from '../server-deps.ts'
import { addAnswer, type FlowAnswer, noAnswer, type Part, toAnswer, toRefusal, toToolCalls } from './answer.ts'
import type { Conversation, HistoryMessage } from './content/conversation.ts'
import type { SentResult } from './content/tool-messages.ts'
import { assertAnswersJson } from './json/json-answer.ts'
import { refusal } from './request-errors.ts'
import type { CallerCall } from './tools/caller-call.ts'
import { type Course, createCourse } from './tools/course.ts'
import { type RequestedTools, withRequestedTools } from './tools/requested-tools.ts'
import { type AnsweredFlow, flowOfResults, giveResults } from './tools/tool-results.ts'
import type { WantedJson } from './unsupported.ts'

export type FlowCallsDeps = Pick<ServerDeps, 'orchestrator' | 'conversations' | 'dataSharing'>

export interface FlowCallRequest {
  readonly userId: string
  /** Id of the API key of the caller, for budgets of keys. */
  readonly apiKeyId?: string
  readonly definition: FlowDefinitionInput
  readonly conversation: Conversation
  /** Tools that the client runs. */
  readonly tools?: RequestedTools
  /** Whether tools and forms of answers that the flow cannot serve are ignored. */
  readonly ignoreUnsupported: boolean
  /** Form of an answer in JSON. Undefined for text. */
  readonly json?: WantedJson
  /** Thread that the conversation continues. Default: a new one. */
  readonly threadId?: string
  /** Messages that a new thread begins with, before those of the conversation. */
  readonly before?: readonly HistoryMessage[]
  readonly metadata: Readonly<Record<string, unknown>>
  readonly streaming: boolean
  /** Aborted when the answer would reach no client. The flow is not started then. */
  readonly signal: AbortSignal
}

/** A flow that was started to answer one request. */
export interface FlowCall {
  readonly flowId: string
  readonly userId: string
  readonly threadId: string
  readonly createdAt: Date
  readonly definition: FlowDefinition
  /** Whether the answer is JSON without text around it. */
  readonly asJson: boolean
  /** The calls whose results the request has given. Undefined: a new flow. */
  readonly results?: AnsweredFlow
}

export interface AnswerOptions {
  /** Aborted when the answer would reach no client. The flow is cancelled then, unless another request waits for it. */
  readonly signal: AbortSignal
  /** Whether the flow continues after the abort. Default: false. */
  readonly keepRunning?: boolean
  /** Receives the answer in chunks while it is written. The next update waits until the promise has settled. */
  readonly onText?: (text: string) => Promise<void>
}

const TITLE_CHARACTERS = 80

export type FlowCalls = ReturnType<typeof createFlowCalls>

/** Runs flows behind the OpenAI-compatible API. */
export function createFlowCalls(deps: FlowCallsDeps) {
  const { orchestrator, conversations } = deps
  /** Requests that wait for the answer of a flow: several may bring the same results. */
  const readers = new Map<string, number>()

  /** Whether any request waits for the flow after one more, or one less, does. */
  const countReader = (flowId: string, change: 1 | -1): boolean => {
    const count = (readers.get(flowId) ?? 0) + change
    if (count > 0) readers.set(flowId, count)
    else readers.delete(flowId)
    return count > 0
  }

  /** The definition with the tools of the request. Rejects with INPUT_INVALID where no single step could call them. */
  async function withTools({ definition, tools, ignoreUnsupported }: FlowCallRequest): Promise<FlowDefinitionInput> {
    if (!tools) return definition
    const offering = await withRequestedTools(orchestrator, definition, tools)
    if (offering) return offering
    if (ignoreUnsupported) return definition
    const why =
      'expected a flow in which one step of a model writes the answer and can call them; in this flow several may write it'
    throw refusal('tools', `tools: ${why}`, 'unsupported_parameter')
  }

  /** Continues a flow with the results of its calls. Rejects as `giveResults` does, and for JSON as `begin` does. */
  async function resume(userId: string, sent: readonly SentResult[], json?: WantedJson): Promise<FlowCall> {
    const flow = await flowOfResults(deps, userId, sent)
    const { id: flowId, threadId, createdAt, definition } = flow
    if (json) await assertAnswersJson(orchestrator, definition, json)
    const results = await giveResults(deps, flow, sent)
    return { flowId, userId, threadId, createdAt, definition, asJson: json !== undefined, results }
  }

  /** Stores the conversation and starts a flow on it. An error before the start removes the flow and a new thread. */
  async function begin(request: FlowCallRequest): Promise<FlowCall> {
    const { userId, conversation, json, metadata, streaming, before = [] } = request
    const definition = await withTools(request)
    const { messages, prompt, files } = conversation
    const title = prompt.content.slice(0, 1_000).trim().replace(/\s+/g, ' ').slice(0, TITLE_CHARACTERS)
    const threadId = request.threadId ?? (await conversations.createThread(userId, { title })).id
    let flowId: string | undefined
    try {
      const flow = await orchestrator.createFlow(threadId, userId, definition)
      flowId = flow.id
      if (json) await assertAnswersJson(orchestrator, flow.definition, json)
      await assertRunnable(deps, flow.definition, userId, { files: files.length > 0 })
      // The flow receives the prompt as its input. The mark keeps the prompt out of the history of the flow, unless the
      // assistant has already answered it.
      const own = { ...prompt, metadata: { orchestrationFlowId: flowId } }
      const added = [...before, ...messages.map((message) => (message === prompt ? own : message))]
      await conversations.addMessages(threadId, userId, added)
      if (request.signal.aborted) throw abandoned(request.signal)
      const options = { input: prompt.content, streaming, metadata, apiKeyId: request.apiKeyId }
      await orchestrator.startFlow(flowId, userId, { ...options, ...(files.length > 0 && { attachments: files }) })
      return { flowId, userId, threadId, createdAt: flow.createdAt, definition: flow.definition, asJson: json !== undefined }
    } catch (error) {
      if (request.threadId === undefined) await conversations.deleteThread(threadId, userId).catch(() => {})
      else if (flowId !== undefined) await orchestrator.deleteFlow(flowId, userId).catch(() => {})
      throw error
    }
  }

  /** Waits for the answer of a flow, whichever process runs it. Rejects with the error that ended the flow. */
  async function answer(call: FlowCall, { signal, keepRunning = false, onText }: AnswerOptions): Promise<FlowAnswer> {
    const { flowId, userId, threadId, definition, results } = call
    let end: End | undefined
    const course = createCourse(results)
    countReader(flowId, 1)
    try {
      const text = createAnswerText(onText ? await orchestrator.answerSteps(definition) : [])
      // An update that ends the flow is not always the last one: another process may resume the flow.
      for await (const update of orchestrator.streamFlow(flowId, userId, { signal })) {
        end = endOf(update, call, course)
        const chunk = text.chunkOf(update)
        if (chunk !== undefined) await onText?.(chunk)
        // No request stays open for a decision that may take days. The flow stays, and its answer can be read later.
        if (update.type === 'flow_paused' && end) break
      }
      if (!end) throw signal.aborted ? abandoned(signal) : notFound(flowId)
      if (end.calls) return toToolCalls(flowId, (await orchestrator.getFlow(flowId, userId)).stepResults, end.calls, course.part)
      const ended = end.answer ?? (await refusalFor(end.error, call, course.part))
      await addAnswer(conversations, { threadId, userId }, ended).catch(() => {})
      const rest = ended.refusal === undefined ? text.restOf(ended.text) : ''
      if (rest !== '') await onText?.(rest)
      return ended
    } finally {
      const isRead = countReader(flowId, -1)
      if (!end && !keepRunning && !isRead) await orchestrator.cancelFlow(flowId, userId).catch(() => {})
    }
  }

  /** The refusal of a model as an answer. Every other error is thrown again. */
  async function refusalFor(error: OrchestratorError, { flowId, userId }: FlowCall, part: Part): Promise<FlowAnswer> {
    if (error.code !== 'CONTENT_FILTERED') throw error
    const { stepResults } = await orchestrator.getFlow(flowId, userId)
    const refused = toRefusal(flowId, stepResults, part)
    if (refused) return refused
    throw error
  }

  return { begin, resume, answer }
}

type End =
  | { readonly answer: FlowAnswer; readonly error?: never; readonly calls?: never }
  | { readonly calls: readonly CallerCall[]; readonly answer?: never; readonly error?: never }
  | { readonly error: OrchestratorError; readonly answer?: never; readonly calls?: never }

/** The answer, the calls or the error of an update that ends the request; undefined for every other update. */
function endOf(update: FlowUpdate, { asJson }: Pick<FlowCall, 'asJson'>, course: Course): End | undefined {
  const { flowId } = update
  if (update.type === 'flow_complete') {
    const answer = toAnswer(update.data, asJson, course.part)
    return answer ? { answer } : { error: noAnswer(flowId) }
  }
  if (update.type === 'error') {
    const { code, message, retryable, details } = update.data
    return { error: new OrchestratorError(code, message, { retryable, details: { ...details, flowId } }) }
  }
  if (update.type === 'flow_paused') {
    const calls = course.pausedFor(update)
    if (calls === 'answered') return undefined
    if (calls.length > 0) return { calls }
    const open = update.data.waits.filter(needsSomebody)
    return open.length === 0
      ? undefined
      : {
          error: flowPaused(
            flowId,
            open.map(({ path }) => path),
          ),
        }
  }
  if (update.type !== 'flow_cancelled') return undefined
  return { error: flowCancelled(flowId, update.data.reason) }
}

const notFound = (flowId: string): OrchestratorError =>
  new OrchestratorError('FLOW_NOT_FOUND', 'The flow was deleted before it ended', { details: { flowId } })

const abandoned = ({ reason }: AbortSignal): OrchestratorError =>
  OrchestratorError.is(reason) ? reason : flowCancelled(undefined, 'The client disconnected')

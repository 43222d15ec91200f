import { isBlank } from '../domain/blank-text.ts'
import { withCallFacts } from '../domain/execution/call-facts.ts'
import type { FinishReason, ModelResponse } from '../domain/execution/model-call.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { AttemptContext, CallResponse, PreparedRequest } from './call.ts'

type BoundContext = Pick<AttemptContext, 'engineMaxTokens'>

/** Why the text of an answer is incomplete, in words for the notes of its step; `undefined` if it is complete. */
export const cutNote = (answer: ModelResponse, request: PreparedRequest, context: BoundContext): string | undefined =>
  CUT_NOTES[answer.finishReason]?.(answer, request, context)

type CutNote = (answer: ModelResponse, request: PreparedRequest, context: BoundContext) => string

const CUT_NOTES: Readonly<Partial<Record<FinishReason, CutNote>>> = {
  length: (answer, request, context) => `the answer was cut: ${boundInWords(answer, request, context)} (finish reason length)`,
  content_filter: () => 'the answer was cut by a filter of the provider (finish reason content_filter)',
  other: () => 'the answer may be cut: the provider ended it for an unknown reason (finish reason other)',
}

/**
 * The error of an answer that cannot be used; `undefined` for a usable one. The rule is the same for all providers:
 * CONTENT_FILTERED for a refusal, and for a filter that left no text; OUTPUT_INVALID if the limit of output tokens was
 * reached before any text; PROVIDER_BAD_REPLY, which is retried, for every other answer without text. If the call needs
 * a complete answer, a cut one fails with the same codes. The answer is attached to the error as a call fact.
 */
export function unusable(answer: CallResponse, request: PreparedRequest, context: AttemptContext): OrchestratorError | undefined {
  const { finishReason } = answer
  const empty = isBlank(answer.text) && !hasOtherContent(answer, request)
  const refused = finishReason === 'refusal' || answer.refusal !== undefined
  if (!refused && !empty && !(context.complete && answer.cut)) return undefined
  const error = refused ? refusalError(answer) : empty ? emptyError(answer, request, context) : cutError(answer)
  return withCallFacts(error, { generated: true, usage: answer.usage, model: answer.model, answer })
}

/**
 * Whether an answer without text is usable: it calls tools that the request offered, is a value or a file, or is
 * continued in the next request.
 */
const hasOtherContent = ({ toolCalls, files, value, isPaused }: CallResponse, { tools }: PreparedRequest): boolean =>
  isPaused === true ||
  (tools !== undefined && toolCalls !== undefined && toolCalls.length > 0) ||
  (files !== undefined && files.length > 0) ||
  value !== undefined

function refusalError({ provider, requestedModel: model, finishReason }: CallResponse): OrchestratorError {
  return new OrchestratorError('CONTENT_FILTERED', `The model refused to answer (${provider}/${model})`, {
    details: { provider, model, finishReason },
  })
}

function emptyError(answer: CallResponse, request: PreparedRequest, context: AttemptContext): OrchestratorError {
  const { provider, requestedModel: model, finishReason, usage } = answer
  const details = { provider, model, finishReason, outputTokens: usage.outputTokens, reasoningTokens: usage.reasoningTokens }
  if (finishReason === 'content_filter') {
    return new OrchestratorError('CONTENT_FILTERED', `The provider filtered the answer of ${provider}/${model}`, { details })
  }
  if (finishReason === 'length') {
    const message = `${provider}/${model} wrote no text: ${boundInWords(answer, request, context)}${spentOnReasoning(answer)}. Raise settings.maxTokens or limit the reasoning`
    return new OrchestratorError('OUTPUT_INVALID', message, { details: { ...details, ...boundDetails(request, context) } })
  }
  const message = `Expected text from ${provider}/${model}, found ${contentInWords(answer)} (finish reason ${finishReason})`
  return new OrchestratorError('PROVIDER_BAD_REPLY', message, { details: { ...details, empty: true } })
}

function cutError({ provider, requestedModel: model, finishReason, cut }: CallResponse): OrchestratorError {
  const code =
    finishReason === 'content_filter' ? 'CONTENT_FILTERED' : finishReason === 'length' ? 'OUTPUT_INVALID' : 'PROVIDER_BAD_REPLY'
  const message = `Expected a complete answer from ${provider}/${model}; ${cut}`
  return new OrchestratorError(code, message, { details: { provider, model, finishReason } })
}

function contentInWords({ reasoningText, toolCalls, text }: CallResponse): string {
  if (toolCalls && toolCalls.length > 0) return 'only a tool call'
  if (reasoningText !== undefined && !isBlank(reasoningText)) return 'only reasoning'
  return text === '' ? 'an empty answer' : 'only white space'
}

function boundInWords({ usage }: ModelResponse, { settings }: PreparedRequest, { engineMaxTokens }: BoundContext): string {
  if (engineMaxTokens !== undefined) {
    return `the ${engineMaxTokens} output tokens that a step without settings.maxTokens gets while a limit is set are used up`
  }
  if (settings.maxTokens !== undefined) return `settings.maxTokens ${settings.maxTokens} is used up`
  const found = usage.outputTokens === undefined ? '' : ` after ${usage.outputTokens} output tokens`
  return `the provider's own limit of output tokens is used up${found}`
}

function boundDetails({ settings }: PreparedRequest, { engineMaxTokens }: BoundContext) {
  if (engineMaxTokens !== undefined) return { bound: 'limits', max: engineMaxTokens }
  return settings.maxTokens === undefined ? { bound: 'provider' } : { bound: 'maxTokens', max: settings.maxTokens }
}

function spentOnReasoning({ usage: { reasoningTokens, outputTokens }, reasoningText }: ModelResponse): string {
  if (reasoningTokens !== undefined && reasoningTokens > 0)
    return `, ${reasoningTokens} of ${outputTokens ?? '?'} tokens by reasoning`
  return reasoningText ? ', by reasoning' : ''
}

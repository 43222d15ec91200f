import * as z from 'zod'
import type { OrchestrationFlow } from '../../../domain/execution/flow.ts'
import type { FinishReason } from '../../../domain/execution/model-call.ts'
import type { Usage } from '../../../domain/execution/usage.ts'
import type { FlowStatus } from '../../../domain/vocabulary.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { arrayOf } from '../../../protocol/instant.ts'
import { namedSchemas } from '../../requests/named-schemas.ts'
import { type FlowAnswer, noAnswer, type Part, toAnswer, toExtension, toRefusal, toSpent } from '../answer.ts'
import { extension } from '../chat/chat-completion.ts'
import { toOpenAiError } from '../open-ai-error.ts'
import type { CallerCall } from '../tools/caller-call.ts'
import type { Round } from '../tools/rounds.ts'
import type { ResponseFacts } from './response-facts.ts'

const part = z.union([
  z.object({ type: z.literal('output_text'), text: z.string(), annotations: z.array(z.never()), logprobs: z.array(z.never()) }),
  z.object({ type: z.literal('refusal'), refusal: z.string() }),
])
export type ResponsePart = z.output<typeof part>

const message = z.object({
  type: z.literal('message'),
  id: z.string(),
  status: z.enum(['in_progress', 'completed', 'incomplete']),
  role: z.literal('assistant'),
  content: arrayOf(part),
})
export type ResponseMessage = z.output<typeof message>

const functionCall = z.object({
  type: z.literal('function_call'),
  id: z.string(),
  call_id: z.string(),
  name: z.string(),
  /** JSON. */
  arguments: z.string(),
  status: z.enum(['in_progress', 'completed']),
})
export type ResponseCall = z.output<typeof functionCall>

const responseUsage = z.object({
  input_tokens: z.number(),
  input_tokens_details: z.object({ cached_tokens: z.number(), cache_write_tokens: z.number() }),
  output_tokens: z.number(),
  output_tokens_details: z.object({ reasoning_tokens: z.number() }),
  total_tokens: z.number(),
})

/** A response in OpenAI's format. Settings that a flow determines have their default values. */
export const responseObject = z.object({
  id: z.string(),
  object: z.literal('response'),
  created_at: z.number(),
  status: z.enum(['queued', 'in_progress', 'completed', 'incomplete', 'failed', 'cancelled']),
  background: z.boolean(),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  incomplete_details: z.object({ reason: z.string() }).nullable(),
  instructions: z.string().nullable(),
  max_output_tokens: z.null(),
  model: z.string(),
  output: arrayOf(z.union([message, functionCall])),
  parallel_tool_calls: z.boolean(),
  previous_response_id: z.string().nullable(),
  store: z.literal(true),
  temperature: z.null(),
  text: z.object({ format: z.looseObject({ type: z.string() }) }),
  tool_choice: z.literal('auto'),
  tools: z.array(z.never()),
  top_p: z.null(),
  truncation: z.literal('disabled'),
  usage: responseUsage.nullable(),
  metadata: z.record(z.string(), z.string()),
  polyphony: extension.optional(),
})
namedSchemas.add(responseObject, { id: 'ResponseObject' })
export type ResponseObject = z.output<typeof responseObject>

/** Names a response: its flow, and the number of calls of tools whose results it continues from. */
export interface ResponseKey {
  readonly flowId: string
  readonly count: number
}

const textOf = ({ flowId, count }: ResponseKey): string => (count === 0 ? flowId : `${flowId}_${count}`)
export const responseId = (key: ResponseKey): string => `resp_${textOf(key)}`
export const messageId = (key: ResponseKey): string => `msg_${textOf(key)}`

/** The flow and the number in the id of a response; undefined for other text. */
export function readResponseId(id: string): ResponseKey | undefined {
  const [, flowId, count = '0'] = /^resp_([A-Za-z0-9-]{1,100})(?:_([1-9]\d{0,8}))?$/.exec(id) ?? []
  return flowId === undefined ? undefined : { flowId, count: Number(count) }
}

/** The response of a flow that has not ended. */
export const toOpenResponse = (
  { createdAt, ...key }: ResponseKey & { readonly createdAt: Date },
  facts: ResponseFacts,
  status: ResponseObject['status'] = 'in_progress',
): ResponseObject => ({
  id: responseId(key),
  object: 'response',
  created_at: Math.floor(createdAt.getTime() / 1_000),
  status,
  background: facts.background,
  error: null,
  incomplete_details: null,
  instructions: facts.instructions ?? null,
  max_output_tokens: null,
  model: facts.model,
  output: [],
  parallel_tool_calls: false,
  previous_response_id: facts.previousResponseId ?? null,
  store: true,
  temperature: null,
  text: { format: facts.format ?? { type: 'text' } },
  tool_choice: 'auto',
  tools: [],
  top_p: null,
  truncation: 'disabled',
  usage: null,
  metadata: facts.metadata,
})

const STATUSES: Readonly<Record<FlowStatus, ResponseObject['status']>> = {
  PENDING: 'queued',
  RUNNING: 'in_progress',
  PAUSED: 'in_progress',
  COMPLETED: 'completed',
  FAILED: 'failed',
  CANCELLED: 'cancelled',
}

/** Reasons for an incomplete answer. */
const INCOMPLETE: Partial<Readonly<Record<FinishReason, string>>> = {
  length: 'max_output_tokens',
  content_filter: 'content_filter',
}

/** The response for the current state of its flow. `round`: the part of the flow that the response is about. */
export function toResponse(flow: OrchestrationFlow, facts: ResponseFacts, { calls, part, count }: CountedRound): ResponseObject {
  const key = { flowId: flow.id, count }
  const open = toOpenResponse({ ...key, createdAt: flow.createdAt }, facts, STATUSES[flow.status])
  const spent = toSpent(flow.id, flow.stepResults, part)
  const ended = { ...open, usage: toResponseUsage(spent.usage), polyphony: toExtension(spent) }
  // While other steps run, the flow may still make further calls.
  if (calls.length > 0 && (flow.status !== 'RUNNING' || calls.some(({ endedAt }) => endedAt)))
    return { ...ended, status: 'completed', output: calls.map(toFunctionCall) }
  const answer = answerOf(flow, facts.format !== undefined, part)
  if (answer) return completed(open, key, answer)
  if (flow.status === 'COMPLETED') return { ...open, status: 'failed', error: toResponseError(noAnswer(flow.id)) }
  if (flow.status !== 'FAILED' && flow.status !== 'CANCELLED') return open
  return flow.status === 'FAILED' ? { ...ended, error: failureOf(flow) } : ended
}

export interface CountedRound extends Round {
  /** Number of calls before the part. */
  readonly count: number
}

const toFunctionCall = ({ id, name, arguments: given }: CallerCall): ResponseCall => ({
  type: 'function_call',
  id: id.replace(/^call_/, 'fc_'),
  call_id: id,
  name,
  arguments: given,
  status: 'completed',
})

/** The answer of a flow; undefined when it has none. */
export function answerOf(
  { id, status, result, error, stepResults }: OrchestrationFlow,
  asJson = false,
  part: Part = {},
): FlowAnswer | undefined {
  if (status === 'COMPLETED' && result) return toAnswer(result, asJson, part)
  return status === 'FAILED' && error?.code === 'CONTENT_FILTERED' ? toRefusal(id, stepResults, part) : undefined
}

function completed(open: ResponseObject, key: ResponseKey, answer: FlowAnswer): ResponseObject {
  const reason = INCOMPLETE[answer.finishReason]
  const status = reason === undefined ? 'completed' : 'incomplete'
  return {
    ...open,
    status,
    incomplete_details: reason === undefined ? null : { reason },
    output: [toMessage(key, status, [toPart(answer)])],
    usage: toResponseUsage(answer.usage),
    polyphony: toExtension(answer),
  }
}

function failureOf({ error }: OrchestrationFlow): ResponseObject['error'] {
  if (!error) return { code: 'server_error', message: 'The flow failed' }
  return toResponseError(new OrchestratorError(error.code, error.message, { details: error.details, retryable: error.retryable }))
}

export function toResponseError(error: OrchestratorError): NonNullable<ResponseObject['error']> {
  const { code, message } = toOpenAiError(error).error
  return { code: code ?? 'server_error', message }
}

export const toMessage = (
  key: ResponseKey,
  status: ResponseMessage['status'],
  content: readonly ResponsePart[],
): ResponseMessage => ({ type: 'message', id: messageId(key), status, role: 'assistant', content })

export const textPart = (text: string): ResponsePart => ({ type: 'output_text', text, annotations: [], logprobs: [] })
const toPart = ({ text, refusal }: FlowAnswer): ResponsePart =>
  refusal === undefined ? textPart(text) : { type: 'refusal', refusal }

/** Tokens of all steps. Null when the input or output tokens are unknown. */
function toResponseUsage(usage: Usage): ResponseObject['usage'] {
  const { inputTokens, outputTokens, cachedInputTokens = 0, cacheWriteTokens = 0, reasoningTokens = 0 } = usage
  if (inputTokens === undefined || outputTokens === undefined) return null
  return {
    input_tokens: inputTokens,
    input_tokens_details: { cached_tokens: cachedInputTokens, cache_write_tokens: cacheWriteTokens },
    output_tokens: outputTokens,
    output_tokens_details: { reasoning_tokens: reasoningTokens },
    total_tokens: inputTokens + outputTokens,
  }
}

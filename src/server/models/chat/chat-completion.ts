import * as z from 'zod'
import type { FinishReason } from '../../../domain/execution/model-call.ts'
import type { Usage } from '../../../domain/execution/usage.ts'
import { arrayOf } from '../../../protocol/instant.ts'
import { namedSchemas } from '../../requests/named-schemas.ts'
import { type FlowAnswer, toExtension } from '../answer.ts'
import type { FlowCall } from '../flow-calls.ts'
import type { CallerCall } from '../tools/caller-call.ts'

/** Fields of Polyphony in addition to those of OpenAI. */
export const extension = z.object({
  flow_id: z.string(),
  /** US dollars. Undefined when no cost is known. */
  cost_usd: z.number().optional(),
  unpriced_steps: z.number(),
  simulated: z.boolean(),
  /** Context that the user's data-sharing policies withheld from providers. */
  withheld: arrayOf(z.object({ kind: z.string(), to: z.string(), rule: z.string() })).optional(),
})

const chatUsage = z.object({
  prompt_tokens: z.number(),
  completion_tokens: z.number(),
  total_tokens: z.number(),
  prompt_tokens_details: z.object({ cached_tokens: z.number() }),
  completion_tokens_details: z.object({ reasoning_tokens: z.number() }),
})

const toolCall = z.object({
  id: z.string(),
  type: z.literal('function'),
  function: z.object({ name: z.string(), arguments: z.string() }),
})

export const chatCompletion = z.object({
  id: z.string(),
  object: z.literal('chat.completion'),
  created: z.number(),
  model: z.string(),
  choices: arrayOf(
    z.object({
      index: z.number(),
      message: z.object({
        role: z.literal('assistant'),
        content: z.string().nullable(),
        refusal: z.string().nullable(),
        /** Calls of tools of the request, whose results the next request brings. */
        tool_calls: arrayOf(toolCall).optional(),
      }),
      logprobs: z.null(),
      finish_reason: z.string(),
    }),
  ),
  usage: chatUsage.optional(),
  polyphony: extension,
})
namedSchemas.add(chatCompletion, { id: 'ChatCompletion' })
export type ChatCompletion = z.output<typeof chatCompletion>

/** OpenAI's finish reasons. A refusal is a field of the message in its format, with the ordinary reason. */
const FINISH_REASONS: Readonly<Record<FinishReason, 'stop' | 'length' | 'content_filter'>> = {
  stop: 'stop',
  length: 'length',
  content_filter: 'content_filter',
  tool_calls: 'stop',
  refusal: 'stop',
  other: 'stop',
}

const finishReasonOf = ({ toolCalls, finishReason }: FlowAnswer) => (toolCalls ? 'tool_calls' : FINISH_REASONS[finishReason])

const toToolCall = ({ id, name, arguments: given }: CallerCall): z.output<typeof toolCall> => ({
  id,
  type: 'function',
  function: { name, arguments: given },
})

/** Clients take two completions with the same id for the same message, so each part of a flow has its own. */
const head = ({ flowId, createdAt, results }: FlowCall, model: string) => ({
  id: ['chatcmpl', flowId, ...(results ? [results.count] : [])].join('-'),
  created: Math.floor(createdAt.getTime() / 1_000),
  model,
})

export const toChatCompletion = (call: FlowCall, model: string, answer: FlowAnswer): ChatCompletion => ({
  ...head(call, model),
  object: 'chat.completion',
  choices: [
    {
      index: 0,
      message: {
        role: 'assistant',
        content: answer.refusal === undefined && !answer.toolCalls ? answer.text : null,
        refusal: answer.refusal ?? null,
        ...(answer.toolCalls && { tool_calls: answer.toolCalls.map(toToolCall) }),
      },
      logprobs: null,
      finish_reason: finishReasonOf(answer),
    },
  ],
  usage: toChatUsage(answer.usage),
  polyphony: toExtension(answer),
})

/** Tokens of all steps. Undefined when the input or output tokens are unknown, because 0 would be wrong. */
function toChatUsage(usage: Usage): z.output<typeof chatUsage> | undefined {
  const { inputTokens, outputTokens, cachedInputTokens = 0, reasoningTokens = 0 } = usage
  if (inputTokens === undefined || outputTokens === undefined) return undefined
  return {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
    prompt_tokens_details: { cached_tokens: cachedInputTokens },
    completion_tokens_details: { reasoning_tokens: reasoningTokens },
  }
}

interface Delta {
  readonly role?: 'assistant'
  readonly content?: string
  readonly refusal?: string
  readonly tool_calls?: readonly ({ readonly index: number } & z.output<typeof toolCall>)[]
}

/** Formats the chunks of a streamed completion as events. `includeUsage`: option of the request. */
export function createChatChunks(call: FlowCall, model: string, includeUsage: boolean) {
  const common = { ...head(call, model), object: 'chat.completion.chunk' }
  const toEvent = (fields: object) =>
    `data: ${JSON.stringify({ ...common, ...fields, ...(includeUsage && !('usage' in fields) && { usage: null }) })}\n\n`
  const choice = (delta: Delta, finishReason: string | null = null) => ({
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }],
  })
  return {
    start: () => toEvent(choice({ role: 'assistant', content: '' })),
    text: (content: string) => toEvent(choice({ content })),
    /** The events after the last text. */
    end(answer: FlowAnswer): string {
      const polyphony = toExtension(answer)
      const refused = answer.refusal === undefined ? '' : toEvent(choice({ refusal: answer.refusal }))
      const called = (answer.toolCalls ?? []).map((call, index) =>
        toEvent(choice({ tool_calls: [{ index, ...toToolCall(call) }] })),
      )
      const finished = toEvent({ ...choice({}, finishReasonOf(answer)), ...(!includeUsage && { polyphony }) })
      const usage = includeUsage ? toEvent({ choices: [], usage: toChatUsage(answer.usage) ?? null, polyphony }) : ''
      return `${refused}${called.join('')}${finished}${usage}data: [DONE]\n\n`
    },
  }
}

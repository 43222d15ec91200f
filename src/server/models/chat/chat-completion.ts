import * as z from 'zod'
import type { FinishReason } from '../../../domain/execution/model-call.ts'
import type { Usage } from '../../../domain/execution/usage.ts'
import { arrayOf } from '../../../protocol/instant.ts'
import { namedSchemas } from '../../requests/named-schemas.ts'
import { type FlowAnswer, toExtension } from '../answer.ts'
import type { FlowCall } from '../flow-calls.ts'

/** Facts of Polyphony beside OpenAI's own. */
export const extension = z.object({
  flow_id: z.string(),
  /** US dollars; absent where nothing is priced. */
  cost_usd: z.number().optional(),
  unpriced_steps: z.number(),
  simulated: z.boolean(),
  /** What the user's data-sharing policies kept from providers. */
  withheld: arrayOf(z.object({ kind: z.string(), to: z.string(), rule: z.string() })).optional(),
})

const chatUsage = z.object({
  prompt_tokens: z.number(),
  completion_tokens: z.number(),
  total_tokens: z.number(),
  prompt_tokens_details: z.object({ cached_tokens: z.number() }),
  completion_tokens_details: z.object({ reasoning_tokens: z.number() }),
})

export const chatCompletion = z.object({
  id: z.string(),
  object: z.literal('chat.completion'),
  created: z.number(),
  model: z.string(),
  choices: arrayOf(
    z.object({
      index: z.number(),
      message: z.object({ role: z.literal('assistant'), content: z.string().nullable(), refusal: z.string().nullable() }),
      logprobs: z.null(),
      finish_reason: z.string(),
    }),
  ),
  usage: chatUsage.optional(),
  polyphony: extension,
})
namedSchemas.add(chatCompletion, { id: 'ChatCompletion' })
export type ChatCompletion = z.output<typeof chatCompletion>

/** OpenAI's words; a refusal is a message of its own kind that ends as any other. */
const FINISH_REASONS: Readonly<Record<FinishReason, 'stop' | 'length' | 'content_filter'>> = {
  stop: 'stop',
  length: 'length',
  content_filter: 'content_filter',
  tool_calls: 'stop',
  refusal: 'stop',
  other: 'stop',
}

const head = ({ flowId, createdAt }: FlowCall, model: string) => ({
  id: `chatcmpl-${flowId}`,
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
        content: answer.refusal === undefined ? answer.text : null,
        refusal: answer.refusal ?? null,
      },
      logprobs: null,
      finish_reason: FINISH_REASONS[answer.finishReason],
    },
  ],
  usage: toChatUsage(answer.usage),
  polyphony: toExtension(answer),
})

/** Tokens of all steps together; `undefined` where prompt or answer are not known: no figure says 0 that is not 0. */
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
}

/** The chunks of a streamed completion, as events; `includeUsage` as the client asked for it. */
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
    /** Everything after the text. */
    end(answer: FlowAnswer): string {
      const polyphony = toExtension(answer)
      const refused = answer.refusal === undefined ? '' : toEvent(choice({ refusal: answer.refusal }))
      const finished = toEvent({ ...choice({}, FINISH_REASONS[answer.finishReason]), ...(!includeUsage && { polyphony }) })
      const usage = includeUsage ? toEvent({ choices: [], usage: toChatUsage(answer.usage) ?? null, polyphony }) : ''
      return `${refused}${finished}${usage}data: [DONE]\n\n`
    },
  }
}

import { UNKNOWN_USAGE, type Usage } from '../../domain/usage.ts'
import { countOf, type ForeignRecord, isRecord, recordOf } from '../foreign-json.ts'

/** xAI states costs in ticks of 10^-10 US dollars (docs.x.ai, `cost_in_usd_ticks`, checked with recorded answers 2026-11). */
const TICKS_PER_USD = 10_000_000_000

/**
 * Usage of Chat Completions (`prompt_tokens`, `completion_tokens`) and Responses (`input_tokens`, `output_tokens`) in the one meaning of `Usage`.
 * What vendors count beside these two shows in a total that does not add up: reasoning beside the output (xAI), audio beside the input (Mistral),
 * cached tokens beside the input.
 */
export function toUsage(raw: unknown): Usage {
  if (!isRecord(raw)) return UNKNOWN_USAGE
  const inputDetails = recordOf(raw.prompt_tokens_details ?? raw.input_tokens_details)
  const outputDetails = recordOf(raw.completion_tokens_details ?? raw.output_tokens_details)
  const input = countOf(raw.prompt_tokens) ?? countOf(raw.input_tokens)
  const output = countOf(raw.completion_tokens) ?? countOf(raw.output_tokens)
  // Servers that count nothing still send zeros; an answer without any token does not exist.
  if ((input ?? 0) + (output ?? 0) === 0) return UNKNOWN_USAGE
  const cached = countOf(inputDetails.cached_tokens) ?? countOf(raw.prompt_cache_hit_tokens) ?? countOf(raw.cached_tokens)
  const cacheWrite = countOf(inputDetails.cache_write_tokens) ?? countOf(inputDetails.cache_creation_tokens)
  const reasoning = countOf(outputDetails.reasoning_tokens) ?? countOf(raw.reasoning_tokens)

  const total = countOf(raw.total_tokens)
  const beside = total === undefined || input === undefined || output === undefined ? 0 : total - input - output
  const addsTo = (tokens: number | undefined) => (tokens && tokens === beside ? tokens : 0)
  const besideOutput = addsTo(reasoning)
  const besideInput = besideOutput ? 0 : addsTo(countOf(inputDetails.audio_tokens)) || addsTo((cached ?? 0) + (cacheWrite ?? 0))
  const inputTokens = input === undefined ? undefined : input + besideInput
  const outputTokens = output === undefined ? undefined : output + besideOutput
  // Built field by field: spreads of conditions cost as much as the rest of reading an answer.
  const usage: { -readonly [Field in keyof Usage]: Usage[Field] } = { source: 'reported' }
  if (inputTokens !== undefined) usage.inputTokens = inputTokens
  if (cached !== undefined) usage.cachedInputTokens = cached
  if (cacheWrite !== undefined) usage.cacheWriteTokens = cacheWrite
  if (outputTokens !== undefined) usage.outputTokens = outputTokens
  // OpenRouter counts reasoning with the tokenizer of the vendor and the output with its own, so a part can exceed its whole.
  if (reasoning !== undefined) usage.reasoningTokens = outputTokens === undefined ? reasoning : Math.min(reasoning, outputTokens)
  if (inputTokens !== undefined && outputTokens !== undefined) usage.totalTokens = inputTokens + outputTokens
  return usage
}

/** US dollars that the vendor itself states for the answer: OpenRouter's `cost`, xAI's ticks. */
export function toStatedCostUsd(raw: unknown): number | undefined {
  const usage: ForeignRecord = recordOf(raw)
  const ticks = countOf(usage.cost_in_usd_ticks)
  return countOf(usage.cost) ?? (ticks === undefined ? undefined : ticks / TICKS_PER_USD)
}

import { UNKNOWN_USAGE, type Usage } from '../../domain/execution/usage.ts'
import { countOf, type ForeignRecord, isRecord, recordOf } from '../vendor/foreign-json.ts'

/**
 * Converts the usage of Chat Completions (`prompt_tokens`, `completion_tokens`) and Responses (`input_tokens`,
 * `output_tokens`). Some vendors exclude tokens from these two figures, which shows in a total that exceeds their sum:
 * reasoning tokens excluded from the output (xAI), audio (Mistral) or cached tokens excluded from the input. An
 * unexplained rest is hidden output (Google's endpoint for OpenAI clients omits thoughts).
 */
export function toUsage(raw: unknown): Usage {
  if (!isRecord(raw)) return UNKNOWN_USAGE
  const inputDetails = recordOf(raw.prompt_tokens_details ?? raw.input_tokens_details ?? raw.prompt_token_details)
  const outputDetails = recordOf(raw.completion_tokens_details ?? raw.output_tokens_details)
  const total = countOf(raw.total_tokens) || undefined
  const stated = completed(
    countOf(raw.prompt_tokens ?? raw.input_tokens),
    countOf(raw.completion_tokens ?? raw.output_tokens),
    total,
  )
  // Servers that do not count tokens send zeros.
  if (stated === undefined) return total === undefined ? UNKNOWN_USAGE : { totalTokens: total, source: 'reported' }
  const { input, output } = stated
  const cached = toCachedTokens(raw, inputDetails)
  const cacheWrite =
    countOf(inputDetails.cache_write_tokens) ??
    countOf(inputDetails.cache_creation_tokens) ??
    countOf(raw.cache_creation_input_tokens)
  const reasoning = countOf(outputDetails.reasoning_tokens) ?? countOf(raw.reasoning_tokens)
  const excluded = toTokensBeside(raw, stated, total, {
    cached,
    cacheWrite,
    reasoning,
    audio: countOf(inputDetails.audio_tokens),
  })
  const inputTokens = input === undefined ? undefined : input + excluded.input
  const outputTokens = output === undefined ? undefined : output + excluded.output
  // Set field by field: conditional spreads take as long as the rest of reading an answer.
  const usage: { -readonly [Field in keyof Usage]: Usage[Field] } = { source: 'reported' }
  if (inputTokens !== undefined) usage.inputTokens = inputTokens
  if (cached !== undefined) usage.cachedInputTokens = cached
  if (cacheWrite !== undefined) usage.cacheWriteTokens = cacheWrite
  if (outputTokens !== undefined) usage.outputTokens = outputTokens
  // Reasoning may be counted with another tokenizer than the output, and then exceed it.
  if (reasoning !== undefined) usage.reasoningTokens = outputTokens === undefined ? reasoning : Math.min(reasoning, outputTokens)
  if (inputTokens !== undefined && outputTokens !== undefined) usage.totalTokens = inputTokens + outputTokens
  return usage
}

interface Stated {
  readonly input: number | undefined
  readonly output: number | undefined
}

/** Both figures, the missing one computed from the total. Undefined if neither is known. */
function completed(input: number | undefined, output: number | undefined, total: number | undefined): Stated | undefined {
  if ((input ?? 0) + (output ?? 0) === 0) return undefined
  if (total === undefined) return { input, output }
  if (input === undefined && output !== undefined && total >= output) return { input: total - output, output }
  if (output === undefined && input !== undefined && total >= input) return { input, output: total - input }
  return { input, output }
}

/**
 * Input tokens read from a cache. The largest figure counts, because vendors use different names and may send the other
 * names as 0.
 */
function toCachedTokens(raw: ForeignRecord, inputDetails: ForeignRecord): number | undefined {
  let largest: number | undefined
  for (const found of [
    inputDetails.cached_tokens,
    raw.num_cached_tokens,
    raw.prompt_cache_hit_tokens,
    raw.cached_tokens,
    raw.cache_read_input_tokens,
    inputDetails.cache_read_tokens,
  ]) {
    const count = countOf(found)
    if (count !== undefined && (largest === undefined || count > largest)) largest = count
  }
  return largest
}

interface InputAndOutputDetails {
  readonly cached: number | undefined
  readonly cacheWrite: number | undefined
  readonly reasoning: number | undefined
  readonly audio: number | undefined
}

/**
 * Tokenizers differ by less than this factor. If reasoning exceeds the output by more, it is not part of the output.
 */
const TOKENIZER_SPREAD = 2

/** Billed tokens that the two stated figures exclude. */
function toTokensBeside(
  raw: ForeignRecord,
  { input, output }: Stated,
  total: number | undefined,
  { cached = 0, cacheWrite = 0, reasoning = 0, audio = 0 }: InputAndOutputDetails,
): { readonly input: number; readonly output: number } {
  if (input === undefined || output === undefined) return NOTHING_BESIDE
  const hidden = total === undefined ? 0 : total - input - output
  if (hidden > 0) {
    if (hidden === reasoning) return { input: 0, output: hidden }
    for (const part of [audio, cached + cacheWrite, audio + cached + cacheWrite]) {
      if (part > 0 && (hidden === part || hidden === part + reasoning)) return { input: part, output: hidden - part }
    }
    return { input: 0, output: hidden }
  }
  // Under Anthropic's field names, cached tokens are excluded from the input. Gateways that rename the fields include
  // them.
  const namesOfAnthropic = raw.prompt_tokens === undefined && total === undefined
  const isCachedBeside =
    cached + cacheWrite > input ||
    (namesOfAnthropic && (countOf(raw.cache_read_input_tokens) ?? countOf(raw.cache_creation_input_tokens)) !== undefined)
  // A vendor that excludes reasoning from the output may exclude it from the total as well (Gemini behind a gateway).
  const isReasoningBeside = reasoning > output * TOKENIZER_SPREAD
  if (!isCachedBeside && !isReasoningBeside) return NOTHING_BESIDE
  return { input: isCachedBeside ? cached + cacheWrite : 0, output: isReasoningBeside ? reasoning : 0 }
}

const NOTHING_BESIDE = { input: 0, output: 0 }

import { UNKNOWN_USAGE, type Usage } from '../../domain/execution/usage.ts'
import { countOf, type ForeignRecord, isRecord, recordOf } from '../vendor/foreign-json.ts'

/**
 * Usage of Chat Completions (`prompt_tokens`, `completion_tokens`) and Responses (`input_tokens`, `output_tokens`) in the one meaning of `Usage`.
 * What vendors count beside these two shows in a total that does not add up: reasoning beside the output (xAI), audio beside the input (Mistral),
 * cached tokens beside the input. What nothing accounts for is output that was hidden (Google's endpoint for OpenAI clients leaves thoughts out).
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
  // Servers that count nothing still send zeros; an answer without any token does not exist.
  if (stated === undefined) return total === undefined ? UNKNOWN_USAGE : { totalTokens: total, source: 'reported' }
  const { input, output } = stated
  const cached = toCachedTokens(raw, inputDetails)
  const cacheWrite =
    countOf(inputDetails.cache_write_tokens) ??
    countOf(inputDetails.cache_creation_tokens) ??
    countOf(raw.cache_creation_input_tokens)
  const reasoning = countOf(outputDetails.reasoning_tokens) ?? countOf(raw.reasoning_tokens)
  const beside = toTokensBeside(raw, stated, total, { cached, cacheWrite, reasoning, audio: countOf(inputDetails.audio_tokens) })
  const inputTokens = input === undefined ? undefined : input + beside.input
  const outputTokens = output === undefined ? undefined : output + beside.output
  // Built field by field: spreads of conditions cost as much as the rest of reading an answer.
  const usage: { -readonly [Field in keyof Usage]: Usage[Field] } = { source: 'reported' }
  if (inputTokens !== undefined) usage.inputTokens = inputTokens
  if (cached !== undefined) usage.cachedInputTokens = cached
  if (cacheWrite !== undefined) usage.cacheWriteTokens = cacheWrite
  if (outputTokens !== undefined) usage.outputTokens = outputTokens
  // Where reasoning is counted with another tokenizer than the output, a part can exceed its whole.
  if (reasoning !== undefined) usage.reasoningTokens = outputTokens === undefined ? reasoning : Math.min(reasoning, outputTokens)
  if (inputTokens !== undefined && outputTokens !== undefined) usage.totalTokens = inputTokens + outputTokens
  return usage
}

interface Stated {
  readonly input: number | undefined
  readonly output: number | undefined
}

/** Both figures, where the total tells the one that is missing; undefined where neither is known. */
function completed(input: number | undefined, output: number | undefined, total: number | undefined): Stated | undefined {
  if ((input ?? 0) + (output ?? 0) === 0) return undefined
  if (total === undefined) return { input, output }
  if (input === undefined && output !== undefined && total >= output) return { input: total - output, output }
  if (output === undefined && input !== undefined && total >= input) return { input, output: total - input }
  return { input, output }
}

/** The vendors' names for input read from a cache; some send one of them as 0 beside another that counts. */
function toCachedTokens(raw: ForeignRecord, inputDetails: ForeignRecord): number | undefined {
  let most: number | undefined
  for (const found of [
    inputDetails.cached_tokens,
    raw.num_cached_tokens,
    raw.prompt_cache_hit_tokens,
    raw.cached_tokens,
    raw.cache_read_input_tokens,
    inputDetails.cache_read_tokens,
  ]) {
    const count = countOf(found)
    if (count !== undefined && (most === undefined || count > most)) most = count
  }
  return most
}

interface Parts {
  readonly cached: number | undefined
  readonly cacheWrite: number | undefined
  readonly reasoning: number | undefined
  readonly audio: number | undefined
}

/** Tokenizers of two vendors differ by less than this factor; reasoning beyond it was counted beside the output. */
const TOKENIZER_SPREAD = 2

/** Tokens that are billed but not in the two stated figures. */
function toTokensBeside(
  raw: ForeignRecord,
  { input, output }: Stated,
  total: number | undefined,
  { cached = 0, cacheWrite = 0, reasoning = 0, audio = 0 }: Parts,
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
  // Anthropic's own names count what was cached beside the input; gateways that rename the fields count it in.
  const namesOfAnthropic = raw.prompt_tokens === undefined && total === undefined
  const isCachedBeside =
    cached + cacheWrite > input ||
    (namesOfAnthropic && (countOf(raw.cache_read_input_tokens) ?? countOf(raw.cache_creation_input_tokens)) !== undefined)
  // A vendor that counts reasoning beside the output may leave it out of the total as well (Gemini behind a gateway).
  const isReasoningBeside = reasoning > output * TOKENIZER_SPREAD
  if (!isCachedBeside && !isReasoningBeside) return NOTHING_BESIDE
  return { input: isCachedBeside ? cached + cacheWrite : 0, output: isReasoningBeside ? reasoning : 0 }
}

const NOTHING_BESIDE = { input: 0, output: 0 }

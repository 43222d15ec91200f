import { UNKNOWN_USAGE, type Usage } from '../../domain/execution/usage.ts'
import { countOf, type ForeignRecord, listOf, recordOf, textOf } from '../vendor/foreign-json.ts'

/**
 * Collects the usage of one answer of the Messages API (November 2026). `input_tokens` excludes tokens read from and
 * written to the cache. The figures of `message_delta` are cumulative and replace those of `message_start` field by
 * field, because a delta may omit fields. Gateways send 0 for unknown fields: such a 0 replaces no count, and 0 input
 * tokens, or 0 output tokens for an answer with text, count as unknown. `iterations` lists every billed model call,
 * including those missing in the top-level figures (such as compaction).
 */
export function createAnthropicUsage() {
  let fields: ForeignRecord = {}

  return {
    add(latest: ForeignRecord) {
      const reported = Object.entries(latest).filter(([name, value]) => value !== null && !(value === 0 && countOf(fields[name])))
      fields = { ...fields, ...Object.fromEntries(reported) }
    },
    total(hasText = false): Usage {
      const calls = listOf(fields.iterations).map(recordOf).filter(isCounted)
      const counted = calls.length > 0 ? sum(calls.map(toTokens)) : toTokens(fields)
      const { cachedInputTokens, cacheWriteTokens } = counted
      const inputTokens = counted.inputTokens || undefined
      const outputTokens = hasText ? counted.outputTokens || undefined : counted.outputTokens
      if (inputTokens === undefined && outputTokens === undefined) return UNKNOWN_USAGE
      const reasoningTokens = countOf(recordOf(fields.output_tokens_details).thinking_tokens)
      return {
        ...(inputTokens !== undefined && { inputTokens }),
        ...(cachedInputTokens !== undefined && { cachedInputTokens }),
        ...(cacheWriteTokens !== undefined && { cacheWriteTokens }),
        ...(outputTokens !== undefined && { outputTokens }),
        ...(reasoningTokens !== undefined && { reasoningTokens }),
        ...(inputTokens !== undefined && outputTokens !== undefined && { totalTokens: inputTokens + outputTokens }),
        source: 'reported',
      }
    },
    /** Fast mode has its own prices, independent of the tier. */
    serviceTier: () => (fields.speed === 'fast' ? 'fast' : textOf(fields.service_tier)),
    notes(): readonly string[] {
      const kinds = listOf(fields.iterations).map((call) => textOf(recordOf(call).type) ?? 'message')
      // Of the tools that Anthropic runs, only searches have a price of their own besides tokens (November 2026).
      // Writes for one hour cost 2 times the price of input, others 1.25 times, and price lists know only one price.
      const hourWrites = countOf(recordOf(fields.cache_creation).ephemeral_1h_input_tokens) ?? 0
      const searches = countOf(recordOf(fields.server_tool_use).web_search_requests) ?? 0
      return [
        ...(kinds.some((kind) => kind !== 'message')
          ? [`usage is the sum of ${kinds.length} billed model calls (${kinds.join(', ')})`]
          : []),
        ...(hourWrites > 0
          ? [`${hourWrites} tokens were written to the cache for one hour, which Anthropic bills higher than the cost says`]
          : []),
        ...(searches > 0
          ? [`Anthropic ran ${searches} web searches, which it bills per search and the cost does not include`]
          : []),
      ]
    },
  }
}

type Tokens = Pick<Usage, 'inputTokens' | 'cachedInputTokens' | 'cacheWriteTokens' | 'outputTokens'>

const isCounted = (call: ForeignRecord) => countOf(call.input_tokens) !== undefined

function toTokens(fields: ForeignRecord): Tokens {
  const uncached = countOf(fields.input_tokens)
  const cachedInputTokens = countOf(fields.cache_read_input_tokens)
  const cacheWriteTokens = countOf(fields.cache_creation_input_tokens)
  return {
    inputTokens: uncached === undefined ? undefined : uncached + (cachedInputTokens ?? 0) + (cacheWriteTokens ?? 0),
    cachedInputTokens,
    cacheWriteTokens,
    outputTokens: countOf(fields.output_tokens),
  }
}

const sum = (calls: readonly Tokens[]): Tokens => ({
  inputTokens: add(calls.map((call) => call.inputTokens)),
  cachedInputTokens: add(calls.map((call) => call.cachedInputTokens)),
  cacheWriteTokens: add(calls.map((call) => call.cacheWriteTokens)),
  outputTokens: add(calls.map((call) => call.outputTokens)),
})

const add = (counts: readonly (number | undefined)[]) =>
  counts.reduce((total, count) => (count === undefined ? total : (total ?? 0) + count), undefined)

/**
 * Tokens of one attempt, counted alike for all providers: `inputTokens` includes cached prompt tokens, `outputTokens`
 * includes reasoning and all other tokens that are billed as output. An absent figure is unknown, never 0.
 */
export interface Usage {
  readonly inputTokens?: number
  /** Part of `inputTokens` that was read from the provider's cache. */
  readonly cachedInputTokens?: number
  /** Part of `inputTokens` that was written to the provider's cache. */
  readonly cacheWriteTokens?: number
  readonly outputTokens?: number
  /** Part of `outputTokens` that was reasoning. */
  readonly reasoningTokens?: number
  /** `inputTokens + outputTokens`, or the total where the provider reports nothing else; absent when unknown. */
  readonly totalTokens?: number
  readonly source: 'reported' | 'estimated' | 'unknown'
}

export const UNKNOWN_USAGE: Usage = { source: 'unknown' }

/** Usage of functions, HTTP operations and MCP tools. */
export const NO_TOKENS: Usage = { inputTokens: 0, outputTokens: 0, totalTokens: 0, source: 'reported' }

/** Sums the known figures. The source of the sum is the weakest source of its parts. */
export function addUsage(usages: readonly (Usage | undefined)[]): Usage {
  const [only] = usages
  if (only && usages.length === 1) return only
  const sum: Record<string, number> = {}
  let source: Usage['source'] | undefined
  for (const usage of usages) {
    if (!usage) continue
    for (const key of TOKEN_FIELDS) {
      const tokens = usage[key]
      if (tokens !== undefined) sum[key] = (sum[key] ?? 0) + tokens
    }
    source = weakest(source, usage.source)
  }
  return { ...sum, source: source ?? 'unknown' }
}

/** The largest count that the columns of the ledger hold, and more than any answer has. */
const MAX_TOKENS = 2_147_483_647

/** The usage without implausible figures, which count as unknown. */
export function plausibleUsage(usage: Usage): Usage {
  if (TOKEN_FIELDS.every((field) => isPlausible(usage[field]))) return usage
  const kept = TOKEN_FIELDS.filter((field) => isPlausible(usage[field])).map((field) => [field, usage[field]] as const)
  return { ...Object.fromEntries(kept), source: 'unknown' }
}

const isPlausible = (tokens: number | undefined): boolean =>
  tokens === undefined || (Number.isInteger(tokens) && tokens >= 0 && tokens <= MAX_TOKENS)

const TOKEN_FIELDS = [
  'inputTokens',
  'cachedInputTokens',
  'cacheWriteTokens',
  'outputTokens',
  'reasoningTokens',
  'totalTokens',
] as const

const STRENGTH = { reported: 2, estimated: 1, unknown: 0 } as const

function weakest(a: Usage['source'] | undefined, b: Usage['source']): Usage['source'] {
  return a === undefined || STRENGTH[b] < STRENGTH[a] ? b : a
}

/**
 * Where a cost comes from. `provider`: reported in the answer. `prices`: the bundled price list. `configured`: a price
 * of the configuration. `free`: a function of the operator. `estimated`: computed before the call, whose outcome is
 * unknown. `cache`: nothing, because an answer was served again.
 */
export type CostSource = 'provider' | 'prices' | 'configured' | 'free' | 'estimated' | 'cache'

/** The cost of one attempt and its source. */
export interface Cost {
  /** US dollars. */
  readonly costUsd: number
  readonly source: Exclude<CostSource, 'estimated' | 'cache'>
  /** Date of the price list (`2026-11-20`), where the cost comes from one. */
  readonly pricesDate?: string
  /** Whether the tokens are an estimate. */
  readonly estimated: boolean
}

/** What rows of a usage report may be told apart by. A day is one of UTC, the day on which the call began. */
export const USAGE_GROUPS = ['day', 'provider', 'model', 'flow'] as const
export type UsageGroup = (typeof USAGE_GROUPS)[number]

/** Whose calls are summed up. */
export interface UsageQuery {
  /** Who created the flows. */
  readonly userId: string
  /** Calls that began at this instant or later. */
  readonly from?: Date
  /** Calls that began before it. */
  readonly to?: Date
  readonly flowId?: string
  /** Without any there is one row, also where nothing was called. */
  readonly groupBy: readonly UsageGroup[]
  /** Most rows that are given, 1 to 1000. */
  readonly limit: number
}

/**
 * Sums over the ledger, which has one entry per try. What the simulator answered is in the last two figures and in no other. An unknown figure is left out of its
 * sum and counted, never taken as 0.
 */
export interface UsageFigures {
  /** Tries that the provider may bill: it answered, or had begun to. */
  readonly calls: number
  /** Tries that the provider refused before it generated anything. They cost nothing. */
  readonly failedCalls: number
  /** All prompt tokens, cached ones included. */
  readonly inputTokens: number
  readonly cachedInputTokens: number
  readonly cacheWriteTokens: number
  /** All that is billed as output, reasoning included. */
  readonly outputTokens: number
  readonly reasoningTokens: number
  readonly totalTokens: number
  /** US dollars. */
  readonly costUsd: number
  /** Calls of unknown cost: no price, or no tokens told. */
  readonly unpricedCalls: number
  /** Calls of which the tokens are not known. */
  readonly uncountedCalls: number
  readonly simulatedCalls: number
  readonly simulatedTokens: number
}

/** One row; it names what the report is grouped by and nothing else. */
export interface UsageRow extends UsageFigures {
  /** `2026-11-20`. */
  readonly day?: string
  readonly provider?: string
  /** The model that answered, else the one that was asked. */
  readonly model?: string
  readonly flowId?: string
  readonly flowName?: string
}

export interface UsageSums {
  /** Newest day first, then what cost most, then what was called most. */
  readonly rows: readonly UsageRow[]
  /** There are more rows than the limit. */
  readonly truncated: boolean
}

/** Of nothing. */
export const NO_FIGURES: UsageFigures = {
  calls: 0,
  failedCalls: 0,
  inputTokens: 0,
  cachedInputTokens: 0,
  cacheWriteTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
  totalTokens: 0,
  costUsd: 0,
  unpricedCalls: 0,
  uncountedCalls: 0,
  simulatedCalls: 0,
  simulatedTokens: 0,
}

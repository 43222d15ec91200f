/** Properties by which a usage report groups its rows. `day` is the UTC day on which the call began. */
export const USAGE_GROUPS = ['day', 'provider', 'model', 'flow'] as const
export type UsageGroup = (typeof USAGE_GROUPS)[number]

/** Selects the calls of a report and groups them. */
export interface UsageQuery {
  /** The user that created the flows. */
  readonly userId: string
  /** Calls that began at this instant or later. */
  readonly from?: Date
  /** Calls that began before this instant. */
  readonly to?: Date
  readonly flowId?: string
  /** Without groups there is exactly one row, even if no call was made. */
  readonly groupBy: readonly UsageGroup[]
  /** Maximum number of rows, 1 to 1000. */
  readonly limit: number
}

/**
 * Sums over the ledger, which has one entry per attempt. Answers of the simulator count in the last two figures only.
 * An unknown figure is left out of its sum and counted, never taken as 0.
 */
export interface UsageFigures {
  /** Attempts that the provider may bill: it answered, or had begun to. */
  readonly calls: number
  /** Attempts that the provider refused before it generated any output. They cost nothing. */
  readonly failedCalls: number
  /** All prompt tokens, cached ones included. */
  readonly inputTokens: number
  readonly cachedInputTokens: number
  readonly cacheWriteTokens: number
  /** All tokens that are billed as output, reasoning included. */
  readonly outputTokens: number
  readonly reasoningTokens: number
  readonly totalTokens: number
  /** US dollars. */
  readonly costUsd: number
  /** Calls of unknown cost: without a known price or without reported tokens. */
  readonly unpricedCalls: number
  /** Calls with an unknown number of tokens. */
  readonly uncountedCalls: number
  readonly simulatedCalls: number
  readonly simulatedTokens: number
}

/** One row of a report. Of the names below it has those that the report is grouped by. */
export interface UsageRow extends UsageFigures {
  /** `2026-11-20`. */
  readonly day?: string
  readonly provider?: string
  /** The model that answered, else the requested one. */
  readonly model?: string
  readonly flowId?: string
  readonly flowName?: string
}

export interface UsageSums {
  /** Sorted by day, newest first, then by cost and by calls, highest first. */
  readonly rows: readonly UsageRow[]
  /** Whether there are more rows than the limit. */
  readonly truncated: boolean
}

/** The figures of a report without calls. */
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

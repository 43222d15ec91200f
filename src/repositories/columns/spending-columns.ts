import type { BudgetUsage } from '../spending-repositories.ts'
import type { ColumnsOf } from './column.ts'

export type BudgetUsageRow = BudgetUsage

export const BUDGET_USAGE_COLUMNS = {
  name: { name: 'name', type: 'text', primary: true },
  subject: { name: 'subject', type: 'text', primary: true, storable: true },
  windowStart: { name: 'window_start', type: 'timestamptz', primary: true },
  costNanoUsd: { name: 'cost_nano_usd', type: 'bigint', default: 0 },
  tokens: { name: 'tokens', type: 'bigint', default: 0 },
  flows: { name: 'flows', type: 'bigint', default: 0 },
  reservedNanoUsd: { name: 'reserved_nano_usd', type: 'bigint', default: 0 },
  reservedTokens: { name: 'reserved_tokens', type: 'bigint', default: 0 },
} as const satisfies ColumnsOf<BudgetUsageRow>

/** The part of one reservation that one budget holds. */
export interface BudgetReservationRow {
  readonly id: string
  readonly name: string
  readonly subject: string
  readonly windowStart: Date
  readonly ownerId: string
  readonly costNanoUsd: number
  readonly tokens: number
}

export const BUDGET_RESERVATION_COLUMNS = {
  id: { name: 'id', type: 'text', primary: true },
  name: { name: 'name', type: 'text', primary: true },
  subject: { name: 'subject', type: 'text', storable: true },
  windowStart: { name: 'window_start', type: 'timestamptz' },
  ownerId: { name: 'owner_id', type: 'text' },
  costNanoUsd: { name: 'cost_nano_usd', type: 'bigint' },
  tokens: { name: 'tokens', type: 'bigint' },
} as const satisfies ColumnsOf<BudgetReservationRow>

/** The schedule of one provider account over all processes, on the clock of the database. */
export interface ProviderRateRow {
  /** Id of the configured provider. */
  readonly account: string
  /** When the next request may be sent. */
  readonly nextRequestAt: Date
  /** When the bucket of tokens is full again. */
  readonly tokensAt: Date
  /** Until when the provider has asked for no requests. */
  readonly closedUntil: Date
  /** Requests that run now. */
  readonly running: number
}

export const PROVIDER_RATE_COLUMNS = {
  account: { name: 'account', type: 'text', primary: true },
  nextRequestAt: { name: 'next_request_at', type: 'timestamptz', default: '-infinity' },
  tokensAt: { name: 'tokens_at', type: 'timestamptz', default: '-infinity' },
  closedUntil: { name: 'closed_until', type: 'timestamptz', default: '-infinity' },
  running: { name: 'running', type: 'integer', default: 0 },
} as const satisfies ColumnsOf<ProviderRateRow>

/** One request that runs under `maxConcurrency`; rows of dead owners are removed. */
export interface ProviderSlotRow {
  readonly id: string
  readonly account: string
  readonly ownerId: string
}

export const PROVIDER_SLOT_COLUMNS = {
  id: { name: 'id', type: 'text', primary: true },
  account: { name: 'account', type: 'text' },
  ownerId: { name: 'owner_id', type: 'text' },
} as const satisfies ColumnsOf<ProviderSlotRow>

/** Requests of one caller to the server in its current window. */
export interface RequestCountRow {
  readonly key: string
  readonly count: number
  readonly endsAt: Date
}

export const REQUEST_COUNT_COLUMNS = {
  key: { name: 'key', type: 'text', primary: true, storable: true },
  count: { name: 'count', type: 'integer' },
  endsAt: { name: 'ends_at', type: 'timestamptz' },
} as const satisfies ColumnsOf<RequestCountRow>

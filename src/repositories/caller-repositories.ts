import type { UsageQuery, UsageSums } from '../domain/execution/usage-report.ts'
import type { ApiKey } from '../domain/users/api-key.ts'
import type { IdempotencyState, IdempotentAnswer, IdempotentRequest } from '../domain/users/idempotency.ts'

export interface ApiKeyRepository {
  /** `hash`: of the secret, hexadecimal; the secret itself never gets here. */
  create(key: ApiKey, hash: string): Promise<void>
  find(id: string): Promise<{ readonly key: ApiKey; readonly hash: string } | undefined>
  /** Newest first; of one user, or of all. */
  list(userId?: string): Promise<readonly ApiKey[]>
  /** Resolves with the key as it is then, revoked at the first instant of all calls; `undefined` where there is none. */
  revoke(id: string, at: Date): Promise<ApiKey | undefined>
  /** Notes a use. An earlier instant than the one on record changes nothing. */
  touch(id: string, at: Date): Promise<void>
  /** Whether there is any key, usable or not. */
  exist(): Promise<boolean>
}

/** Single-use tickets, for callers that cannot send a header: browsers that open a WebSocket. */
export interface TicketRepository {
  /** `hash`: of the ticket, which itself is kept nowhere. `caller`: any JSON value. */
  create(ticket: { readonly hash: string; readonly caller: unknown; readonly expiresAt: Date }): Promise<void>
  /** The caller, once; `undefined` ever after, and from `expiresAt` on. Of several calls at once, in any process, exactly one gets it. */
  redeem(hash: string, now: Date): Promise<unknown>
  /** Removes expired tickets; resolves with how many. */
  prune(now: Date): Promise<number>
}

/** What clients marked with an `Idempotency-Key`, and what they were answered. */
export interface IdempotencyRepository {
  /**
   * Takes the key for the request. Of several calls at once, in any process, exactly one gets `new`. Once `lockedUntil` of a holder has passed, the same request
   * may take its place.
   */
  begin(request: IdempotentRequest): Promise<IdempotencyState>
  /** Keeps the answer for whoever asks again. With the `lock` that `begin` gave, a holder whose place was taken changes nothing; pass it. */
  finish(userId: string, key: string, answer: IdempotentAnswer, lock?: string): Promise<void>
  /** Forgets the request where its answer must not be remembered: 5xx, 429. An answer on record stays. `lock` as for `finish`. */
  release(userId: string, key: string, lock?: string): Promise<void>
  /** Removes requests that began before the instant; resolves with how many. */
  prune(olderThan: Date): Promise<number>
}

/** What calls cost, from the ledger of attempts; that of a deleted flow is gone with it. */
export interface UsageRepository {
  sum(query: UsageQuery): Promise<UsageSums>
}

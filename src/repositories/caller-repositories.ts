import type { UsageQuery, UsageSums } from '../domain/execution/usage-report.ts'
import type { ApiKey } from '../domain/users/api-key.ts'
import type { IdempotencyState, IdempotentAnswer, IdempotentRequest } from '../domain/users/idempotency.ts'

export interface ApiKeyRepository {
  /**
   * `hash`: SHA-256 of the secret, hexadecimal; the secret itself is not stored. Rejects with INTERNAL if the id is in
   * use.
   */
  create(key: ApiKey, hash: string): Promise<void>
  /** Called with every request of the server; calls within one turn of the event loop share a statement. */
  find(id: string): Promise<{ readonly key: ApiKey; readonly hash: string } | undefined>
  /** Keys of one user or of all, newest first. */
  list(userId?: string): Promise<readonly ApiKey[]>
  /** Resolves with the revoked key, undefined for an unknown one. A later call does not change the instant. */
  revoke(id: string, at: Date): Promise<ApiKey | undefined>
  /** Records a use. Keeps the stored instant if it is later. */
  touch(id: string, at: Date): Promise<void>
  /** Whether there is any key, usable or not. */
  exist(): Promise<boolean>
}

/** Single-use tickets for callers that cannot send a header: browsers that open a WebSocket. */
export interface TicketRepository {
  /** `hash`: hash of the ticket; the ticket itself is not stored. `caller`: any JSON value. */
  create(ticket: { readonly hash: string; readonly caller: unknown; readonly expiresAt: Date }): Promise<void>
  /**
   * The caller of the ticket, once; later calls, and calls from `expiresAt` on, resolve with undefined. Of several
   * calls at the same time, in any process, exactly one gets the caller.
   */
  redeem(hash: string, now: Date): Promise<unknown>
  /** Removes expired tickets and resolves with their number. Called by a timer. */
  prune(now: Date): Promise<number>
}

/** Requests that clients marked with an `Idempotency-Key`, and their answers. */
export interface IdempotencyRepository {
  /**
   * Reserves the key for the request. Of several calls at the same time, in any process, exactly one gets `new`. Once
   * `lockedUntil` of a holder has passed, the same request may replace it. Called with every request that has a key.
   * Rejects with DATABASE_UNAVAILABLE if other calls reserve and release the key too often.
   */
  begin(request: IdempotentRequest): Promise<IdempotencyState>
  /**
   * Stores the answer for later requests. With the `lock` that `begin` returned, a holder that was replaced changes
   * nothing.
   */
  finish(userId: string, key: string, answer: IdempotentAnswer, lock?: string): Promise<void>
  /** Forgets a request whose answer must not be repeated (5xx, 429). A stored answer stays. `lock`: as for `finish`. */
  release(userId: string, key: string, lock?: string): Promise<void>
  /** Removes requests that began before the instant and resolves with their number. Called by a timer. */
  prune(olderThan: Date): Promise<number>
}

/** Sums of the ledger of attempts. Attempts are deleted with their flow. */
export interface UsageRepository {
  /** Called twice per report: for its rows, and without groups for its totals. */
  sum(query: UsageQuery): Promise<UsageSums>
}

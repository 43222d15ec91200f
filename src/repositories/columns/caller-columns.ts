import type { ApiKey } from '../../domain/users/api-key.ts'
import type { ColumnsOf, RowOf } from './column.ts'

/** An API key with the hash of its secret, hexadecimal. */
export type ApiKeyRow = RowOf<Omit<ApiKey, 'scopes'>> & { readonly scopes: ApiKey['scopes'][number][]; readonly hash: string }

export const API_KEY_COLUMNS = {
  id: { name: 'id', type: 'text', primary: true, storable: true },
  userId: { name: 'user_id', type: 'text', storable: true },
  name: { name: 'name', type: 'text', storable: true },
  scopes: { name: 'scopes', type: 'text', array: true },
  hash: { name: 'hash', type: 'text' },
  createdAt: { name: 'created_at', type: 'timestamptz' },
  expiresAt: { name: 'expires_at', type: 'timestamptz', nullable: true },
  revokedAt: { name: 'revoked_at', type: 'timestamptz', nullable: true },
  lastUsedAt: { name: 'last_used_at', type: 'timestamptz', nullable: true },
} as const satisfies ColumnsOf<ApiKeyRow>

/** A single-use ticket by its hash, with the caller that it authenticates. */
export interface TicketRow {
  readonly hash: string
  readonly caller: object
  readonly expiresAt: Date
}

export const TICKET_COLUMNS = {
  hash: { name: 'hash', type: 'text', primary: true },
  caller: { name: 'caller', type: 'json', storable: true },
  expiresAt: { name: 'expires_at', type: 'timestamptz' },
} as const satisfies ColumnsOf<TicketRow>

/** A request under a key of its user; while `statusCode` is null it is still being answered. */
export interface IdempotencyRow {
  readonly userId: string
  readonly key: string
  readonly fingerprint: string
  readonly lock: string
  readonly createdAt: Date
  readonly lockedUntil: Date
  readonly statusCode: number | null
  readonly headers: Readonly<Record<string, string>> | null
  readonly body: string | null
}

export const IDEMPOTENCY_COLUMNS = {
  userId: { name: 'user_id', type: 'text', primary: true },
  key: { name: 'key', type: 'text', primary: true },
  fingerprint: { name: 'fingerprint', type: 'text' },
  lock: { name: 'lock', type: 'text' },
  createdAt: { name: 'created_at', type: 'timestamptz' },
  lockedUntil: { name: 'locked_until', type: 'timestamptz' },
  statusCode: { name: 'status_code', type: 'integer', nullable: true },
  headers: { name: 'headers', type: 'json', nullable: true },
  body: { name: 'body', type: 'text', nullable: true },
} as const satisfies ColumnsOf<IdempotencyRow>

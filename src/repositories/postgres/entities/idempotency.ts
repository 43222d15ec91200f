import { EntitySchema } from 'typeorm'

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

const primaryKeyConstraintName = 'polyphony_idempotency_pkey'

/** A request under a key of its user; without a `status_code` it is still being answered. */
export const IdempotencyEntity = new EntitySchema<IdempotencyRow>({
  name: 'PolyphonyIdempotency',
  tableName: 'polyphony_idempotency',
  columns: {
    userId: { type: 'text', name: 'user_id', primary: true, primaryKeyConstraintName },
    key: { type: 'text', primary: true, primaryKeyConstraintName },
    fingerprint: { type: 'text' },
    lock: { type: 'text' },
    createdAt: { type: 'timestamptz', name: 'created_at' },
    lockedUntil: { type: 'timestamptz', name: 'locked_until' },
    statusCode: { type: 'integer', name: 'status_code', nullable: true },
    headers: { type: 'json', nullable: true },
    body: { type: 'text', nullable: true },
  },
  indices: [{ name: 'polyphony_idempotency_by_age', columns: ['createdAt'] }],
})

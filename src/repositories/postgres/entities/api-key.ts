import { EntitySchema } from 'typeorm'
import type { Scope } from '../../../domain/users/api-key.ts'
import { storableText } from '../storable.ts'

export interface ApiKeyRow {
  readonly id: string
  readonly userId: string
  readonly name: string
  readonly scopes: Scope[]
  readonly hash: string
  readonly createdAt: Date
  readonly expiresAt: Date | null
  readonly revokedAt: Date | null
  readonly lastUsedAt: Date | null
}

export const ApiKeyEntity = new EntitySchema<ApiKeyRow>({
  name: 'PolyphonyApiKey',
  tableName: 'polyphony_api_keys',
  columns: {
    id: { type: 'text', primary: true, primaryKeyConstraintName: 'polyphony_api_keys_pkey', transformer: storableText },
    userId: { type: 'text', name: 'user_id', transformer: storableText },
    name: { type: 'text', transformer: storableText },
    scopes: { type: 'text', array: true },
    hash: { type: 'text' },
    createdAt: { type: 'timestamptz', name: 'created_at' },
    expiresAt: { type: 'timestamptz', name: 'expires_at', nullable: true },
    revokedAt: { type: 'timestamptz', name: 'revoked_at', nullable: true },
    lastUsedAt: { type: 'timestamptz', name: 'last_used_at', nullable: true },
  },
})

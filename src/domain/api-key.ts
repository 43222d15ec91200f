import type { Scope } from './scope.ts'

/** A key of a user, without its secret: that is shown once and kept nowhere. */
export interface ApiKey {
  /** 16 hexadecimal digits; a part of the token, and no secret. */
  readonly id: string
  readonly userId: string
  /** For people; empty where none was given. */
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly createdAt: Date
  /** From this instant on the key is refused. */
  readonly expiresAt?: Date
  readonly revokedAt?: Date
  /** To the minute. */
  readonly lastUsedAt?: Date
}

export const isUsableKey = ({ revokedAt, expiresAt }: ApiKey, now: Date): boolean =>
  revokedAt === undefined && (expiresAt === undefined || expiresAt.getTime() > now.getTime())

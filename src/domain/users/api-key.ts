/**
 * What a caller of the server may do, whatever rights its user has on threads. `read`: every reading and following; `write`: create, change and delete threads,
 * messages and flows; `execute`: what spends money; `share`: data-sharing policies and permissions of threads; `metrics`: read the metrics of the server.
 */
export const SCOPES = ['read', 'write', 'execute', 'share', 'metrics'] as const
export type Scope = (typeof SCOPES)[number]

/** What a key may do unless something else is asked for: everything a user does. */
export const USER_SCOPES: readonly Scope[] = ['read', 'write', 'execute', 'share']

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

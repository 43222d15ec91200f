/**
 * Operations that a caller of the server may use, within the rights that its user has on threads. `read`: all reads and
 * subscriptions; `write`: create, change and delete threads, messages and flows; `execute`: operations that spend
 * money; `share`: data-sharing policies and permissions of threads; `metrics`: read the metrics of the server;
 * `operate`: services, and the events of all users.
 */
export const SCOPES = ['read', 'write', 'execute', 'share', 'metrics', 'operate'] as const
export type Scope = (typeof SCOPES)[number]

/** The scopes of a key that is created without any: all operations of a user. */
export const USER_SCOPES: readonly Scope[] = ['read', 'write', 'execute', 'share']

/** A key of a user, without its secret, which is shown once and stored nowhere. */
export interface ApiKey {
  /** 16 hexadecimal digits. They are part of the token but not secret. */
  readonly id: string
  readonly userId: string
  /** Shown in lists of keys; empty if no name was given. */
  readonly name: string
  readonly scopes: readonly Scope[]
  readonly createdAt: Date
  /** From this instant on the key is refused. */
  readonly expiresAt?: Date
  readonly revokedAt?: Date
  /** Rounded to the minute. */
  readonly lastUsedAt?: Date
}

export const isUsableKey = ({ revokedAt, expiresAt }: ApiKey, now: Date): boolean =>
  revokedAt === undefined && (expiresAt === undefined || expiresAt.getTime() > now.getTime())

/**
 * What a caller of the server may do, whatever rights its user has on threads. `read`: every reading and following; `write`: create, change and delete threads,
 * messages and flows; `execute`: what spends money; `share`: data-sharing policies and permissions of threads; `metrics`: read the metrics of the server.
 */
export const SCOPES = ['read', 'write', 'execute', 'share', 'metrics'] as const
export type Scope = (typeof SCOPES)[number]

/** What a key may do unless something else is asked for: everything a user does. */
export const USER_SCOPES: readonly Scope[] = ['read', 'write', 'execute', 'share']

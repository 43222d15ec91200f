/**
 * What a caller over the network may do at all; rights on a thread come on top. `read`: see and follow; `write`: create, change and delete threads,
 * messages and flows; `execute`: what spends money; `share`: data-sharing policies and permissions of threads; `metrics`: figures of the server.
 */
export const SCOPES = ['read', 'write', 'execute', 'share', 'metrics'] as const
export type Scope = (typeof SCOPES)[number]

import * as z from 'zod'
import { SCOPES, type Scope } from '../../domain/users/api-key.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** On whose behalf a request is answered. */
export interface Caller {
  readonly userId: string
  readonly scopes: readonly Scope[]
  /** `local`: nobody has a key yet, and the server listens on this machine only. */
  readonly via: 'local' | 'key' | 'jwt'
  readonly keyId?: string
  /** Milliseconds since 1970, of a token. */
  readonly expiresAtMs?: number
}

/** A caller as a ticket carries it from one process to another. */
export const storedCaller = z.object({
  userId: z.string(),
  scopes: z.array(z.enum(SCOPES)),
  via: z.enum(['local', 'key', 'jwt']),
  keyId: z.string().optional(),
  expiresAtMs: z.number().optional(),
})

/** The user of a server without keys; the same who runs flows at the command line. */
const LOCAL_USER = 'local'

export const LOCAL_CALLER: Caller = { userId: LOCAL_USER, scopes: SCOPES, via: 'local' }

/** The error that ends an answer whose key or token was valid when its request began. */
export const authenticationEnded = (): OrchestratorError =>
  new OrchestratorError('UNAUTHENTICATED', 'Authentication expired or was revoked')

/** Throws PERMISSION_DENIED where the key or token was not made for this. */
export function requireScope(caller: Caller, scope: Scope): void {
  if (caller.scopes.includes(scope)) return
  throw new OrchestratorError('PERMISSION_DENIED', `This key lacks the scope "${scope}"`, {
    details: { scope, scopes: caller.scopes },
  })
}

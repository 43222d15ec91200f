import * as z from 'zod'
import { SCOPES, type Scope } from '../../domain/users/api-key.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** The authenticated client of a request: the user that it acts for, and what its key or token allows. */
export interface Caller {
  readonly userId: string
  readonly scopes: readonly Scope[]
  /**
   * `local`: there are no keys, and only this machine can reach the server. `app`: the app around a mounted server has
   * authenticated the user. `control`: the command line of the operator. `run`: a process under supervision.
   */
  readonly via: 'local' | 'key' | 'jwt' | 'app' | 'control' | 'run'
  /** Id of the API key, for callers with one. */
  readonly keyId?: string
  /** Milliseconds since 1970 at which the key or token expires. Undefined: never. */
  readonly expiresAtMs?: number
  /** Id of the service that a process under supervision belongs to. It may announce this service and nothing else. */
  readonly serviceId?: string
}

/** Schema of a caller as the database stores it with a ticket. */
export const storedCaller = z.object({
  userId: z.string(),
  scopes: z.array(z.enum(SCOPES)),
  via: z.enum(['local', 'key', 'jwt', 'app', 'control']),
  keyId: z.string().optional(),
  expiresAtMs: z.number().optional(),
})

/** The user of a server without keys, and of the command line. */
const LOCAL_USER = 'local'

export const LOCAL_CALLER: Caller = { userId: LOCAL_USER, scopes: SCOPES, via: 'local' }

/** The caller with the key of the configuration: the user of the command line, with every scope. */
export const CONFIGURED_CALLER: Caller = { userId: LOCAL_USER, scopes: SCOPES, via: 'key' }

/** The error that ends an answer whose key or token was valid when its request began. */
export const authenticationEnded = (): OrchestratorError =>
  new OrchestratorError('UNAUTHENTICATED', 'Authentication expired or was revoked')

/** Throws PERMISSION_DENIED when the key or token of the caller lacks the scope. */
export function requireScope(caller: Caller, scope: Scope): void {
  if (caller.scopes.includes(scope)) return
  throw new OrchestratorError('PERMISSION_DENIED', `This key lacks the scope "${scope}"`, {
    details: { scope, scopes: caller.scopes },
  })
}

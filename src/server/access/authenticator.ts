import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyBaseLogger } from 'fastify'
import type { ServerSettings } from '../../config/config.ts'
import type { ApiKey } from '../../domain/users/api-key.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ApiKeyService } from '../../policies/policy.ts'
import { type Caller, LOCAL_CALLER } from './caller.ts'
import { createTokenVerifier } from './token-verifier.ts'

export interface AuthenticateDeps {
  readonly apiKeys: ApiKeyService
  readonly settings: Pick<ServerSettings, 'jwt'>
  /** Only this machine reaches the server: without any key whoever does is the local user. */
  readonly isLoopback: boolean
  readonly now: () => number
  readonly logger: Pick<FastifyBaseLogger, 'warn'>
}

export interface Authenticator {
  /** Who sends this. Rejects with UNAUTHENTICATED, the same for an unknown, wrong, revoked or expired key. */
  authenticate(headers: IncomingHttpHeaders): Promise<Caller>
  /** Whether a caller of a connection that stays open still is one. */
  isCurrent(caller: Caller): Promise<boolean>
}

const KEYS_LOOK_MS = 1_000

export function createAuthenticator({ apiKeys, settings, isLoopback, now, logger }: AuthenticateDeps): Authenticator {
  const verifyToken =
    settings.jwt &&
    createTokenVerifier(settings.jwt, (reason) => logger.warn({ reason }, 'the keys of the issuer of tokens could not be read'))
  const isOpen = createOpenness(apiKeys, isLoopback && settings.jwt === undefined, now)

  return {
    async authenticate({ authorization }) {
      if (authorization === undefined) {
        if (await isOpen()) return LOCAL_CALLER
        throw unauthenticated('expected an Authorization header')
      }
      const token = /^Bearer ([\x21-\x7e]{1,8192})$/i.exec(authorization)?.[1]
      if (token === undefined) throw unauthenticated('expected `Authorization: Bearer <key>`')
      const key = token.startsWith('pk_') ? await apiKeys.verify(token) : undefined
      if (key) return toCaller(key)
      const caller = token.startsWith('pk_') ? undefined : await verifyToken?.(token)
      if (caller) return caller
      // Tools that insist on a key send a made-up one: without keys it says nothing.
      if (await isOpen()) return LOCAL_CALLER
      throw unauthenticated('this key or token is not valid')
    },
    async isCurrent(caller) {
      if (caller.via === 'local') return isOpen()
      if (caller.expiresAtMs !== undefined && caller.expiresAtMs <= now()) return false
      return caller.keyId === undefined || apiKeys.isUsable(caller.keyId)
    },
  }
}

/** Whether nobody has a key yet. Asked at every request, looked up once a second. */
function createOpenness(apiKeys: ApiKeyService, canBeOpen: boolean, now: () => number): () => Promise<boolean> {
  let known: { readonly atMs: number; readonly open: Promise<boolean> } | undefined
  return () => {
    if (!canBeOpen) return Promise.resolve(false)
    if (known && now() - known.atMs < KEYS_LOOK_MS) return known.open
    const open = apiKeys.exist().then((exist) => !exist)
    const looked = { atMs: now(), open }
    known = looked
    // A database that was away for a moment is asked again.
    open.catch(() => {
      if (known === looked) known = undefined
    })
    return open
  }
}

const toCaller = ({ userId, scopes, id, expiresAt }: ApiKey): Caller => ({
  userId,
  scopes,
  via: 'key',
  keyId: id,
  expiresAtMs: expiresAt?.getTime(),
})

const unauthenticated = (message: string): OrchestratorError =>
  new OrchestratorError('UNAUTHENTICATED', `Not authenticated: ${message}`)

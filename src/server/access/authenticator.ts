import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { FastifyBaseLogger } from 'fastify'
import type { ServerSettings } from '../../config/config.ts'
import type { ApiKey } from '../../domain/users/api-key.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ApiKeyService } from '../../policies/policy.ts'
import { type Caller, CONFIGURED_CALLER, LOCAL_CALLER } from './caller.ts'
import type { ProcessTokens } from './process-tokens.ts'
import { createTokenVerifier } from './token-verifier.ts'

export interface AuthenticatorDeps {
  readonly apiKeys: ApiKeyService
  readonly settings: Pick<ServerSettings, 'jwt' | 'apiKey'>
  /**
   * Whether only this machine can reach the server. If so, every client is the local user as long as there are no keys.
   */
  readonly isLoopback: boolean
  /** Whether the client of a request is on this machine; default: every client of a server that only it can reach. */
  readonly isLocal?: (request: IncomingMessage) => boolean
  /** The caller whom the app around a mounted server knows already; undefined: it is found by key or token. */
  readonly identify?: (request: IncomingMessage) => Promise<Caller | undefined>
  readonly processTokens: ProcessTokens
  readonly now: () => number
  readonly logger: Pick<FastifyBaseLogger, 'warn'>
}

/** Authenticates clients by API key or JWT. Implemented by createAuthenticator, called by all interfaces. */
export interface Authenticator {
  /**
   * The caller of a request. Rejects with UNAUTHENTICATED; the message is the same for an unknown, wrong, revoked and
   * expired key.
   */
  authenticate(request: IncomingMessage): Promise<Caller>
  /**
   * Whether the key or token of a caller is still valid. The in-flight register calls this for connections that stay
   * open.
   */
  isCurrent(caller: Caller): Promise<boolean>
}

/** Milliseconds for which the answer to "are there any keys" is cached. */
const KEYS_EXIST_CACHE_MS = 1_000

export function createAuthenticator(deps: AuthenticatorDeps): Authenticator {
  const { apiKeys, settings, isLoopback, isLocal = () => true, identify, processTokens, now, logger } = deps
  const verifyToken =
    settings.jwt &&
    createTokenVerifier(settings.jwt, (reason) => logger.warn({ reason }, 'the key set of the token issuer could not be read'))
  const isOpen = createOpenCheck(apiKeys, isLoopback && settings.jwt === undefined && settings.apiKey === undefined, now)
  const configuredKey = settings.apiKey === undefined ? undefined : hashOf(settings.apiKey)
  const isOpenTo = async (request: IncomingMessage) => isLocal(request) && isOpen()

  return {
    async authenticate(request) {
      const identified = await identify?.(request)
      if (identified) return identified
      const { authorization, isKey } = credentialsOf(request)
      if (authorization === undefined) {
        if (await isOpenTo(request)) return LOCAL_CALLER
        throw unauthenticated('expected an Authorization header')
      }
      const token = /^Bearer ([\x21-\x7e]{1,8192})$/i.exec(authorization)?.[1]
      if (token === undefined) throw unauthenticated('expected `Authorization: Bearer <key>`')
      if (configuredKey && timingSafeEqual(configuredKey, hashOf(token))) return CONFIGURED_CALLER
      const known = processTokens.find(token)
      if (known) return known
      const key = token.startsWith('pk_') ? await apiKeys.verify(token) : undefined
      if (key) return toCaller(key)
      const caller = isKey || token.startsWith('pk_') ? undefined : await verifyToken?.(token)
      if (caller) return caller
      // Some tools require a key, so their users invent one for a server without keys. It is ignored. The token of a
      // run that has ended is refused: its program must not become the local user.
      if (!processTokens.hasForm(token) && (await isOpenTo(request))) return LOCAL_CALLER
      throw unauthenticated('this key or token is not valid')
    },
    async isCurrent(caller) {
      if (caller.via === 'local') return isOpen()
      if (caller.expiresAtMs !== undefined && caller.expiresAtMs <= now()) return false
      return caller.keyId === undefined || apiKeys.isUsable(caller.keyId)
    },
  }
}

/**
 * Returns a function that resolves with whether the server accepts clients without a key, because there are no keys
 * yet. Called with every request.
 */
function createOpenCheck(apiKeys: ApiKeyService, canBeOpen: boolean, now: () => number): () => Promise<boolean> {
  let known: { readonly atMs: number; readonly open: Promise<boolean> } | undefined
  return () => {
    if (!canBeOpen) return Promise.resolve(false)
    if (known && now() - known.atMs < KEYS_EXIST_CACHE_MS) return known.open
    const open = apiKeys.exist().then((exist) => !exist)
    const latest = { atMs: now(), open }
    known = latest
    // An error must not be cached: the database may be unavailable only for a moment.
    open.catch(() => {
      if (known === latest) known = undefined
    })
    return open
  }
}

/** The Authorization header, or the header in which clients of other services send their key, and never a token. */
function credentialsOf({ headers }: IncomingMessage): { readonly authorization: string | undefined; readonly isKey: boolean } {
  const { authorization, 'x-api-key': apiKey } = headers
  const isKey = authorization === undefined && typeof apiKey === 'string'
  return isKey ? { authorization: `Bearer ${apiKey}`, isKey } : { authorization, isKey }
}

/** Hashes are compared, so that the time of the comparison says nothing about the key. */
const hashOf = (text: string): Buffer => createHash('sha256').update(text).digest()

const toCaller = ({ userId, scopes, id, expiresAt }: ApiKey): Caller => ({
  userId,
  scopes,
  via: 'key',
  keyId: id,
  expiresAtMs: expiresAt?.getTime(),
})

const unauthenticated = (message: string): OrchestratorError =>
  new OrchestratorError('UNAUTHENTICATED', `Not authenticated: ${message}`)

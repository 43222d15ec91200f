import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify } from 'jose'
import type { ServerSettings } from '../../config/config.ts'
import { SCOPES, type Scope, USER_SCOPES } from '../../domain/users/api-key.ts'
import { id } from '../../protocol/instant.ts'
import type { Caller } from './caller.ts'

type JwtSettings = NonNullable<ServerSettings['jwt']>

/** Asymmetric algorithms only: with HMAC the public key of the issuer would be the secret. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']
const CLOCK_TOLERANCE_S = 5
/** Codes of `jose` for a key set that could not be fetched, arrived too late or is invalid. */
const KEY_SET_CODES = ['ERR_JOSE_GENERIC', 'ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID']

/**
 * Returns a function that verifies a token (JWT) of the configured issuer and resolves with its caller, with undefined
 * for every other token. Keys come only from `jwksUrl`, never from an address in the token. `onKeysMissing` is called
 * when the key set could not be read.
 */
export function createTokenVerifier(
  { issuer, audience, jwksUrl, userClaim, scopeClaim }: JwtSettings,
  onKeysMissing: (reason: string) => void,
) {
  const keys = createRemoteJWKSet(new URL(jwksUrl), { timeoutDuration: 5_000, cooldownDuration: 30_000 })
  return async (token: string): Promise<Caller | undefined> => {
    const payload = await verify(token)
    const user = id.safeParse(payload?.[userClaim])
    if (payload?.exp === undefined || !user.success) return undefined
    return {
      userId: user.data,
      scopes: toScopes(payload[scopeClaim]),
      via: 'jwt',
      expiresAtMs: (payload.exp + CLOCK_TOLERANCE_S) * 1_000,
    }
  }

  async function verify(token: string): Promise<JWTPayload | undefined> {
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer,
        audience,
        algorithms: ALGORITHMS,
        clockTolerance: CLOCK_TOLERANCE_S,
        requiredClaims: ['exp'],
      })
      return payload
    } catch (error) {
      const reason = missingKeys(error)
      if (reason !== undefined) onKeysMissing(reason)
      return undefined
    }
  }
}

/** The reason why the key set could not be read; undefined when the token is invalid. */
function missingKeys(error: unknown): string | undefined {
  if (!(error instanceof errors.JOSEError)) return error instanceof Error ? error.name : typeof error
  return KEY_SET_CODES.includes(error.code) ? error.code : undefined
}

/**
 * The scopes of Polyphony in a claim: a list, or text separated by spaces. A token without the claim has the scopes of
 * users.
 */
function toScopes(claim: unknown): readonly Scope[] {
  if (claim === undefined) return USER_SCOPES
  const named: readonly unknown[] = Array.isArray(claim) ? claim : String(claim).split(' ')
  return SCOPES.filter((scope) => named.includes(scope) || named.includes(`polyphony:${scope}`))
}

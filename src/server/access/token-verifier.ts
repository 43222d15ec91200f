import { createRemoteJWKSet, errors, type JWTPayload, jwtVerify } from 'jose'
import type { ServerSettings } from '../../config/config.ts'
import { SCOPES, type Scope, USER_SCOPES } from '../../domain/users/api-key.ts'
import { id } from '../../protocol/instant.ts'
import type { Caller } from './caller.ts'

type JwtSettings = NonNullable<ServerSettings['jwt']>

/** Signatures that only the issuer can make: with an HMAC algorithm a public key would be the secret. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']
const CLOCK_TOLERANCE_S = 5
/** What `jose` says of a key set that did not come, came late or is none. */
const KEY_SET_CODES = ['ERR_JOSE_GENERIC', 'ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID']

/** Checks tokens of the configured issuer; `undefined` for every other one. `onKeysMissing` is told where that is the issuer's fault. Keys come from `jwksUrl` alone: what a token names is not asked. */
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

/** Why the issuer's keys could not be had; `undefined` where it is the token that is wrong. */
function missingKeys(error: unknown): string | undefined {
  if (!(error instanceof errors.JOSEError)) return error instanceof Error ? error.name : typeof error
  return KEY_SET_CODES.includes(error.code) ? error.code : undefined
}

/** Scopes of ours in a claim: a list, or text separated by spaces. A token without the claim may do what its user may. */
function toScopes(claim: unknown): readonly Scope[] {
  if (claim === undefined) return USER_SCOPES
  const named: readonly unknown[] = Array.isArray(claim) ? claim : String(claim).split(' ')
  return SCOPES.filter((scope) => named.includes(scope) || named.includes(`polyphony:${scope}`))
}

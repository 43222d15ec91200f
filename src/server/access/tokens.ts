import { createRemoteJWKSet, type JWTPayload, jwtVerify } from 'jose'
import type { ServerSettings } from '../../config/config.ts'
import { SCOPES, type Scope, USER_SCOPES } from '../../domain/scope.ts'
import { id } from '../../protocol/instant.ts'
import type { Caller } from './caller.ts'

type JwtSettings = NonNullable<ServerSettings['jwt']>

/** Signatures that only the issuer can make: with an HMAC algorithm a public key would be the secret. */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']
const CLOCK_TOLERANCE_S = 5

/** Checks tokens of the configured issuer; `undefined` for every other one. Keys come from `jwksUrl` alone: what a token names is not asked. */
export function createTokenVerifier({ issuer, audience, jwksUrl, userClaim, scopeClaim }: JwtSettings) {
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
    } catch {
      return undefined
    }
  }
}

/** Scopes of ours in a claim: a list, or text separated by spaces. A token without the claim may do what its user may. */
function toScopes(claim: unknown): readonly Scope[] {
  if (claim === undefined) return USER_SCOPES
  const named: readonly unknown[] = Array.isArray(claim) ? claim : String(claim).split(' ')
  return SCOPES.filter((scope) => named.includes(scope) || named.includes(`polyphony:${scope}`))
}

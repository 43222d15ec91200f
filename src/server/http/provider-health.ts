import { LRUCache } from 'lru-cache'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ProviderInfo, ProviderService } from '../../providers/provider.ts'

export interface CachedHealth {
  readonly providerId: string
  readonly status: 'up' | 'down' | 'unknown'
  readonly code?: string
  /** ISO 8601 instant. */
  readonly checkedAt: string
}

const CACHE_TTL_MS = 15_000
const PING_TIMEOUT_MS = 5_000

/**
 * Checks whether configured providers respond. Each provider gets at most one request in 15 seconds, for all clients
 * together.
 */
export function createProviderHealth(providers: ProviderService) {
  const cache = new LRUCache<string, Promise<CachedHealth>>({ max: 100, ttl: CACHE_TTL_MS })

  function describe(id: string): ProviderInfo {
    const all = providers.list()
    const info = all.find((candidate) => candidate.id === id)
    if (info) return info
    const ids = all.map((candidate) => candidate.id)
    throw new OrchestratorError('PROVIDER_NOT_FOUND', `expected one of ${ids.join(', ')}; found "${id.slice(0, 50)}"`)
  }

  async function ping(id: string): Promise<CachedHealth> {
    const answer = (status: CachedHealth['status'], code?: string): CachedHealth => ({
      providerId: id,
      status,
      code,
      checkedAt: new Date().toISOString(),
    })
    try {
      const provider = await providers.get(id)
      if (!provider.ping) return answer('unknown')
      await provider.ping(AbortSignal.timeout(PING_TIMEOUT_MS))
      return answer('up')
    } catch (error) {
      return answer('down', OrchestratorError.is(error) ? error.code : 'PROVIDER_UNAVAILABLE')
    }
  }

  return {
    /** Throws PROVIDER_NOT_FOUND. */
    describe,
    /** Never rejects for a provider that does not respond. Throws PROVIDER_NOT_FOUND. */
    check(id: string): Promise<CachedHealth> {
      describe(id)
      const known = cache.get(id)
      if (known) return known
      const result = ping(id)
      cache.set(id, result)
      return result
    },
  }
}

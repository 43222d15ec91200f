import type { FastifyRateLimitStore, FastifyRateLimitStoreCtor } from '@fastify/rate-limit'
import type { FastifyBaseLogger } from 'fastify'
import { LRUCache } from 'lru-cache'
import type { RequestCountRepository } from '../../repositories/repository.ts'

/** Callers that this server counts alone while the database does not answer. */
const MAX_OWN_COUNTS = 20_000

type Count = Awaited<ReturnType<RequestCountRepository['count']>>

/**
 * The store of @fastify/rate-limit over all servers that share the database. While the database does not answer, each
 * server counts its own requests, so that an outage neither opens the server to floods nor closes it.
 */
export function createCountStore(counts: Pick<RequestCountRepository, 'count'>, logger: Pick<FastifyBaseLogger, 'warn'>) {
  const own = new LRUCache<string, { count: number }>({ max: MAX_OWN_COUNTS, ttlAutopurge: false })
  let isAway = false

  function countHere(key: string, windowMs: number): Count {
    const known = own.get(key) ?? { count: 0 }
    known.count += 1
    if (known.count === 1) own.set(key, known, { ttl: windowMs })
    return { count: known.count, leftMs: own.getRemainingTTL(key) }
  }

  async function count(key: string, windowMs: number): Promise<Count> {
    try {
      const counted = await counts.count(key, windowMs)
      isAway = false
      return counted
    } catch (error) {
      if (!isAway) {
        logger.warn({ err: error }, 'requests could not be counted over all servers; this server counts its own for now')
      }
      isAway = true
      return countHere(key, windowMs)
    }
  }

  // The plugin constructs its store itself, so that this must be a class.
  class CountStore implements FastifyRateLimitStore {
    incr(...[key, done, windowMs = 60_000]: Parameters<FastifyRateLimitStore['incr']>): void {
      void count(key, windowMs).then(({ count: current, leftMs: ttl }) => done(null, { current, ttl }))
    }
    child(): FastifyRateLimitStore {
      return this
    }
  }
  return CountStore satisfies FastifyRateLimitStoreCtor
}

import { randomBytes } from 'node:crypto'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import { clearRedis, openTestRedis } from '../support/redis.ts'

export interface ChaosEngine {
  readonly name: string
  /** Configuration of a worker over the database and the provider. */
  readonly configOf: (database: string, providerUrl: string) => PolyphonyConfigInput
  /** Why the engine cannot run here. */
  readonly problem?: string
  /** Removes what the engine keeps outside the database. */
  readonly clear?: () => Promise<void>
}

const configOf = (database: string, providerUrl: string): PolyphonyConfigInput => ({
  database,
  logLevel: 'error',
  providers: { desk: { kind: 'openai-compatible', baseUrl: providerUrl, apiKey: 'sk-key' } },
})

const queue = `polyphony-test-${randomBytes(6).toString('hex')}`
const bullmqOf = (database: string, providerUrl: string): PolyphonyConfigInput => ({
  ...configOf(database, providerUrl),
  engine: 'bullmq',
  bullmq: { lockMs: 5_000, stalledMs: 2_000, queue },
})

const redis = await openTestRedis()

/** The engines whose workers share one Postgres. */
export const CHAOS_ENGINES: readonly ChaosEngine[] = [
  { name: 'local', configOf },
  { name: 'bullmq on Postgres', configOf: bullmqOf },
  {
    name: redis === undefined ? 'bullmq on Redis (skipped: no Redis answers)' : 'bullmq on Redis',
    configOf: (database, providerUrl) => ({ ...bullmqOf(database, providerUrl), redisUrl: redis?.url }),
    ...(redis ? { clear: () => clearRedis(redis.url, queue) } : { problem: 'no Redis answers' }),
  },
]

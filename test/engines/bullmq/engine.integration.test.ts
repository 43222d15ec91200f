import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import { describe } from 'vitest'
import { addSlotSql } from '../../../src/engines/bullmq/add-slot-sql.ts'
import { openBullmq } from '../../../src/engines/bullmq/open-bullmq.ts'
import { openStore } from '../../../src/repositories/database.ts'
import { describeEngine } from '../../contracts/engine.ts'
import { openTestPostgres } from '../../support/postgres.ts'
import { openTestRedis } from '../../support/redis.ts'

const QUEUE = `polyphony-test-${randomBytes(6).toString('hex')}`
const settings = { concurrency: 10, lockMs: 5_000, stalledMs: 500, queue: QUEUE }

describeEngine({
  name: 'bullmq on Postgres',
  open: async () => {
    const { url, drop } = await openTestPostgres()
    const open = () => openBullmq({ database: { connectionString: url }, mayCreateSchema: true, settings })
    // The first one creates the schema, which the store needs.
    const first = await open()
    const store = await openStore({ url, addJob: addSlotSql(QUEUE) })
    return {
      store,
      create: async (deps) => (await open()).create(deps),
      close: async () => {
        await first.close()
        await store.close()
        await drop()
      },
    }
  },
})

const redis = await openTestRedis()

describe.skipIf(!redis)(redis ? 'with Redis' : 'with Redis: skipped, because no Redis answers', () => {
  describeEngine({
    name: 'bullmq on Redis',
    open: async () => {
      const { url, drop } = await openTestPostgres()
      const store = await openStore({ url })
      return {
        store,
        create: async (deps) =>
          (
            await openBullmq({ database: { connectionString: url }, mayCreateSchema: true, redisUrl: redis?.url, settings })
          ).create(deps),
        close: async () => {
          await store.close()
          await drop()
          const client = new Redis(redis?.url ?? '')
          const keys = await client.keys(`${QUEUE}:*`)
          if (keys.length > 0) await client.del(keys)
          client.disconnect()
        },
      }
    },
  })
})

import { randomBytes } from 'node:crypto'
import { Redis } from 'ioredis'
import type { Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { addSlotSql } from '../../../src/engines/bullmq/add-slot-sql.ts'
import { migrateBullmq, openBullmqPool, prepareBullmqSchema } from '../../../src/engines/bullmq/postgres-schema.ts'
import { createPostgresSlots } from '../../../src/engines/bullmq/postgres-slots.ts'
import { createRedisSlots } from '../../../src/engines/bullmq/redis-slots.ts'
import { describeSlotQueue } from '../../contracts/slot-queue.ts'
import { openTestPostgres, type TestPostgres } from '../../support/postgres.ts'
import { openTestRedis, type TestRedis } from '../../support/redis.ts'

const ignoreError = () => undefined

describe('BullMQ on Postgres', () => {
  let server: TestPostgres
  let pool: Pool
  beforeAll(async () => {
    server = await openTestPostgres()
    pool = openBullmqPool({ connectionString: server.url })
  })
  afterAll(async () => {
    await pool.end()
    await server.drop()
  })

  test('processes that create the schema at the same time wait for each other', async () => {
    await Promise.all([1, 2, 3].map(() => prepareBullmqSchema(pool, true)))
    expect(await migrateBullmq(pool)).toEqual([])
  })

  test('a schema that is behind is refused with the command that changes it', async () => {
    const { rows } = await pool.query('delete from migration where version = (select max(version) from migration) returning *')
    await expect(prepareBullmqSchema(pool, true)).rejects.toMatchObject({
      code: 'DATABASE_SCHEMA_MISMATCH',
      message: expect.stringContaining('run "polyphony migrate"'),
    })
    const [row] = rows
    await pool.query('insert into migration (version, name, min_client_version) values ($1, $2, $3)', [
      row.version,
      row.name,
      row.min_client_version,
    ])
    await prepareBullmqSchema(pool, true)
  })

  test('the SQL that adds a slot writes the row that BullMQ writes', async () => {
    const slots = createPostgresSlots({
      queueName: 'rows',
      pool: openBullmqPool({ connectionString: server.url }),
      onError: ignoreError,
    })
    await slots.add()
    await pool.query(`select ${addSlotSql('rows')}`)
    const { rows } = await pool.query(
      `select to_jsonb(j) - 'id' - 'seq' - 'added_at_ms' - 'opts' as row, opts - 'jobId' as options,
         abs(added_at_ms - extract(epoch from clock_timestamp()) * 1000) < 60000 as recent, opts->>'jobId' as named
       from job j where queue = 'rows' order by seq`,
    )
    const [ofBullmq, ofSql] = rows
    expect(ofSql.row).toEqual(ofBullmq.row)
    expect({ delay: 0, ...ofSql.options }).toEqual({ delay: 0, ...ofBullmq.options })
    expect([ofBullmq.recent, ofSql.recent]).toEqual([true, true])
    const { rows: events } = await pool.query("select event, data - 'jobId' as data from event where queue = 'rows' order by id")
    expect(events.slice(2)).toEqual(events.slice(0, 2))
    await slots.close()
  })

  test('a slot that is added in a transaction exists when the transaction is committed, and not when it is rolled back', async () => {
    const slots = createPostgresSlots({
      queueName: 'transactions',
      pool: openBullmqPool({ connectionString: server.url }),
      onError: ignoreError,
    })
    const client = await pool.connect()
    for (const end of ['rollback', 'commit']) {
      await client.query('begin')
      await client.query(`select ${addSlotSql('transactions')}`)
      await client.query(end)
    }
    client.release()
    expect(await slots.countWaiting()).toBe(1)
    await slots.close()
  })

  describeSlotQueue({
    name: 'BullMQ on Postgres',
    open: () =>
      createPostgresSlots({ queueName: 'slots', pool: openBullmqPool({ connectionString: server.url }), onError: ignoreError }),
    async empty() {
      await pool.query('truncate job cascade')
    },
  })
})

const redis: TestRedis | undefined = await openTestRedis()

describe.skipIf(!redis)(redis ? 'BullMQ on Redis' : 'BullMQ on Redis: skipped, because no Redis answers', () => {
  const url = redis?.url ?? ''
  const prefix = `polyphony-test-${randomBytes(6).toString('hex')}`
  let client: Redis
  beforeAll(() => {
    client = new Redis(url)
  })
  const empty = async () => {
    const keys = await client.keys(`${prefix}:*`)
    if (keys.length > 0) await client.del(keys)
  }
  afterAll(async () => {
    await empty()
    client.disconnect()
  })

  describeSlotQueue({
    name: 'BullMQ on Redis',
    open: () => createRedisSlots({ queueName: 'slots', url, prefix, onError: ignoreError }),
    empty,
  })
})

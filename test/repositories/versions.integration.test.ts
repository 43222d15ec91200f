import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FLOW_SCHEMA_VERSION } from '../../src/domain/execution/flow.ts'
import { openStore } from '../../src/repositories/database.ts'
import type { Store } from '../../src/repositories/repository.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { instant, newClaim, newFlow, newThread } from '../support/stored-data.ts'

// What processes of two versions do to each other over one database; the other version is a value in the row.
let database: TestPostgres
let store: Store
let pool: pg.Pool
beforeAll(async () => {
  database = await openTestPostgres()
  store = await openStore({ url: database.url })
  pool = new pg.Pool({ connectionString: database.url, max: 1 })
  await store.threads.create(newThread({ id: 'thread' }))
})
afterAll(async () => {
  await pool?.end()
  await store?.close()
  await database?.drop()
})

async function queuedFlow(version: number, name: string): Promise<string> {
  const flow = newFlow('thread', { name })
  await store.journal.createFlow(flow)
  await store.journal.enqueue(newClaim(flow.id))
  await pool.query('update polyphony_flows set schema_version = $2 where id = $1', [flow.id, version])
  return flow.id
}

const next = (jobId?: string) =>
  store.queue.claimNext({ ownerId: 'owner', startedAt: instant(2), registered: [], ...(jobId && { jobId }) })

test('a process takes no queued flow of a newer version, takes those behind it, and reports it in health', async () => {
  const newer = FLOW_SCHEMA_VERSION + 1
  const left = await queuedFlow(newer, 'Newer')
  const behind = await queuedFlow(FLOW_SCHEMA_VERSION, 'Known')
  expect(await next()).toEqual({ flowId: behind, epoch: 1 })
  expect(await next()).toEqual({ unrunnable: 0 })
  expect(await store.queue.unrunnable([])).toEqual([{ name: 'Newer', version: '1', newerVersion: newer, flows: 1 }])
  expect(await store.flows.find(left)).toMatchObject({ ownerEpoch: 0, newerVersion: newer })
})

test('a repeated job does not get its flow again once a newer version has written it', async () => {
  const flowId = await queuedFlow(FLOW_SCHEMA_VERSION, 'Upgraded')
  expect(await next('job')).toEqual({ flowId, epoch: 1 })
  await pool.query('update polyphony_flows set schema_version = schema_version + 1 where id = $1', [flowId])
  expect(await next('job')).toEqual({ unrunnable: 0 })
})

test('a claim gives the flow the version of the process, so that older processes leave it alone from then on', async () => {
  const queued = await queuedFlow(FLOW_SCHEMA_VERSION - 1, 'Queued')
  await next()
  const started = newFlow('thread', { schemaVersion: FLOW_SCHEMA_VERSION - 1 })
  await store.journal.createFlow(started)
  await store.journal.claim(newClaim(started.id))
  const { rows } = await pool.query('select schema_version from polyphony_flows where id = any($1)', [[queued, started.id]])
  expect(rows).toEqual([{ schema_version: FLOW_SCHEMA_VERSION }, { schema_version: FLOW_SCHEMA_VERSION }])
})

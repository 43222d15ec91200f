import { readdirSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import type { DataSource } from 'typeorm'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { migrate, openStore } from '../../src/repositories/database.ts'
import type { FurtherSchema } from '../../src/repositories/migration-options.ts'
import { dataSourceOptions, openDataSource, poolOf } from '../../src/repositories/postgres/data-source.ts'
import { openPglite } from '../../src/repositories/postgres/embedded/pglite.ts'
import { prepareSchema, readSchemaState } from '../../src/repositories/postgres/schema.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { dumpSchema } from '../support/schema-dump.ts'

/** `1763596800000-create-polyphony.ts` holds `CreatePolyphony1763596800000`. */
const toMigrationName = (file: string): string => {
  const [, timestamp = '', words = ''] = /^(\d+)-([\w-]+)\.ts$/.exec(file) ?? []
  return words.replace(/(?:^|-)(\w)/g, (_, letter: string) => letter.toUpperCase()) + timestamp
}

const MIGRATIONS = readdirSync(new URL('../../migrations', import.meta.url))
  .filter((file) => /^\d/.test(file))
  .sort()
  .map(toMigrationName)

const golden = new URL('../fixtures/schema.sql', import.meta.url)

const databases = {
  async PGlite() {
    const { pool, close } = await openPglite('memory')
    return { options: dataSourceOptions({ pool }), close }
  },
  async Postgres() {
    const { url, drop } = await openTestPostgres()
    return { options: dataSourceOptions({ url }), close: drop }
  },
}

describe.each(Object.entries(databases))('migrations on %s', (_name, open) => {
  let dataSource: DataSource
  let close: () => Promise<void>
  beforeAll(async () => {
    const opened = await open()
    close = opened.close
    dataSource = await openDataSource(opened.options)
  })
  afterAll(async () => {
    await dataSource?.destroy()
    await close?.()
  })

  test('migrations build the schema that the entities describe, once', async () => {
    expect(await prepareSchema(dataSource, 'auto')).toEqual(MIGRATIONS)
    expect(await prepareSchema(dataSource, 'auto')).toEqual([])
    const { upQueries } = await dataSource.driver.createSchemaBuilder().log()
    expect(upQueries.map(({ query }) => query)).toEqual([])
  })

  // After an intended change: UPDATE_SCHEMA=1 npx vitest run test/repositories/migrations.integration.test.ts
  test('migrations build the recorded schema', async () => {
    const schema = await dumpSchema(poolOf(dataSource))
    if (process.env.UPDATE_SCHEMA) await writeFile(golden, schema)
    expect(schema).toBe(await readFile(golden, 'utf8'))
  })

  const record = (name: string) =>
    dataSource.query('insert into polyphony_migrations (timestamp, name) values (9999999999999, $1)', [name])
  const forget = () => dataSource.query('delete from polyphony_migrations where timestamp = 9999999999999')

  test('a database to which a newer version has only added something is opened', async () => {
    await record('AddFuture9999999999999')
    expect(await prepareSchema(dataSource, 'check')).toEqual([])
    expect(await readSchemaState(dataSource)).toEqual({ isEmpty: false, pending: [], newer: ['AddFuture9999999999999'] })
    await forget()
  })

  test('a database in which a newer version has made a breaking change is refused', async () => {
    await record('BreakingFuture9999999999999')
    for (const mode of ['auto', 'check'] as const) {
      await expect(prepareSchema(dataSource, mode)).rejects.toMatchObject({
        code: 'DATABASE_SCHEMA_MISMATCH',
        details: { newer: ['BreakingFuture9999999999999'] },
      })
    }
    await forget()
  })

  test('a schema that is behind is refused with the names of the missing migrations, unless it may be migrated', async () => {
    await dataSource.undoLastMigration()
    const pending = MIGRATIONS.slice(-1)
    const error = await prepareSchema(dataSource, 'check').catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'DATABASE_SCHEMA_MISMATCH', details: { pending } })
    expect(String(error)).toContain(pending[0])
    expect(String(error)).toContain('polyphony migrate')
    expect((await readSchemaState(dataSource)).pending).toEqual(pending)
    expect(await prepareSchema(dataSource, 'auto')).toEqual(pending)
    expect(await prepareSchema(dataSource, 'check')).toEqual([])
  })

  /** Undoes the newest migrations up to and including one. */
  const undo = async (name: string) => {
    const applied = await dataSource.query('select name from polyphony_migrations order by timestamp desc')
    const isLast = (row: { readonly name: string }) => row.name === name
    for (let left = applied.findIndex(isLast) + 1; left > 0; left--) await dataSource.undoLastMigration()
  }

  test('results, outcomes and updates of earlier versions are addressed by path after the migration', async () => {
    await undo('AddressByPath1764892800000')
    const flowId = '00000000-0000-7000-8000-000000000001'
    await dataSource.query(
      `insert into polyphony_flows (id, thread_id, user_id, name, flow_type, definition_hash, created_at, simulated, result)
       values ('${flowId}', 't', 'u', 'n', 'parallel', 'h', now(), false,
         '{"totalCost":1,"final":{"stepId":"draft","iteration":2,"sample":0}}')`,
    )
    const failed = JSON.stringify({ stepId: 'draft', iteration: 1, attempts: [], error: { code: 'STEP_FAILED' } })
    await dataSource.query(
      `insert into polyphony_flow_updates (flow_id, last_seq, batch) values
       ('${flowId}', 2, '[[1,"step_start",0,"draft",1],[2,"step_complete",0,"draft",1,${failed}]]')`,
    )
    await dataSource.query(
      `insert into polyphony_step_results (flow_id, step_id, iteration, sample, recorded, started_at, completed_at,
         execution_ms, retry_count, simulated, status, provider, model, action)
       values ('${flowId}', 'draft', 2, 0, 1, now(), now(), 1, 0, false, 'SUCCESS', 'p', 'm', 'generate')`,
    )
    await prepareSchema(dataSource, 'auto')
    expect((await dataSource.query('select result from polyphony_flows'))[0]).toEqual({
      result: { totalCost: 1, final: { path: 'draft', iteration: 2, sample: 0 } },
    })
    expect((await dataSource.query('select path from polyphony_step_results'))[0]).toEqual({ path: 'draft' })
    const [{ batch }] = await dataSource.query('select batch from polyphony_flow_updates')
    expect(batch).toEqual([
      [1, 'step_start', 0, 'draft', 1],
      [2, 'step_complete', 0, 'draft', 1, { ...JSON.parse(failed), path: 'draft' }],
    ])
    for (const table of ['flows', 'flow_updates', 'step_results']) await dataSource.query(`delete from polyphony_${table}`)
  })

  test('migrations can be undone', async () => {
    const columns = 'id, thread_id, user_id, name, flow_type, definition_hash, created_at, simulated'
    const outputs = async () => (await dataSource.query("select result->>'output' as output from polyphony_flows"))[0]
    await dataSource.query(
      `insert into polyphony_flows (${columns}, result, result_output) values (gen_random_uuid(), 't', 'u', 'n', 'parallel', 'h', now(), false, '{"totalCost":1}', 'all')`,
    )
    await undo('KeepOutputsApart1764374400000')
    expect(await dumpSchema(poolOf(dataSource))).not.toContain('polyphony_webhooks')
    expect(await dumpSchema(poolOf(dataSource))).not.toContain('result_output')
    expect(await outputs()).toEqual({ output: 'all' })
    await prepareSchema(dataSource, 'auto')
    expect(await dataSource.query('select result, result_output from polyphony_flows')).toEqual([
      { result: { totalCost: 1 }, result_output: 'all' },
    ])
    await undo('KeepRunOptions1764288000000')
    expect(await dumpSchema(poolOf(dataSource))).not.toContain('run_options')
    await undo('ServeCallers1764201600000')
    expect(await dumpSchema(poolOf(dataSource))).not.toContain('polyphony_api_keys')
    await undo('CreatePolyphony1763596800000')
    expect(await dumpSchema(poolOf(dataSource))).not.toContain('polyphony_flows')
    expect(await prepareSchema(dataSource, 'auto')).toEqual(MIGRATIONS)
    expect(await dumpSchema(poolOf(dataSource))).toBe(await readFile(golden, 'utf8'))
  })
})

describe('an empty Postgres', () => {
  let database: TestPostgres
  beforeEach(async () => {
    database = await openTestPostgres()
  })
  afterEach(() => database.drop())

  test('an empty database is opened by several processes at once, and one of them builds the schema', async () => {
    const applied = await Promise.all(Array.from({ length: 6 }, () => migrate(database.url)))
    expect(applied.flat()).toEqual(MIGRATIONS)
  })

  test.each(['auto', 'check'] as const)('an empty database gets its schema when a store opens it with %s', async (migrations) => {
    expect(await migrate(database.url, { check: true })).toEqual(MIGRATIONS)
    const store = await openStore({ url: database.url, migrations })
    expect(await migrate(database.url)).toEqual([])
    await store.close()
  })

  test('schemas of other libraries are migrated after that of Polyphony, and checked with it', async () => {
    const queue: FurtherSchema = {
      findPending: async () => ['queue-1'],
      async migrate(pool) {
        await pool.query('select from polyphony_flows')
        return ['queue-1']
      },
    }
    expect(await migrate(database.url, { check: true, schemas: [queue] })).toEqual([...MIGRATIONS, 'queue-1'])
    expect(await migrate(database.url, { schemas: [queue] })).toEqual([...MIGRATIONS, 'queue-1'])
  })
})

import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { exportDatabase, importDatabase, migrate } from '../../../src/repositories/database.ts'
import { rejection } from '../../support/caught.ts'
import { openTestPostgres, type TestPostgres } from '../../support/postgres.ts'
import { exportText } from '../../support/transfer.ts'

let postgres: TestPostgres
let admin: pg.Pool

beforeAll(async () => {
  postgres = await openTestPostgres()
  await migrate(postgres.url)
  admin = new pg.Pool({ connectionString: postgres.url, max: 1 })
})

afterAll(async () => {
  await admin?.end()
  await postgres?.drop()
})

/** Ends the connections of the transfer, and resolves when the server has ended them. */
async function endOtherConnections(): Promise<void> {
  await admin.query(
    'select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
  )
}

test('an import whose connection is lost rejects, and the process continues', async () => {
  const text = await exportText(postgres.url)
  async function* chunks(): AsyncGenerator<Uint8Array> {
    await endOtherConnections()
    yield Buffer.from(text)
  }
  expect(await rejection(importDatabase(postgres.url, chunks()))).toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
})

test('an export whose connection is lost rejects, and the process continues', async () => {
  const sink = async (chunks: AsyncIterable<string>) => {
    for await (const _ of chunks) await endOtherConnections()
  }
  const options = { program: '0.0.0-test', includeRunning: false }
  expect(await rejection(exportDatabase(postgres.url, sink, options))).toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
})

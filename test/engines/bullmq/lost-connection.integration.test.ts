import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { openBullmqPool } from '../../../src/engines/bullmq/postgres-schema.ts'
import { openTestPostgres } from '../../support/postgres.ts'

test('a client of the pool that is lost while it is in use ends no process', async () => {
  const { url, drop } = await openTestPostgres()
  onTestFinished(drop)
  const pool = openBullmqPool({ connectionString: url })
  onTestFinished(() => pool.end())
  const admin = new pg.Client(url)
  await admin.connect()
  onTestFinished(() => admin.end())
  const client = await pool.connect()
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  const ended = new Promise((resolve) => client.once('end', resolve))
  await admin.query('select pg_terminate_backend($1)', [rows[0]?.pid])
  await ended
  await expect(client.query('select 1')).rejects.toThrow()
  client.release()
  expect(await pool.query('select 1 as one')).toMatchObject({ rows: [{ one: 1 }] })
})

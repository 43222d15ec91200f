import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DataSource } from 'typeorm'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openStore } from '../../src/repositories/database.ts'
import { describeRepository } from '../contracts/repository.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { newClaim, newFlow, newThread } from '../support/stored-data.ts'

describe('opening a database', () => {
  test.each(['mysql://root:secret@host/x', 'secret', 'pglite://', 'memory://'])(
    'opening a database refuses the address %s without repeating it',
    async (url) => {
      const error = await openStore({ url }).catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('pglite://<directory>') })
      expect(String(error)).not.toContain('secret')
    },
  )

  test('opening a database refuses a DataSource that is not initialized', async () => {
    const dataSource = new DataSource({ type: 'postgres', url: 'postgres://localhost/x' })
    await expect(openStore({ url: dataSource })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  test('opening a database reports that no server listens', async () => {
    const opening = openStore({ url: 'postgres://postgres@127.0.0.1:1/nothing' })
    await expect(opening).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE', details: { reason: 'ECONNREFUSED' } })
  })

  test('opening a database reports that the server has no such database', async () => {
    const { url, drop } = await openTestPostgres()
    await drop()
    const opening = openStore({ url })
    await expect(opening).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE', retryable: false, details: { reason: '3D000' } })
  })

  test('opening a database reports that the directory cannot be created', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'polyphony-blocked-'))
    await writeFile(join(folder, 'file'), '')
    const opening = openStore({ url: `pglite://${join(folder, 'file', 'data')}` })
    await expect(opening).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE', details: { reason: 'ENOTDIR' } })
    await rm(folder, { recursive: true })
  })

  test('opening a database reports that the directory contains other files', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'polyphony-foreign-'))
    await writeFile(join(folder, 'PG_VERSION'), '9.6')
    await expect(openStore({ url: `pglite://${folder}` })).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
    await rm(folder, { recursive: true })
    await rm(`${folder}.lock`, { force: true })
  })
})

describe('a DataSource of a backend', () => {
  let database: TestPostgres
  let backend: DataSource
  beforeAll(async () => {
    database = await openTestPostgres()
    // A pool of one: nothing of Polyphony may hold a connection while it waits for another.
    backend = new DataSource({ type: 'postgres', url: database.url, poolSize: 1, connectTimeoutMS: 5_000 })
    await backend.initialize()
  })
  afterAll(async () => {
    await backend?.destroy()
    await database?.drop()
  })

  test('the DataSource of a backend stays open when the store closes, with its own tables beside those of Polyphony', async () => {
    await backend.query('create table customers (id integer primary key)')
    const store = await openStore({ url: backend })
    const thread = newThread()
    await store.threads.create(thread)
    const flow = newFlow(thread.id)
    await Promise.all([store.journal.createFlow(flow), backend.query('insert into customers values (1)')])
    expect(await store.journal.claim(newClaim(flow.id))).toEqual({ epoch: 1 })
    await store.close()
    expect(await backend.query('select id from customers')).toEqual([{ id: 1 }])
    expect(await backend.query('select id from polyphony_flows')).toEqual([{ id: flow.id }])
  })

  describeRepository('a shared DataSource', async () => {
    const store = await openStore({ url: backend })
    return { store, close: () => store.close() }
  })
})

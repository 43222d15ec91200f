import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { DataSource } from 'typeorm'
import { describe, expect, test } from 'vitest'
import { type ApiKeyRecords, createApiKeyService } from '../../src/policies/api-keys.ts'
import { openStore } from '../../src/repositories/database.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'
import { poolOf } from '../../src/repositories/postgres/data-source.ts'
import { openTestPostgres } from '../support/postgres.ts'

const START = Date.UTC(2026, 5, 1)

/** A service over a real store, with clocks to turn and a count of reads and noted uses. */
function setUp(options: { cacheMs?: number; records?: Partial<ApiKeyRecords> } = {}) {
  const { apiKeys: stored } = createMemoryStore()
  const clock = { ms: 0 }
  const seen = { reads: 0, ids: [] as string[], touches: 0 }
  const records: ApiKeyRecords = {
    ...stored,
    find: (id) => {
      seen.reads++
      seen.ids.push(id)
      return stored.find(id)
    },
    touch: (id, instant) => {
      seen.touches++
      return stored.touch(id, instant)
    },
    ...options.records,
  }
  const create = () =>
    createApiKeyService(records, {
      cacheMs: options.cacheMs,
      elapsedMs: () => clock.ms,
      now: () => new Date(START + clock.ms),
    })
  return { stored, clock, seen, keys: create(), otherProcess: create }
}
const at = (ms: number) => new Date(START + ms)

describe('a new key', () => {
  test('the token of a new key consists of its id and 256 random bits, and verifies', async () => {
    const { keys } = setUp()
    const { key, token } = await keys.create('ann', { name: 'laptop', scopes: ['metrics', 'read', 'read'], expiresAt: at(9) })
    expect(token).toMatch(/^pk_[0-9a-f]{16}_[0-9A-Za-z]{43}$/)
    expect(token.split('_')[1]).toBe(key.id)
    expect(key).toEqual({
      id: key.id,
      userId: 'ann',
      name: 'laptop',
      scopes: ['read', 'metrics'],
      createdAt: at(0),
      expiresAt: at(9),
    })
    expect(await keys.verify(token)).toEqual(key)
  })

  test('each token is unique', async () => {
    const { keys } = setUp()
    const made = await Promise.all(Array.from({ length: 200 }, () => keys.create('ann')))
    expect(new Set(made.map(({ token }) => token.slice(20))).size).toBe(200)
    expect(new Set(made.map(({ key }) => key.id)).size).toBe(200)
  })

  test('a new key has all scopes of users and no expiry by default', async () => {
    const { keys } = setUp()
    const { key } = await keys.create('ann')
    expect(key).toMatchObject({ name: '', scopes: ['read', 'write', 'execute', 'share'] })
    expect(key.expiresAt).toBeUndefined()
  })

  test.each([
    ['', {}],
    ['a\0b', {}],
    ['x'.repeat(201), {}],
    [7, {}],
    ['ann', { name: 'x'.repeat(201) }],
    ['ann', { name: 'a\0b' }],
    ['ann', { scopes: [] }],
    ['ann', { scopes: ['admin'] }],
    ['ann', { scopes: 'read' }],
    ['ann', { expiresAt: at(0) }],
    ['ann', { expiresAt: at(-1) }],
    ['ann', { expiresAt: new Date(Number.NaN) }],
    ['ann', { expiresAt: '2090-01-01' }],
    ['ann', { hash: 'x' }],
  ])('a key for %j with %j is rejected, and nothing is stored', async (userId, options) => {
    const { keys, stored } = setUp()
    // @ts-expect-error a caller without types
    await expect(keys.create(userId, options)).rejects.toMatchObject({ code: 'INPUT_INVALID' })
    expect(await stored.list()).toEqual([])
  })
})

describe('verifying', () => {
  test.each([
    ['nothing', () => ''],
    ['another scheme', (token: string) => token.replace('pk_', 'sk_')],
    ['an unknown id', (token: string) => `pk_0123456789abcdef_${token.slice(20)}`],
    ['an id in capitals', (token: string) => `pk_ABCDEF0123456789_${token.slice(20)}`],
    ['another secret', (token: string) => `${token.slice(0, 20)}${'x'.repeat(43)}`],
    ['the secret with its last character changed', (token: string) => token.slice(0, -1) + (token.endsWith('a') ? 'b' : 'a')],
    ['the secret without its last character', (token: string) => token.slice(0, -1)],
    ['a character more', (token: string) => `${token}a`],
    ['a newline at its end', (token: string) => `${token}\n`],
    ['a space before it', (token: string) => ` ${token}`],
    ['the id alone', (token: string) => token.slice(0, 19)],
    ['an empty secret', (token: string) => token.slice(0, 20)],
    ['NUL', () => '\0'],
    ['a quote', () => `pk_' or '1'='1_${'x'.repeat(43)}`],
    ['a very long text', () => 'pk_'.repeat(1_000_000)],
  ])('no key verifies for %s', async (_what, change) => {
    const { keys } = setUp()
    const { token } = await keys.create('ann')
    expect(await keys.verify(change(token))).toBeUndefined()
    expect(await keys.verify(token)).toBeDefined()
  })

  test.each([undefined, null, 7, {}, ['pk_']])('no key verifies for %j of an untyped caller', async (token) => {
    const { keys } = setUp()
    // @ts-expect-error a caller without types
    expect(await keys.verify(token)).toBeUndefined()
  })

  test('malformed tokens read the store like unknown ones, never with their own text', async () => {
    const { keys, seen, clock } = setUp()
    for (const token of ['', 'secret', "pk_'; drop table x_y", '\0']) {
      await keys.verify(token)
      clock.ms += 1_000
    }
    await keys.verify(`pk_0123456789abcdef_${'x'.repeat(43)}`)
    expect(seen.ids).toEqual(['none', 'none', 'none', 'none', '0123456789abcdef'])
  })

  test('a key is invalid from the instant at which it expires, even when cached', async () => {
    const { keys, clock } = setUp()
    const { key, token } = await keys.create('ann', { expiresAt: at(500) })
    clock.ms = 499
    expect([await keys.verify(token), await keys.isUsable(key.id)]).toEqual([key, true])
    clock.ms = 500
    expect([await keys.verify(token), await keys.isUsable(key.id)]).toEqual([undefined, false])
  })

  test('the store is read once a second for one key, however many requests verify it', async () => {
    const { keys, clock, seen } = setUp()
    const { token } = await keys.create('ann')
    await Promise.all(Array.from({ length: 20 }, () => keys.verify(token)))
    clock.ms = 999
    await keys.verify(token)
    expect(seen.reads).toBe(1)
    clock.ms = 1_000
    await keys.verify(token)
    expect(seen.reads).toBe(2)
  })

  test('a wrong secret is rejected while the right one is cached', async () => {
    const { keys } = setUp()
    const { token } = await keys.create('ann')
    await keys.verify(token)
    expect(await keys.verify(`${token.slice(0, 20)}${'x'.repeat(43)}`)).toBeUndefined()
  })

  test('verification fails where the store fails, and reads it again afterwards', async () => {
    const down = { isDown: true }
    const { stored } = setUp()
    const find: ApiKeyRecords['find'] = (id) => (down.isDown ? Promise.reject(new Error('away')) : stored.find(id))
    const keys = createApiKeyService({ ...stored, find })
    const { token } = await keys.create('ann')
    await expect(keys.verify(token)).rejects.toThrow('away')
    down.isDown = false
    expect(await keys.verify(token)).toMatchObject({ userId: 'ann' })
  })
})

describe('revoking', () => {
  test('a revocation takes effect at once in its process, within a second in others, and permanently', async () => {
    const { keys, otherProcess, clock } = setUp({ cacheMs: 60_000 })
    const other = otherProcess()
    const { key, token } = await keys.create('ann')
    await Promise.all([keys.verify(token), other.verify(token)])
    clock.ms = 10
    expect(await keys.revoke(key.id)).toEqual({ ...key, lastUsedAt: at(0), revokedAt: at(10) })
    expect([await keys.verify(token), await keys.isUsable(key.id)]).toEqual([undefined, false])
    clock.ms = 1_000
    expect([await other.verify(token), await other.isUsable(key.id)]).toEqual([undefined, false])
    clock.ms = 1e12
    expect(await keys.verify(token)).toBeUndefined()
  })

  test('a revocation takes effect although an older read is still running', async () => {
    const { stored } = setUp()
    let open = () => {}
    const gate = new Promise<void>((resolve) => {
      open = resolve
    })
    const reads: string[] = []
    const find: ApiKeyRecords['find'] = async (id) => {
      const found = await stored.find(id)
      if (reads.push(id) === 1) await gate
      return found
    }
    const keys = createApiKeyService({ ...stored, find })
    const { key, token } = await keys.create('ann')
    const early = keys.verify(token)
    await keys.revoke(key.id)
    expect(await keys.verify(token)).toBeUndefined()
    open()
    await early
    expect(await keys.verify(token)).toBeUndefined()
  })

  test('a second revocation keeps the first instant', async () => {
    const { keys, clock } = setUp()
    const { key } = await keys.create('ann')
    const revoked = await keys.revoke(key.id)
    clock.ms = 5_000
    expect(await keys.revoke(key.id)).toEqual(revoked)
  })

  test('revoking an unknown key is KEY_NOT_FOUND, and a token given by mistake is not repeated', async () => {
    const { keys } = setUp()
    const { token } = await keys.create('ann')
    for (const id of ['0123456789abcdef', 'nothing', '', '\0', token]) {
      const error: Error = await keys.revoke(id).then(
        () => new Error('revoked'),
        (thrown) => thrown,
      )
      expect(error).toMatchObject({ code: 'KEY_NOT_FOUND' })
      expect(JSON.stringify(error)).not.toContain(token)
    }
    expect(await keys.verify(token)).toBeDefined()
  })
})

describe('the last use', () => {
  test('the last use is recorded at most once a minute, by however many processes', async () => {
    const { keys, otherProcess, clock, seen } = setUp()
    const other = otherProcess()
    const { key, token } = await keys.create('ann')
    for (clock.ms = 0; clock.ms < 60_000; clock.ms += 1_500) {
      await keys.verify(token)
      await other.verify(token)
    }
    expect(seen.touches).toBe(1)
    clock.ms = 60_000
    await keys.verify(token)
    expect(seen.touches).toBe(2)
    expect((await keys.list('ann')).map(({ id, lastUsedAt }) => [id, lastUsedAt])).toEqual([[key.id, at(60_000)]])
  })

  test('a rejected key records no use', async () => {
    const { keys, seen } = setUp()
    const { key, token } = await keys.create('ann')
    await keys.verify(`${token.slice(0, 20)}${'x'.repeat(43)}`)
    await keys.revoke(key.id)
    await keys.verify(token)
    expect(seen.touches).toBe(0)
  })

  test.each([
    ['cannot be noted', () => Promise.reject(new Error('away'))],
    ['is never noted', () => new Promise<void>(() => {})],
  ])('recording a use that %s neither delays nor fails the request', async (_how, touch) => {
    const { keys } = setUp({ records: { touch } })
    const { key, token } = await keys.create('ann')
    expect(await keys.verify(token)).toEqual(key)
  })
})

describe('keys', () => {
  test('exist from the first one on, whatever becomes of it', async () => {
    const { keys, clock } = setUp()
    expect(await keys.exist()).toBe(false)
    const { key } = await keys.create('ann', { expiresAt: at(5_000) })
    expect(await keys.exist()).toBe(true)
    clock.ms = 6_000
    expect(await keys.exist()).toBe(true)
    await keys.revoke(key.id)
    expect(await keys.exist()).toBe(true)
  })

  test('keys are listed per user', async () => {
    const { keys } = setUp()
    const { key } = await keys.create('ann')
    await keys.create('bob')
    expect(await keys.list('ann')).toEqual([key])
    await expect(keys.list('')).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  })
})

describe('on Postgres', () => {
  test('no secret of a token is in any column of any table', async () => {
    const { url, drop } = await openTestPostgres()
    const store = await openStore({ url })
    const keys = createApiKeyService(store.apiKeys)
    const { key, token } = await keys.create('ann', { name: 'laptop' })
    await keys.verify(token)
    for (let waited = 0; (await keys.list('ann'))[0]?.lastUsedAt === undefined && waited < 100; waited++) await sleep(10)
    await keys.revoke(key.id)
    const reader = await new DataSource({ type: 'postgres', url }).initialize()
    const rows = await everyRow(poolOf(reader))
    await reader.destroy()
    await store.close()
    await drop()
    const text = JSON.stringify(rows)
    expect(text).toContain(key.id)
    expect(text).toContain('laptop')
    expect(text).not.toContain(token.slice(20))
    expect(text).not.toContain(Buffer.from(token.slice(20)).toString('hex'))
    expect(text).not.toContain(Buffer.from(token.slice(20)).toString('base64'))
  })

  test('two processes see the keys of each other', async () => {
    const { url, drop } = await openTestPostgres()
    const stores = [await openStore({ url }), await openStore({ url })] as const
    const [one, other] = stores.map((store) => createApiKeyService(store.apiKeys, { cacheMs: 0 }))
    const made = await one?.create('ann')
    expect(await other?.verify(made?.token ?? '')).toEqual(made?.key)
    await one?.revoke(made?.key.id ?? '')
    expect(await other?.verify(made?.token ?? '')).toBeUndefined()
    for (const store of stores) await store.close()
    await drop()
  })
})

/** Everything that stands in the database. */
async function everyRow(pool: Pick<pg.Pool, 'query'>): Promise<readonly unknown[]> {
  const { rows: tables } = await pool.query<{ name: string }>(
    `select quote_ident(table_name) as name from information_schema.tables where table_schema = 'public'`,
  )
  const found: unknown[] = []
  for (const { name } of tables) found.push(...(await pool.query(`select * from ${name}`)).rows)
  return found
}

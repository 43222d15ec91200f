import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createApiKeyService } from '../../src/policies/api-keys.ts'
import { openStore } from '../../src/repositories/database.ts'
import { lockDirectory } from '../../src/repositories/postgres/embedded/directory-lock.ts'
import type { Store } from '../../src/repositories/repository.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { createCommandLine } from './command-line.ts'

const commandLine = createCommandLine()
const TIMEOUT_MS = 120_000
const TOKEN = /^pk_([0-9a-f]{16})_[0-9A-Za-z]{43}$/

let database: TestPostgres
let store: Store
beforeAll(async () => {
  database = await openTestPostgres()
  store = await openStore({ url: database.url })
})
afterAll(async () => {
  commandLine.remove()
  await store?.close()
  await database?.drop()
})

const keys = (...words: string[]) => commandLine.run(['keys', ...words, '--database', database.url])

test(
  'a key is created for the local user, shown once, listed without its secret, and refused after it is revoked',
  async () => {
    const service = createApiKeyService(store.apiKeys, { cacheMs: 0 })
    const made = await keys('create')
    expect([made.stderr, made.exitCode]).toEqual(['', 0])
    const [token = '', hint = ''] = made.lines
    expect(token).toMatch(TOKEN)
    expect(hint).toContain('shown once')
    expect(made.stdout.split(token)).toHaveLength(2)
    expect(made.stdout).toMatch(/^expires +never$/m)
    expect(await service.verify(token)).toMatchObject({
      userId: 'local',
      name: '',
      scopes: ['read', 'write', 'execute', 'share'],
    })

    const id = TOKEN.exec(token)?.[1] ?? ''
    const listed = await keys('list')
    expect(listed.stdout).toMatch(new RegExp(`^${id} +usable +local .*read write execute share`, 'm'))
    expect(listed.stdout).not.toContain(token.slice(20))

    const revoked = await keys('revoke', id)
    expect([revoked.stdout, revoked.exitCode]).toEqual([`${id} is revoked\n`, 0])
    expect(await service.verify(token)).toBeUndefined()
    expect((await keys('list')).stdout).toMatch(new RegExp(`^${id} +revoked`, 'm'))
  },
  TIMEOUT_MS,
)

test(
  'a key has the requested user, name, scopes and expiry, as one JSON object',
  async () => {
    const made = await keys(
      ...[
        'create',
        '--user',
        'ann',
        '--name',
        'build \u001b[31mserver',
        '--scope',
        'read',
        'metrics',
        '--expires',
        '30',
        '--json',
      ],
    )
    expect(made.lines).toHaveLength(1)
    const { token, ...key } = JSON.parse(made.stdout)
    expect(token).toMatch(TOKEN)
    expect(key).toMatchObject({ userId: 'ann', scopes: ['read', 'metrics'] })
    const days = (Date.parse(key.expiresAt) - Date.parse(key.createdAt)) / 86_400_000
    expect(Math.round(days)).toBe(30)
    const until = await keys(
      'create',
      '--user',
      'bob',
      '--expires',
      '2999-12-31',
      '--scope',
      'read',
      '--scope',
      'share',
      '--json',
    )
    expect(JSON.parse(until.stdout)).toMatchObject({ expiresAt: '2999-12-31T00:00:00.000Z', scopes: ['read', 'share'] })
    const listed = await keys('list', '--user', 'ann', '--json')
    expect(listed.lines.map((line) => JSON.parse(line))).toEqual([key])
    expect((await keys('list', '--user', 'ann')).stdout).not.toContain('\u001b')
    expect((await keys('list', '--user', 'nobody')).stdout).toContain('No keys yet')
  },
  TIMEOUT_MS,
)

test(
  'each mistake is reported in one line, never with the token that was given by mistake',
  async () => {
    const token = `pk_0123456789abcdef_${'x'.repeat(43)}`
    const wrong = [
      [['revoke', token], 4, /^KEY_NOT_FOUND: /],
      [['revoke', '0123456789abcdef'], 4, /^KEY_NOT_FOUND: .*0123456789abcdef/],
      [['create', '--scope', 'admin'], 2, /^INPUT_INVALID: .*scope.*read, write, execute, share, metrics, operate/],
      [['create', '--expires', '0'], 2, /^INPUT_INVALID: .*expected 1 to 36500 days/],
      [['create', '--expires', '2001-01-01'], 2, /^INPUT_INVALID: .*expires/],
      [['create', '--expires', 'tomorrow'], 2, /^INPUT_INVALID: .*expires/],
      [['create', '--expires', '2999-02-30'], 2, /^INPUT_INVALID: .*expires/],
      [['create', '--user', ''], 2, /^INPUT_INVALID: userId/],
      [['create', '--name', 'x'.repeat(201)], 2, /^INPUT_INVALID: .*name/],
    ] as const
    const results = await Promise.all(wrong.map(([words]) => keys(...words)))
    for (const [index, [, exitCode, message]] of wrong.entries()) {
      const result = results[index]
      expect(result?.stderr).toMatch(message)
      expect(result?.stderr).not.toMatch(/\n\s+at /)
      expect([result?.exitCode, result?.stdout]).toEqual([exitCode, ''])
    }
    expect(JSON.stringify(results)).not.toContain(token)
    const group = await commandLine.run(['keys'])
    expect(group.stderr).toMatch(/^INPUT_INVALID: expected a command after "keys"$/m)
    expect(group.exitCode).toBe(2)
    const memory = await commandLine.run(['keys', 'create', '--database', 'memory://'])
    expect([memory.exitCode, memory.stdout]).toEqual([2, ''])
  },
  TIMEOUT_MS,
)

test(
  'an embedded database that a server holds is DATABASE_LOCKED, and takes keys once it is released',
  async () => {
    const directory = join(commandLine.directory, 'data')
    const url = `pglite://${directory}`
    const made = await commandLine.run(['keys', 'create', '--database', url])
    expect(made.lines[0]).toMatch(TOKEN)
    const lock = await lockDirectory(directory)
    const locked = await commandLine.run(['keys', 'create', '--database', url])
    await lock.release()
    expect([locked.exitCode, locked.stdout]).toEqual([18, ''])
    expect(locked.stderr).toMatch(/^DATABASE_LOCKED: /)
    const listed = await commandLine.run(['keys', 'list', '--database', url])
    expect(listed.stdout).toContain(made.lines[0]?.slice(3, 19))
  },
  TIMEOUT_MS,
)

import { randomBytes, randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { ApiKey } from '../../src/domain/users/api-key.ts'
import type { IdempotentRequest } from '../../src/domain/users/idempotency.ts'
import type { Store } from '../../src/repositories/repository.ts'
import { instant } from '../support/stored-data.ts'

export function newApiKey(overrides: Partial<ApiKey> = {}): ApiKey {
  return {
    id: randomBytes(8).toString('hex'),
    userId: `user-${randomUUID()}`,
    name: 'A laptop',
    scopes: ['read', 'execute'],
    createdAt: instant(0, 7),
    ...overrides,
  }
}

export const newHash = (): string => randomBytes(32).toString('hex')

export function newRequest(overrides: Partial<IdempotentRequest> = {}): IdempotentRequest {
  return {
    userId: `user-${randomUUID()}`,
    key: randomUUID(),
    fingerprint: newHash(),
    now: instant(0),
    lockedUntil: instant(60),
    ...overrides,
  }
}

const ANSWER = { statusCode: 202, headers: { location: '/api/v1/flows/1' }, body: '{"id":"1","text":"ü 😀 \\u0000"}' }

/** What every store promises of the callers of a server. */
export function describeCallers(store: () => Store): void {
  describe('API keys', () => {
    test('a key is read with all its fields and the hash of its secret; an unknown key is undefined', async () => {
      const full = newApiKey({ expiresAt: instant(100, 1), revokedAt: instant(50, 2), lastUsedAt: instant(40, 3), name: '' })
      const [bare, hash] = [newApiKey(), newHash()]
      await store().apiKeys.create(full, newHash())
      await store().apiKeys.create(bare, hash)
      expect((await store().apiKeys.find(full.id))?.key).toEqual(full)
      expect(await store().apiKeys.find(bare.id)).toEqual({ key: bare, hash })
      expect(await store().apiKeys.find('none')).toBeUndefined()
      expect(await store().apiKeys.find('\0')).toBeUndefined()
    })

    test('a key is never replaced by another one of the same id', async () => {
      const [key, hash] = [newApiKey(), newHash()]
      await store().apiKeys.create(key, hash)
      await expect(store().apiKeys.create({ ...key, userId: 'somebody else' }, newHash())).rejects.toMatchObject({
        code: 'INTERNAL',
      })
      expect(await store().apiKeys.find(key.id)).toEqual({ key, hash })
    })

    test('keys are listed of one user or of all, newest first, without their hash', async () => {
      const userId = `user-${randomUUID()}`
      const keys = [3, 1, 2].map((second) => newApiKey({ userId, createdAt: instant(second) }))
      const other = newApiKey()
      for (const key of [...keys, other]) await store().apiKeys.create(key, newHash())
      expect(await store().apiKeys.list(userId)).toEqual([keys[0], keys[2], keys[1]])
      const all = await store().apiKeys.list()
      expect(all).toEqual(expect.arrayContaining([...keys, other]))
      expect(await store().apiKeys.list(`user-${randomUUID()}`)).toEqual([])
    })

    test('a key stays revoked at the first instant', async () => {
      const key = newApiKey()
      await store().apiKeys.create(key, newHash())
      expect(await store().apiKeys.revoke(key.id, instant(5))).toEqual({ ...key, revokedAt: instant(5) })
      expect(await store().apiKeys.revoke(key.id, instant(9))).toEqual({ ...key, revokedAt: instant(5) })
      expect((await store().apiKeys.find(key.id))?.key.revokedAt).toEqual(instant(5))
      expect(await store().apiKeys.revoke('none', instant(5))).toBeUndefined()
    })

    test('a key records its latest use, in any order of calls', async () => {
      const key = newApiKey()
      await store().apiKeys.create(key, newHash())
      for (const second of [10, 30, 20]) await store().apiKeys.touch(key.id, instant(second))
      await store().apiKeys.touch('none', instant(1))
      expect((await store().apiKeys.find(key.id))?.key).toEqual({ ...key, lastUsedAt: instant(30) })
    })

    test('keys exist once one was created, even if it is no longer usable', async () => {
      const key = newApiKey({ expiresAt: instant(0) })
      await store().apiKeys.create(key, newHash())
      expect(await store().apiKeys.exist()).toBe(true)
      for (const { id } of await store().apiKeys.list()) await store().apiKeys.revoke(id, instant(0))
      expect(await store().apiKeys.exist()).toBe(true)
    })
  })

  describe('tickets', () => {
    const ticket = async (caller: unknown = { userId: 'ann' }, expiresAt = instant(30)) => {
      const hash = newHash()
      await store().tickets.create({ hash, caller, expiresAt })
      return hash
    }

    test.each([{ userId: 'ann', scopes: ['read'], nested: { list: [1, null, 'ü'] } }, 'text', 0, false, [null]])(
      'a ticket returns the caller %j once',
      async (caller) => {
        const hash = await ticket(caller)
        expect(await store().tickets.redeem(hash, instant(29))).toStrictEqual(caller)
        expect(await store().tickets.redeem(hash, instant(29))).toBeUndefined()
      },
    )

    test('an unknown or expired ticket has no caller, and an expired one is removed', async () => {
      const hash = await ticket()
      expect(await store().tickets.redeem(newHash(), instant(0))).toBeUndefined()
      expect(await store().tickets.redeem(hash, instant(30))).toBeUndefined()
      expect(await store().tickets.redeem(hash, instant(0))).toBeUndefined()
    })

    test('exactly one of many calls redeems a ticket', async () => {
      const hash = await ticket()
      const answers = await Promise.all(Array.from({ length: 20 }, () => store().tickets.redeem(hash, instant(0))))
      expect(answers.filter((caller) => caller !== undefined)).toEqual([{ userId: 'ann' }])
    })

    test('pruning removes expired tickets', async () => {
      const [old, fresh] = [await ticket('old', new Date(Date.UTC(1990, 0, 1))), await ticket('fresh')]
      expect(await store().tickets.prune(new Date(Date.UTC(1990, 0, 1)))).toBe(1)
      expect(await store().tickets.prune(new Date(Date.UTC(1990, 0, 1)))).toBe(0)
      expect(await store().tickets.redeem(old, new Date(0))).toBeUndefined()
      expect(await store().tickets.redeem(fresh, instant(0))).toBe('fresh')
    })
  })

  describe('requests under a key', () => {
    const begun = async (request: IdempotentRequest) => {
      const found = await store().idempotency.begin(request)
      if (found.state !== 'new') throw new Error(`Expected a new request, found it ${found.state}.`)
      return found.lock
    }
    const state = async (request: IdempotentRequest) => (await store().idempotency.begin(request)).state

    test('an idempotent request is new once, then running, then done with the same answer', async () => {
      const request = newRequest()
      const lock = await begun(request)
      expect(await state(request)).toBe('running')
      await store().idempotency.finish(request.userId, request.key, ANSWER, lock)
      const late = { ...request, now: instant(10_000), lockedUntil: instant(10_060) }
      expect(await store().idempotency.begin(late)).toEqual({ state: 'done', answer: ANSWER })
      expect(await store().idempotency.begin(late)).toEqual({ state: 'done', answer: ANSWER })
    })

    test('an idempotency key belongs to one user', async () => {
      const request = newRequest()
      await begun(request)
      expect(await state({ ...request, userId: `user-${randomUUID()}` })).toBe('new')
      expect(await state({ ...request, key: randomUUID() })).toBe('new')
    })

    test('an idempotency key is refused for another request, before and after the answer, and when the holder is dead', async () => {
      const request = newRequest()
      const other = { ...request, fingerprint: newHash() }
      const lock = await begun(request)
      expect(await state(other)).toBe('other_request')
      expect(await state({ ...other, now: instant(61) })).toBe('other_request')
      await store().idempotency.finish(request.userId, request.key, ANSWER, lock)
      expect(await state(other)).toBe('other_request')
    })

    test('an idempotent request is new again after a release', async () => {
      const request = newRequest()
      await store().idempotency.release(request.userId, request.key, await begun(request))
      expect(await state({ ...request, fingerprint: newHash() })).toBe('new')
    })

    test('an idempotent request is finished and released without the lock as well', async () => {
      const [finished, released] = [newRequest(), newRequest()]
      await begun(finished)
      await begun(released)
      await store().idempotency.finish(finished.userId, finished.key, ANSWER)
      await store().idempotency.release(released.userId, released.key)
      expect([await state(finished), await state(released)]).toEqual(['done', 'new'])
    })

    test('the stored answer stays when the request is released or finished again', async () => {
      const request = newRequest()
      const lock = await begun(request)
      await store().idempotency.finish(request.userId, request.key, ANSWER, lock)
      await store().idempotency.finish(request.userId, request.key, { ...ANSWER, statusCode: 500 }, lock)
      await store().idempotency.release(request.userId, request.key, lock)
      expect(await store().idempotency.begin(request)).toEqual({ state: 'done', answer: ANSWER })
    })

    test('an expired holder is replaced once and then changes nothing', async () => {
      const request = newRequest()
      const dead = await begun(request)
      expect(await state({ ...request, now: instant(59, 999) })).toBe('running')
      const again = { ...request, now: instant(60), lockedUntil: instant(120) }
      const lock = await begun(again)
      expect(lock).not.toBe(dead)
      expect(await state(again)).toBe('running')
      await store().idempotency.release(request.userId, request.key, dead)
      expect(await state(again)).toBe('running')
      await store().idempotency.finish(request.userId, request.key, { ...ANSWER, body: 'late' }, dead)
      expect(await state(again)).toBe('running')
      await store().idempotency.finish(request.userId, request.key, ANSWER, lock)
      expect(await store().idempotency.begin(again)).toEqual({ state: 'done', answer: ANSWER })
    })

    test('exactly one of many calls holds an idempotency key, also when it replaces a dead holder', async () => {
      const request = newRequest()
      const race = async (request: IdempotentRequest) => {
        const states = await Promise.all(Array.from({ length: 20 }, () => state(request)))
        return [states.filter((one) => one === 'new').length, states.filter((one) => one === 'running').length]
      }
      expect(await race(request)).toEqual([1, 19])
      expect(await race({ ...request, now: instant(61), lockedUntil: instant(121) })).toEqual([1, 19])
    })

    test('pruning removes idempotent requests that began before the instant', async () => {
      const long = { now: new Date(Date.UTC(1990, 0, 1)), lockedUntil: new Date(Date.UTC(2100, 0, 1)) }
      const [old, running, fresh] = [newRequest(long), newRequest(long), newRequest()]
      await store().idempotency.finish(old.userId, old.key, ANSWER, await begun(old))
      await begun(running)
      await begun(fresh)
      expect(await store().idempotency.prune(new Date(Date.UTC(1990, 0, 2)))).toBe(2)
      expect([await state(old), await state(running), await state(fresh)]).toEqual(['new', 'new', 'running'])
    })

    test('idempotency keys may hold hostile text', async () => {
      const request = newRequest({ key: "'; drop table x; -- \0 \ud800 $1", fingerprint: 'a\0b' })
      await store().idempotency.finish(request.userId, request.key, ANSWER, await begun(request))
      expect(await store().idempotency.begin(request)).toEqual({ state: 'done', answer: ANSWER })
    })
  })
}

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openStore } from '../../src/repositories/database.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'
import type { Store } from '../../src/repositories/repository.ts'
import { newHash, newRequest } from '../contracts/repository-callers.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { instant } from '../support/stored-data.ts'

describe('several processes on one Postgres', () => {
  let database: TestPostgres
  let stores: readonly Store[] = []
  beforeAll(async () => {
    database = await openTestPostgres()
    stores = await Promise.all(Array.from({ length: 4 }, () => openStore({ url: database.url })))
  })
  afterAll(async () => {
    await Promise.all(stores.map((store) => store.close()))
    await database?.drop()
  })

  test('several processes redeem every ticket exactly once', async () => {
    const hashes = Array.from({ length: 40 }, newHash)
    await Promise.all(hashes.map((hash) => stores[0]?.tickets.create({ hash, caller: { of: hash }, expiresAt: instant(30) })))
    const redeemed = await Promise.all(hashes.flatMap((hash) => stores.map((store) => store.tickets.redeem(hash, instant(0)))))
    const callers = redeemed.filter((caller) => caller !== undefined)
    expect(callers).toHaveLength(hashes.length)
    expect(callers).toEqual(expect.arrayContaining(hashes.map((hash) => ({ of: hash }))))
  })

  test('several processes hold every request exactly once, and one of them takes it over from a dead holder', async () => {
    const requests = Array.from({ length: 20 }, () => newRequest())
    const race = async (change: object) => {
      const states = await Promise.all(
        requests.map((request) =>
          Promise.all(stores.map(async (store) => (await store.idempotency.begin({ ...request, ...change })).state)),
        ),
      )
      return states.map((of) => [...of].sort())
    }
    const onlyOne = requests.map(() => ['new', 'running', 'running', 'running'])
    expect(await race({})).toEqual(onlyOne)
    expect(await race({ now: instant(61), lockedUntil: instant(120) })).toEqual(onlyOne)
  })

  test('the work of a request is done once when each process releases it only after another has failed', async () => {
    const request = newRequest()
    const answer = { statusCode: 201, headers: {}, body: 'made' }
    let inside = 0
    let most = 0
    let made = 0
    const ask = async (store: Store, fails: boolean): Promise<string> => {
      for (;;) {
        const found = await store.idempotency.begin(request)
        if (found.state === 'done') return found.answer.body
        if (found.state !== 'new') continue
        most = Math.max(most, ++inside)
        await new Promise((resolve) => setImmediate(resolve))
        inside--
        if (fails) {
          await store.idempotency.release(request.userId, request.key, found.lock)
          return 'failed'
        }
        made++
        await store.idempotency.finish(request.userId, request.key, answer, found.lock)
        return 'made'
      }
    }
    const answers = await Promise.all(stores.flatMap((store) => [ask(store, false), ask(store, true), ask(store, false)]))
    expect([made, most]).toEqual([1, 1])
    expect(answers.filter((text) => text === 'made')).toHaveLength(answers.filter((text) => text !== 'failed').length)
  })
})

describe('the memory store', () => {
  test('the memory store drops the oldest tickets beyond its limit', async () => {
    const { tickets } = createMemoryStore({ maxTickets: 2 })
    const hashes = [newHash(), newHash(), newHash()]
    for (const hash of hashes) await tickets.create({ hash, caller: hash, expiresAt: instant(30) })
    const callers = await Promise.all(hashes.map((hash) => tickets.redeem(hash, instant(0))))
    expect(callers).toEqual([undefined, hashes[1], hashes[2]])
  })

  test('the memory store drops answers beyond its limit, but never a request that is being answered', async () => {
    const { idempotency } = createMemoryStore({ maxAnswerCharacters: 10_000 })
    const running = newRequest()
    await idempotency.begin(running)
    const requests = Array.from({ length: 20 }, () => newRequest())
    for (const request of requests) {
      await idempotency.begin(request)
      await idempotency.finish(request.userId, request.key, { statusCode: 200, headers: {}, body: 'x'.repeat(1_000) })
    }
    const states = await Promise.all(requests.map(async (request) => (await idempotency.begin(request)).state))
    expect(states.slice(0, 5)).toEqual(Array(5).fill('new'))
    expect(states.slice(-5)).toEqual(Array(5).fill('done'))
    expect((await idempotency.begin(running)).state).toBe('running')
  })
})

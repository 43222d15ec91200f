import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { PolyphonyEvent } from '../../../src/domain/event.ts'
import type { Polyphony } from '../../../src/polyphony.ts'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { until } from '../../events/memory-bus.ts'
import { startWriter } from '../../support/child-writer.ts'
import { openTestPolyphony } from '../../support/polyphony.ts'
import { openTestPostgres, type TestPostgres } from '../../support/postgres.ts'
import { type CommitFate, createCommitProxy } from './commit-proxy.ts'

let database: TestPostgres
const closing: (() => Promise<unknown>)[] = []
beforeEach(async () => {
  database = await openTestPostgres()
})
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
  await database.drop()
})

async function open(url = database.url): Promise<Polyphony> {
  const desk = createScriptedProvider({ id: 'desk', replies: () => 'an answer' })
  const polyphony = await openTestPolyphony({ database: url, providers: { desk } })
  closing.push(() => polyphony.close())
  return polyphony
}

async function openProxy(fateOf: (number: number) => CommitFate) {
  const proxy = await createCommitProxy(database.url, fateOf)
  closing.push(() => proxy.close())
  return proxy
}

/** The numbers and types that a handler of the process gets, from when it is ready. */
async function collect({ events }: Polyphony) {
  const seen: PolyphonyEvent[] = []
  events.on({}, (event) => seen.push(event), { order: 'arrival' })
  await events.ready()
  return seen
}

const event = (type: string, data: unknown = null) => ({ type, source: 'test', data })
const seqsOf = (events: readonly PolyphonyEvent[]) => events.map(({ seq }) => seq)
const query = async (statement: string) => {
  const client = new pg.Client(database.url)
  await client.connect()
  try {
    return (await client.query<{ count: number }>(statement)).rows
  } finally {
    await client.end()
  }
}

async function runFlow({ conversations, orchestrator }: Polyphony): Promise<void> {
  const { id: threadId } = await conversations.createThread('ada', { title: 'a title' })
  const steps = [{ id: 'write', model: 'desk/any', action: 'generate' as const, prompt: '{{ input }}' }]
  const { id } = await orchestrator.createFlow(threadId, 'ada', { name: 'draft', type: 'sequential', steps })
  await orchestrator.executeFlow(id, 'ada', { input: 'hello' })
}

describe('the event log on Postgres', { timeout: 120_000 }, () => {
  test('while nobody subscribes and publishes, flows make no statement and send no message for events', async () => {
    const polyphony = await open()
    const statements: string[] = []
    const query = pg.Client.prototype.query
    const spy = vi.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: pg.Client, ...given: unknown[]) {
      statements.push(JSON.stringify(given.filter((one) => typeof one !== 'function')))
      return Reflect.apply(query, this, given)
    })
    closing.push(async () => spy.mockRestore())
    const ofEvents = () => statements.filter((text) => /polyphony_events|flow_events|\[\\*"events/.test(text))
    // Until others had the time to answer, nobody knows that there are none.
    const eventsOfNextFlow = async () => {
      statements.length = 0
      await runFlow(polyphony)
      return ofEvents()
    }
    await expect.poll(eventsOfNextFlow).toEqual([])
    expect(statements.length).toBeGreaterThan(3)
    // The same look finds them once there is a handler.
    const end = polyphony.events.on({}, () => {})
    await polyphony.events.ready()
    await polyphony.events.publish(event('a'))
    expect(ofEvents().length).toBeGreaterThan(1)
    end()
  })

  test('events of other processes are delivered from when the handlers are ready, without a wait', async () => {
    const [one, two] = [await open(), await open()]
    await one.events.publish(event('before'))
    await one.events.ready()
    for (let round = 0; round < 5; round++) {
      const seen: PolyphonyEvent[] = []
      const end = two.events.on({}, (found) => seen.push(found))
      await two.events.ready()
      const { seq } = await one.events.publish(event('after'))
      await until(() => seen.length === 1)
      expect(seqsOf(seen)).toEqual([seq])
      end()
      await two.events.ready()
    }
  })

  test('updates of a process that runs one flow and ends reach the handlers of others', async () => {
    const seen = await collect(await open())
    const once = await open()
    await runFlow(once)
    await once.close()
    await until(() => seen.some(({ type }) => type === 'flow_complete'))
    expect(seen.map(({ type }) => type)).toEqual(['flow_start', 'step_start', 'step_complete', 'flow_complete'])
  })

  test('an event whose transaction commits late holds up those with higher numbers, so that all come in order', async () => {
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    let isArmed = false
    let isHeld = false
    const proxy = await openProxy(() => {
      if (!isArmed) return 'pass'
      isArmed = false
      isHeld = true
      return held
    })
    const [slow, quick] = [await open(proxy.url), await open()]
    const seen = await collect(quick)
    await quick.events.publish(event('first'))
    isArmed = true
    const late = slow.events.publish(event('late'))
    await until(() => isHeld)
    let isStored = false
    const next = quick.events.publish(event('next')).finally(() => {
      isStored = true
    })
    const waiting = `select count(*)::int as count from pg_locks where locktype = 'advisory' and not granted`
    while ((await query(waiting))[0]?.count !== 1) await new Promise((resolve) => setTimeout(resolve, 10))
    expect(isStored).toBe(false)
    expect(await quick.events.newestSeq()).toBe(1)
    release()
    expect([(await late).seq, (await next).seq]).toEqual([2, 3])
    await until(() => seen.length === 3)
    expect(seen.map(({ seq, type }) => `${seq} ${type}`)).toEqual(['1 first', '2 late', '3 next'])
  })

  test('lost connections lose no event that publish resolved, and every stored one is delivered once, in order', async () => {
    let isArmed = false
    const fates: CommitFate[] = ['pass', 'lost', 'pass', 'unacknowledged', 'pass']
    const proxy = await openProxy((number) => (isArmed ? (fates[number % fates.length] ?? 'pass') : 'pass'))
    const [shaky, steady] = [await open(proxy.url), await open()]
    const [own, other] = [await collect(shaky), await collect(steady)]
    isArmed = true
    const resolved: string[] = []
    const errors: unknown[] = []
    for (let round = 0; round < 40; round++) {
      if (round % 10 === 5) proxy.cut()
      const publishing = Array.from({ length: 5 }, (_, index) => shaky.events.publish(event('shaky', `${round}.${index}`)))
      for (const outcome of await Promise.allSettled([...publishing, steady.events.publish(event('steady'))])) {
        if (outcome.status === 'fulfilled') resolved.push(outcome.value.id)
        else errors.push(outcome.reason)
      }
    }
    isArmed = false
    expect(errors.length).toBeGreaterThan(20)
    for (const error of errors) expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE', retryable: true })
    const { seq: lastSeq } = await steady.events.publish(event('last'))
    await until(() => own.at(-1)?.seq === lastSeq && other.at(-1)?.seq === lastSeq)
    const stored = await steady.events.list({}, 1_000)
    expect(seqsOf(stored)).toEqual(Array.from({ length: lastSeq }, (_, index) => index + 1))
    expect(seqsOf(own)).toEqual(seqsOf(stored))
    expect(seqsOf(other)).toEqual(seqsOf(stored))
    const ids = new Set(stored.map(({ id }) => id))
    expect(resolved.filter((id) => !ids.has(id))).toEqual([])
    // Some whose answers were lost are stored, which is why the error says that they may be.
    expect(stored.length - 1).toBeGreaterThan(resolved.length)
  })

  test('what publish resolved in two processes is there after kill -9, once and with numbers of its own', async () => {
    const writers = [startWriter('write', database.url), startWriter('write', database.url)]
    await Promise.all(writers.map(({ told }) => told(600)))
    const lines = (await Promise.all(writers.map((writer) => writer.kill()))).flat()
    const told = lines.filter((line) => line.startsWith('event ')).map((line) => line.split(' '))
    expect(told.length).toBeGreaterThan(150)
    const { events } = await open()
    const found: PolyphonyEvent[] = []
    await events.replay({}, (replayed) => found.push(replayed))
    const seqOf = new Map(found.map(({ id, seq }) => [id, seq]))
    expect(told.filter(([, seq, id]) => seqOf.get(id ?? '') !== Number(seq))).toEqual([])
    expect(seqsOf(found)).toEqual(found.map((_, index) => index + 1))
    expect(seqOf.size).toBe(found.length)
  })

  test('replay and handlers pass over numbers that are missing', async () => {
    const [one, two] = [await open(), await open()]
    const seen = await collect(two)
    await Promise.all(Array.from({ length: 1_200 }, (_, index) => one.events.publish(event('a', index))))
    await until(() => seen.at(-1)?.seq === 1_200)
    await query('delete from polyphony_events where seq % 3 = 0 or seq between 400 and 1000')
    const left = Array.from({ length: 1_200 }, (_, index) => index + 1).filter(
      (seq) => seq % 3 !== 0 && (seq < 400 || seq > 1_000),
    )
    const replayed: PolyphonyEvent[] = []
    expect(await one.events.replay({}, (found) => replayed.push(found))).toBe(left.length)
    expect(seqsOf(replayed)).toEqual(left)
    expect(await one.events.replay({ afterSeq: 399 }, () => {})).toBe(left.filter((seq) => seq > 399).length)
    // A write of another program may leave a gap at the end as well.
    await query(`insert into polyphony_events (seq, id, type, source, priority, data, created_at)
      values (1300, gen_random_uuid(), 'b', 'test', 'normal', '1', now()) returning 1`)
    expect((await one.events.publish(event('c'))).seq).toBe(1_301)
    await until(() => seen.at(-1)?.seq === 1_301)
    expect(seqsOf(seen).slice(1_200)).toEqual([1_300, 1_301])
  })

  test('NUL and lone surrogates are the same for handlers, replay and other processes', async () => {
    const [one, two] = [await open(), await open()]
    const [own, other] = [await collect(one), await collect(two)]
    const data = { 'a\0': 'b\0c', lone: 'x\ud800y', pair: '😀', text: '\\u0000', ['__proto__']: { a: 1 } }
    const published = await one.events.publish(event('odd', data))
    await until(() => own.length === 1 && other.length === 1)
    const stored = await one.events.list({}, 1)
    expect(published.data).toEqual(
      JSON.parse('{"a\ufffd":"b\ufffdc","lone":"x\ufffdy","pair":"😀","text":"\\\\u0000","__proto__":{"a":1}}'),
    )
    for (const found of [own[0], other[0], stored[0]]) expect(found?.data).toEqual(published.data)
    await expect(one.events.publish({ ...event('odd'), subject: 'x\udc00' })).rejects.toMatchObject({ code: 'EVENT_INVALID' })
    expect(await one.events.correlated('a\0b')).toEqual([])
  })
})

import { expect, test } from 'vitest'
import type { PolyphonyEvent } from '../../src/domain/event.ts'
import { createMemoryBus, until } from './memory-bus.ts'

const publishMany = (bus: ReturnType<typeof createMemoryBus>['bus'], count: number, type = 'test_event') =>
  Promise.all(Array.from({ length: count }, (_, index) => bus.publish({ type, source: 'test', data: { index } })))

test('an event that was published is stored, has a number and reaches the handlers that fit', async () => {
  const { bus, log } = createMemoryBus()
  const seen: Record<string, string[]> = { all: [], prefix: [], exact: [], other: [], ada: [] }
  const note = (name: string) => (event: PolyphonyEvent) => seen[name]?.push(event.type)
  bus.on({}, note('all'))
  bus.on({ type: 'service_*' }, note('prefix'))
  bus.on({ type: ['flow_start', 'service_exit'] }, note('exact'))
  bus.on({ source: 'somebody' }, note('other'))
  bus.on({ userId: 'ada' }, note('ada'))
  const first = await bus.publish({
    type: 'service_state',
    source: 'service',
    correlationId: 'c',
    causationId: 'b',
    data: { a: 1 },
  })
  expect(first).toMatchObject({ seq: 1, priority: 'normal', correlationId: 'c', causationId: 'b', data: { a: 1 } })
  expect(await log.read({}, 10)).toEqual([first])
  await bus.publish({ type: 'service_exit', source: 'service', userId: 'ada', data: null })
  await bus.publish({ type: 'serviceless', source: 'test', data: null })
  await until(() => seen.all?.length === 3)
  expect(seen).toEqual({
    all: ['service_state', 'service_exit', 'serviceless'],
    prefix: ['service_state', 'service_exit'],
    exact: ['service_exit'],
    other: [],
    ada: ['service_exit'],
  })
})

test('events that are published at the same time are stored together, in the order of the calls', async () => {
  const writes: number[] = []
  const { log } = createMemoryBus()
  const { bus } = createMemoryBus({
    log: {
      ...log,
      append(events) {
        writes.push(events.length)
        return log.append(events)
      },
    },
  })
  const events = await publishMany(bus, 1_000)
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, index) => index + 1))
  expect(writes.length).toBeLessThanOrEqual(3)
})

test('a log that refuses a write rejects its events and stores later ones', async () => {
  const { log } = createMemoryBus()
  let refuses = true
  const { bus } = createMemoryBus({
    log: { ...log, append: (events) => (refuses ? Promise.reject(new Error('refused')) : log.append(events)) },
  })
  const seen: number[] = []
  bus.on({}, ({ seq }) => seen.push(seq))
  await expect(bus.publish({ type: 'a', source: 'test', data: 1 })).rejects.toThrow('refused')
  refuses = false
  expect(await bus.publish({ type: 'a', source: 'test', data: 1 })).toMatchObject({ seq: 1 })
  await until(() => seen.length === 1)
})

test('events with invalid fields are refused with the field, and nothing is stored', async () => {
  const { bus, log } = createMemoryBus()
  const circular: Record<string, unknown> = {}
  circular.self = circular
  const wrong: [object, RegExp][] = [
    [{ type: '' }, /^type:/],
    [{ type: 'with space' }, /^type:.*letters/],
    [{ source: 'x'.repeat(101) }, /^source:/],
    [{ subject: '\0' }, /^subject:/],
    [{ priority: 'urgent' }, /^priority:/],
    [{ surprise: 1 }, /surprise/],
    [{ data: 'x'.repeat(65_536) }, /^data:.*65536 bytes.*65538/],
    [{ data: circular }, /^data:/],
  ]
  for (const [fields, message] of wrong) {
    const refused = bus.publish({ type: 'test_event', source: 'test', data: null, ...fields })
    await expect(refused).rejects.toMatchObject({ code: 'EVENT_INVALID', message: expect.stringMatching(message) })
  }
  expect(await log.newestSeq()).toBe(0)
})

test('a change of the data after publish changes no event', async () => {
  const { bus, log } = createMemoryBus()
  const data = { state: 'running' }
  const publishing = bus.publish({ type: 'a', source: 'test', data })
  data.state = 'changed'
  await publishing
  expect((await log.read({}, 1))[0]?.data).toEqual({ state: 'running' })
})

test('a handler that hangs or throws does not disturb the others, and what it loses is counted', async () => {
  const { bus, warnings } = createMemoryBus()
  const seen: number[] = []
  bus.on({}, () => new Promise(() => {}), { maxQueue: 10 })
  bus.on({}, () => {
    throw new Error('no')
  })
  bus.on({}, ({ seq }) => seen.push(seq))
  await publishMany(bus, 100)
  await until(() => seen.length === 100 && bus.stats().failed === 100)
  expect(bus.stats()).toMatchObject({ handlers: 3, published: 100, dropped: 90, waiting: 9 })
  expect(warnings).toHaveLength(2)
})

test('a handler ends by its function and by its signal', async () => {
  const { bus } = createMemoryBus()
  const abort = new AbortController()
  const seen: string[] = []
  const end = bus.on({}, () => seen.push('function'))
  bus.on({}, () => seen.push('signal'), { signal: abort.signal })
  bus.on({}, () => seen.push('never'), { signal: AbortSignal.abort() })
  const states: boolean[] = []
  bus.onHandlers((has) => states.push(has))
  await publishMany(bus, 1)
  await until(() => seen.length === 2)
  end()
  end()
  abort.abort()
  await publishMany(bus, 1)
  expect(bus.stats().handlers).toBe(0)
  expect(seen).toEqual(['function', 'signal'])
  expect(states).toEqual([false])
})

test('lists of events are delivered when they are full, when their time is over, and at the end', async () => {
  const { bus } = createMemoryBus()
  const lists: string[][] = []
  const typesOf = (events: readonly PolyphonyEvent[]) => events.map(({ type }) => type)
  const by = ({ type }: PolyphonyEvent) => type.slice(0, 1)
  const end = bus.aggregate({}, { windowMs: 60_000, maxSize: 2, by }, (events) => lists.push(typesOf(events)))
  for (const type of ['a1', 'b1', 'a2', 'a3']) await bus.publish({ type, source: 'test', data: null })
  await until(() => lists.length === 1)
  expect(lists).toEqual([['a1', 'a2']])
  await until(() => bus.stats().handled === 4)
  end()
  await until(() => lists.length === 3)
  expect(lists.slice(1)).toEqual([['b1'], ['a3']])
  bus.aggregate({}, { windowMs: 5, maxSize: 100 }, (events) => lists.push(typesOf(events)))
  await publishMany(bus, 3, 'c')
  await until(() => lists.length === 4)
  expect(lists[3]).toEqual(['c', 'c', 'c'])
})

test('a handler of lists that hangs takes no more memory than its limits', async () => {
  const { bus } = createMemoryBus()
  let calls = 0
  const hang = () => {
    calls += 1
    return new Promise(() => {})
  }
  bus.aggregate({}, { windowMs: 60_000, maxSize: 100 }, hang)
  for (let round = 0; round < 13; round++) {
    await publishMany(bus, 1_000)
    // Ten thousand events are collected; then the queue fills, and further ones are dropped.
    await until(() => bus.stats().waiting === 0 || bus.stats().handled >= 9_999)
  }
  expect(calls).toBe(1)
  const { handled, dropped, waiting } = bus.stats()
  expect({ handled, waiting }).toEqual({ handled: 9_999, waiting: 1_000 })
  expect(dropped).toBeGreaterThan(0)
})

test('large events are kept in memory up to a number of bytes, and those that leave for their size are counted', async () => {
  const { bus } = createMemoryBus({ recentBytes: 1_000_000 })
  const publishAll = async (data: unknown, count: number) => {
    for (let index = 0; index < count; index++) await bus.publish({ type: 'large', source: 'test', data })
  }
  await publishMany(bus, 100)
  expect([bus.recent().length, bus.stats().recentDropped]).toEqual([100, 0])
  // Ten texts of 60 kB take 1.2 MB, of which eight fit; the small events before them leave first.
  await publishAll('x'.repeat(60_000), 10)
  expect(bus.recent().map(({ type }) => type)).toEqual(Array.from({ length: 8 }, () => 'large'))
  expect(bus.stats().recentDropped).toBe(102)
  // The JSON of these objects has 63 kB, and they take far more in memory.
  await publishAll(
    Array.from({ length: 21_000 }, () => ({})),
    2,
  )
  expect(bus.recent()).toEqual([])
  await publishMany(bus, 3)
  expect(bus.recent().length).toBe(3)
})

test('the newest events are kept in memory, with and without handlers', async () => {
  const { bus } = createMemoryBus({ recent: 5 })
  await publishMany(bus, 30)
  expect(bus.recent().map(({ seq }) => seq)).toEqual([26, 27, 28, 29, 30])
  await bus.publish({ type: 'other', source: 'test', correlationId: 'c', data: null })
  expect(bus.recent({ correlationId: 'c' }).map(({ type }) => type)).toEqual(['other'])
  const none = createMemoryBus({ recent: 0 }).bus
  await publishMany(none, 3)
  expect(none.recent()).toEqual([])
})

import { expect, test } from 'vitest'
import type { EventFilter, PolyphonyEvent } from '../../src/domain/event.ts'
import type { AggregateOptions, HandlerOptions } from '../../src/events/event.ts'
import { createNotificationBus } from '../../src/notifications/notification-bus.ts'
import { createMemoryTransport } from '../support/memory-transport.ts'
import { createMemoryBus, until } from './memory-bus.ts'

const event = (type = 'test_event', data: unknown = null) => ({ type, source: 'test', data })

/** What a program without types may pass. */
const untyped = <Value>(json: string): Value => JSON.parse(json)

test('filters and options of the wrong form are refused, and disturb no publisher', async () => {
  const { bus } = createMemoryBus()
  const on = (filter: string, options: string) => () =>
    bus.on(untyped<EventFilter>(filter), () => {}, untyped<HandlerOptions>(options))
  for (const [filter, options, message] of [
    ['{"type":5}', '{}', /filter\.type/],
    ['{"types":["a"]}', '{}', /types/],
    ['null', '{}', /^filter/],
    ['{}', '{"maxQueue":-1}', /options\.maxQueue/],
    ['{}', '{"maxQueue":0}', /options\.maxQueue/],
    ['{}', '{"maxQueue":1.5}', /options\.maxQueue/],
    ['{}', '{"overflow":"drop_all"}', /options\.overflow/],
  ] as const) {
    expect(on(filter, options), filter + options).toThrow(expect.objectContaining({ code: 'INPUT_INVALID' }))
    expect(on(filter, options)).toThrow(message)
  }
  for (const options of ['{"windowMs":5,"maxSize":0}', '{"windowMs":-1,"maxSize":1}', '{"windowMs":1e10,"maxSize":1}', '{}']) {
    const aggregate = () => bus.aggregate({}, untyped<AggregateOptions>(options), () => {})
    expect(aggregate, options).toThrow(expect.objectContaining({ code: 'INPUT_INVALID' }))
  }
  const limits = { windowMs: 5, maxSize: 1 }
  for (const wrong of [
    () => Reflect.apply(bus.on, bus, [{}]),
    () => Reflect.apply(bus.on, bus, [{}, 5]),
    () => Reflect.apply(bus.aggregate, bus, [{}, limits]),
    () => Reflect.apply(bus.aggregate, bus, [{}, { ...limits, by: 'type' }, () => {}]),
  ]) {
    expect(wrong).toThrow(expect.objectContaining({ code: 'INPUT_INVALID', message: expect.stringContaining('function') }))
  }
  expect(bus.stats().handlers).toBe(0)
  await bus.publish(event())
})

test('a handler cannot change what the other handlers and later readers get', async () => {
  const { bus } = createMemoryBus()
  const seen: unknown[] = []
  bus.on({}, (got) => {
    Reflect.set(got, 'type', 'forged')
    if (typeof got.data === 'object' && got.data !== null) Reflect.set(got.data, 'amount', 0)
  })
  bus.on({}, ({ type, data }) => seen.push([type, data]))
  await bus.publish(event('paid', { amount: 7 }))
  await until(() => seen.length === 1)
  expect(seen).toEqual([['paid', { amount: 7 }]])
  expect(bus.recent()[0]).toMatchObject({ type: 'paid', data: { amount: 7 } })
})

test('data that is nested too deeply or is no event at all is refused with EVENT_INVALID', async () => {
  const { bus, log } = createMemoryBus()
  const nested = (levels: number): unknown => JSON.parse(`${'['.repeat(levels)}${']'.repeat(levels)}`)
  for (const levels of [101, 10_000, 30_000]) {
    await expect(bus.publish(event('deep', nested(levels)))).rejects.toMatchObject({ code: 'EVENT_INVALID' })
  }
  await expect(bus.publish(event('code', () => 1))).rejects.toMatchObject({ code: 'EVENT_INVALID' })
  await expect(bus.publish(event('big', 1n))).rejects.toMatchObject({ code: 'EVENT_INVALID' })
  await expect(bus.publish(untyped('null'))).rejects.toMatchObject({ code: 'EVENT_INVALID' })
  expect(await log.newestSeq()).toBe(0)
  await bus.publish(event('deep', nested(100)))
  const hostile = await bus.publish(event('proto', JSON.parse('{"__proto__":{"admin":true},"constructor":1}')))
  expect(JSON.stringify(hostile.data)).toBe('{"__proto__":{"admin":true},"constructor":1}')
  expect(Reflect.get({}, 'admin')).toBeUndefined()
})

test('closing ends although a handler answers every event with another one', async () => {
  const { bus } = createMemoryBus()
  let answers = 0
  bus.on({}, async () => {
    answers += 1
    await bus.publish(event('answer'))
  })
  await bus.publish(event())
  await until(() => answers > 10)
  await bus.close()
  await expect(bus.publish(event())).rejects.toMatchObject({ code: 'SERVER_CLOSING' })
  expect(() => bus.on({}, () => {})).toThrow(expect.objectContaining({ code: 'SERVER_CLOSING' }))
  expect(bus.stats().handlers).toBe(0)
})

test('closing stores what was published before and delivers what was collected', async () => {
  const { bus, log } = createMemoryBus()
  const lists: number[] = []
  bus.aggregate({}, { windowMs: 3_600_000, maxSize: 100 }, (events) => lists.push(events.length))
  await Promise.all([1, 2, 3].map(() => bus.publish(event())))
  await until(() => bus.stats().handled === 3)
  const last = bus.publish(event())
  await bus.close()
  expect((await last).seq).toBe(4)
  expect(await log.newestSeq()).toBe(4)
  await until(() => lists.length > 0)
  expect(lists[0]).toBeGreaterThanOrEqual(3)
})

test('a handler that ends itself gets nothing more, and a thousand others get everything', async () => {
  const { bus } = createMemoryBus()
  const counts = Array.from({ length: 1_000 }, () => 0)
  counts.forEach((_, index) => {
    bus.on({}, () => {
      counts[index] = (counts[index] ?? 0) + 1
    })
  })
  let own = 0
  const end = bus.on({}, () => {
    own += 1
    end()
  })
  await Promise.all(Array.from({ length: 50 }, () => bus.publish(event())))
  await until(() => counts.every((count) => count === 50))
  expect(own).toBe(1)
  expect(bus.stats()).toMatchObject({ handlers: 1_000, dropped: 0 })
})

test('a handler in the order of arrival gets urgent events in their place', async () => {
  const { bus } = createMemoryBus()
  const seen: number[] = []
  const byPriority: number[] = []
  bus.on({}, ({ seq }) => seen.push(seq), { order: 'arrival' })
  bus.on({}, ({ seq }) => byPriority.push(seq))
  const priorities = ['low', 'normal', 'critical', 'high', 'low', 'normal'] as const
  await Promise.all(priorities.map((priority) => bus.publish({ ...event(), priority })))
  await until(() => seen.length === 6 && byPriority.length === 6)
  expect(seen).toEqual([1, 2, 3, 4, 5, 6])
  expect(byPriority).toEqual([3, 4, 2, 6, 1, 5])
})

test('an event that is published while the newest number is read is delivered once', async () => {
  const { log } = createMemoryBus()
  let answer = () => {}
  const asked = new Promise<void>((resolve) => {
    answer = resolve
  })
  const slow = {
    ...log,
    async newestSeq() {
      const newest = await log.newestSeq()
      await asked
      return newest
    },
  }
  const messages = createNotificationBus({ transport: createMemoryTransport(), id: 'one' })
  const { bus } = createMemoryBus({ log: slow, messages })
  const seen: PolyphonyEvent[] = []
  bus.on({}, (got) => seen.push(got))
  await bus.publish(event('during'))
  answer()
  await new Promise((resolve) => setImmediate(resolve))
  await bus.publish(event('after'))
  await until(() => seen.some(({ type }) => type === 'after'))
  expect(seen.map(({ type }) => type)).toEqual(['during', 'after'])
  await messages.close()
})

test('an event whose write reached the log although its answer was lost is delivered', async () => {
  const { log } = createMemoryBus()
  let isLost = true
  const lossy = {
    ...log,
    async append(events: Parameters<typeof log.append>[0]) {
      const first = await log.append(events)
      if (isLost) throw new Error('connection lost')
      return first
    },
  }
  const messages = createNotificationBus({ transport: createMemoryTransport(), id: 'one' })
  const { bus } = createMemoryBus({ log: lossy, messages })
  const seen: number[] = []
  bus.on({}, ({ seq }) => seen.push(seq))
  isLost = false
  await bus.publish(event())
  await until(() => seen.length === 1)
  isLost = true
  await expect(bus.publish(event())).rejects.toThrow('connection lost')
  await until(() => seen.length === 2)
  expect(seen).toEqual([1, 2])
  await messages.close()
})

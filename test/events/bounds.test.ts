import { expect, test } from 'vitest'
import { createMemoryBus, until } from './memory-bus.ts'

const event = (data: unknown = null) => ({ type: 'test_event', source: 'test', data })
/** About 120 kB in memory. */
const large = () => event('x'.repeat(60_000))

/** A log that stores nothing until it is let go. */
function createHeldLog() {
  const { log } = createMemoryBus()
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const writes: number[] = []
  const append: typeof log.append = async (events) => {
    writes.push(events.length)
    await held
    return log.append(events)
  }
  return { log: { ...log, append }, writes, release }
}

const outcomesOf = async (publishing: readonly Promise<{ readonly seq: number; readonly id: string }>[]) => {
  const settled = await Promise.allSettled(publishing)
  const stored = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  const errors: unknown[] = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
  return { stored, errors }
}

test('while the log stores nothing, events beyond the limit are refused at once, and never stored', async () => {
  const { log, release } = createHeldLog()
  const { bus } = createMemoryBus({ log, unstored: 1_000 })
  const seen: number[] = []
  bus.on({}, ({ seq }) => seen.push(seq))
  const publishing = Array.from({ length: 1_000 }, (_, index) => bus.publish(event(index)))
  for (let index = 0; index < 5; index++) {
    await expect(bus.publish(event('refused'))).rejects.toMatchObject({
      code: 'EVENT_LOG_BUSY',
      retryable: true,
      details: { events: 1_000 },
    })
  }
  release()
  const { stored, errors } = await outcomesOf(publishing)
  expect([stored.length, errors]).toEqual([1_000, []])
  const found = await log.read({}, 2_000)
  expect(found.map(({ id }) => id)).toEqual(stored.map(({ id }) => id))
  expect(await bus.publish(event('later'))).toMatchObject({ seq: 1_001 })
  await until(() => seen.length === 1_001)
})

test('large events are refused by their bytes, and one that is larger than the limit is stored', async () => {
  const { log, release } = createHeldLog()
  const { bus } = createMemoryBus({ log, unstoredBytes: 1_000_000 })
  const { stored, errors } = await outcomesOf([
    ...Array.from({ length: 20 }, () => bus.publish(large())),
    Promise.resolve().then(() => {
      release()
      return bus.publish(large())
    }),
  ])
  expect([stored.length, errors.length]).toEqual([8, 13])
  expect(errors[0]).toMatchObject({ code: 'EVENT_LOG_BUSY' })
  expect(await log.newestSeq()).toBe(8)
  const small = createMemoryBus({ unstoredBytes: 1 })
  expect(await small.bus.publish(large())).toMatchObject({ seq: 1 })
})

test('a refused write makes place for later events', async () => {
  const { log } = createMemoryBus()
  let isAway = true
  const { bus } = createMemoryBus({
    log: { ...log, append: (events) => (isAway ? Promise.reject(new Error('away')) : log.append(events)) },
    unstored: 10,
  })
  for (let round = 0; round < 5; round++) {
    const { errors } = await outcomesOf(Array.from({ length: 10 }, () => bus.publish(event())))
    expect(errors).toHaveLength(10)
  }
  isAway = false
  const { stored } = await outcomesOf(Array.from({ length: 10 }, () => bus.publish(event())))
  expect(stored.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
})

test('a write has at most ten million bytes, and the events keep their order', async () => {
  const { log, writes, release } = createHeldLog()
  const { bus } = createMemoryBus({ log })
  release()
  const events = await Promise.all(Array.from({ length: 200 }, () => bus.publish(large())))
  expect(events.map(({ seq }) => seq)).toEqual(Array.from({ length: 200 }, (_, index) => index + 1))
  expect(writes.length).toBe(3)
  expect(Math.max(...writes)).toBeLessThan(85)
})

test('a handler that hangs holds large events up to its bytes only, and the others are counted as dropped', async () => {
  const { bus } = createMemoryBus({ queueBytes: 1_000_000, recent: 0 })
  const seen: number[] = []
  bus.on({}, () => new Promise(() => {}))
  bus.on({}, ({ seq }) => seen.push(seq))
  for (let index = 1; index <= 50; index++) {
    await bus.publish(large())
    await until(() => seen.length === index)
  }
  const { waiting, dropped } = bus.stats()
  expect({ waiting, dropped }).toEqual({ waiting: 8, dropped: 41 })
})

test('a handler of lists that hangs holds large events up to its bytes only', async () => {
  const { bus } = createMemoryBus({ queueBytes: 1_000_000, recent: 0 })
  bus.aggregate({}, { windowMs: 60_000, maxSize: 1_000 }, () => new Promise(() => {}))
  for (let index = 0; index < 50; index++) await bus.publish(large())
  // Nine are collected, and the call for the ninth does not end; eight wait in the queue.
  await until(() => bus.stats().dropped === 33)
  expect(bus.stats()).toMatchObject({ handled: 8, waiting: 8 })
})

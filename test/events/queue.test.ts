import { expect, test } from 'vitest'
import type { EventPriority, PolyphonyEvent } from '../../src/domain/event.ts'
import { estimateEventBytes } from '../../src/domain/event-size.ts'
import type { DroppedEvents, HandlerOptions } from '../../src/events/event.ts'
import { createHandlerQueue } from '../../src/events/queue.ts'

const event = (seq: number, priority: EventPriority = 'normal', data: unknown = null): PolyphonyEvent => ({
  id: String(seq),
  seq,
  type: 'test_event',
  source: 'test',
  priority,
  data,
  timestamp: new Date(0),
})

const MAX_BYTES = 1_000_000

/** A queue whose handler waits until it is released, once per event. */
function createHeldQueue(options: HandlerOptions = {}) {
  const seen: number[] = []
  const errors: unknown[] = []
  const dropped: DroppedEvents[] = []
  let drops = 0
  let release = () => {}
  const queue = createHandlerQueue(
    {
      maxBytes: MAX_BYTES,
      handler: ({ seq }) => {
        seen.push(seq)
        return new Promise<void>((resolve) => {
          release = resolve
        })
      },
      onError: (error) => errors.push(error),
      onDrop: (count) => {
        drops += count
      },
      onHandled: () => {},
    },
    { onDropped: (lost) => dropped.push(lost), ...options },
  )
  const push = (one: PolyphonyEvent) => queue.push(one, estimateEventBytes(one))
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  const releaseAll = async () => {
    for (await turn(); queue.waiting > 0; await turn()) release()
    release()
  }
  return { queue, push, seen, dropped, drops: () => drops, turn, release: () => release(), releaseAll }
}

test('the most urgent events are delivered first, equal ones by number, and low ones at least every eighth time', async () => {
  const { push, seen, releaseAll } = createHeldQueue()
  push(event(1, 'low'))
  push(event(2, 'low'))
  for (let seq = 3; seq < 12; seq++) push(event(seq))
  push(event(12, 'high'))
  push(event(13, 'critical'))
  for (let seq = 14; seq < 20; seq++) push(event(seq))
  await releaseAll()
  expect(seen).toEqual([13, 12, 3, 4, 5, 6, 7, 1, 8, 9, 10, 11, 14, 15, 16, 2, 17, 18, 19])
})

test('a handler gets one event at a time', async () => {
  const { push, seen, turn, release } = createHeldQueue()
  for (let seq = 1; seq < 4; seq++) push(event(seq))
  await turn()
  expect(seen).toEqual([1])
  release()
  await turn()
  expect(seen).toEqual([1, 2])
})

test('when more events wait than may, the oldest of the lowest priority is lost, even if it is the new one', async () => {
  const { push, seen, dropped, drops, turn, releaseAll } = createHeldQueue({ maxQueue: 3 })
  push(event(1))
  await turn()
  push(event(2, 'low'))
  push(event(3, 'high'))
  push(event(4, 'low'))
  push(event(5, 'high'))
  push(event(6, 'high'))
  push(event(7, 'low'))
  push(event(8))
  await releaseAll()
  expect(seen).toEqual([1, 3, 5, 6])
  expect(drops()).toBe(4)
  expect(dropped).toEqual([{ count: 4, fromSeq: 2, toSeq: 8 }])
})

test('with drop_oldest the oldest event of all is lost', async () => {
  const { push, seen, dropped, turn, releaseAll } = createHeldQueue({ maxQueue: 2, overflow: 'drop_oldest' })
  push(event(1))
  await turn()
  push(event(2, 'critical'))
  push(event(3, 'low'))
  push(event(4, 'low'))
  await releaseAll()
  expect(seen).toEqual([1, 3, 4])
  expect(dropped).toEqual([{ count: 1, fromSeq: 2, toSeq: 2 }])
})

test('a handler that throws or rejects gets the next event', async () => {
  const seen: number[] = []
  const errors: unknown[] = []
  const done = new Promise<void>((resolve) => {
    const queue = createHandlerQueue({
      maxBytes: MAX_BYTES,
      handler({ seq }) {
        seen.push(seq)
        if (seq === 1) throw new Error('at once')
        if (seq === 2) return Promise.reject(new Error('later'))
        return resolve()
      },
      onError: (error) => errors.push(error),
      onDrop: () => {},
      onHandled: () => {},
    })
    for (let seq = 1; seq < 4; seq++) queue.push(event(seq), 1)
  })
  await done
  expect(seen).toEqual([1, 2, 3])
  expect(errors).toHaveLength(2)
})

test('a queue that was closed delivers nothing more', async () => {
  const { queue, push, seen, turn, release } = createHeldQueue()
  push(event(1))
  push(event(2))
  await turn()
  queue.close()
  push(event(3))
  release()
  await turn()
  expect(seen).toEqual([1])
  expect(queue.waiting).toBe(0)
})

/** About 200 kB in memory, so that four of them are within the limit. */
const large = (seq: number, priority?: EventPriority) => event(seq, priority, 'x'.repeat(100_000))

test('when the events that wait have more bytes than may, as many are lost as it takes, and counted', async () => {
  const { push, seen, dropped, drops, turn, releaseAll } = createHeldQueue()
  push(event(1))
  await turn()
  push(large(2, 'low'))
  push(large(3, 'high'))
  push(event(4, 'low'))
  for (let seq = 5; seq < 9; seq++) push(large(seq))
  push(event(9))
  await releaseAll()
  expect(seen).toEqual([1, 3, 6, 7, 8, 9])
  expect(drops()).toBe(3)
  expect(dropped).toEqual([{ count: 3, fromSeq: 2, toSeq: 5 }])
})

test('an event that alone has more bytes than may wait is delivered, and the limit of one handler may be its own', async () => {
  const { queue, push, seen, turn, releaseAll } = createHeldQueue({ maxQueueBytes: 1_000, overflow: 'drop_oldest' })
  push(large(1))
  await turn()
  push(large(2))
  expect(queue.waiting).toBe(1)
  push(event(3))
  expect(queue.waiting).toBe(1)
  push(event(4))
  expect(queue.waiting).toBe(2)
  await releaseAll()
  expect(seen).toEqual([1, 3, 4])
})

test('bytes of events that were delivered or dropped make place for others', async () => {
  const { queue, push, seen, drops, turn, release } = createHeldQueue()
  for (let seq = 1; seq <= 20; seq++) {
    push(large(seq))
    await turn()
    release()
    await turn()
  }
  expect([seen.length, drops(), queue.waiting]).toEqual([20, 0, 0])
})

import { expect, test } from 'vitest'
import type { EventPriority, PolyphonyEvent } from '../../src/domain/event.ts'
import type { DroppedEvents, HandlerOptions } from '../../src/events/event.ts'
import { createHandlerQueue } from '../../src/events/queue.ts'

const event = (seq: number, priority: EventPriority = 'normal'): PolyphonyEvent => ({
  id: String(seq),
  seq,
  type: 'test_event',
  source: 'test',
  priority,
  data: null,
  timestamp: new Date(0),
})

/** A queue whose handler waits until it is released, once per event. */
function createHeldQueue(options: HandlerOptions = {}) {
  const seen: number[] = []
  const errors: unknown[] = []
  const dropped: DroppedEvents[] = []
  let drops = 0
  let release = () => {}
  const queue = createHandlerQueue(
    {
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
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  const releaseAll = async () => {
    for (await turn(); queue.waiting > 0; await turn()) release()
    release()
  }
  return { queue, seen, dropped, drops: () => drops, turn, release: () => release(), releaseAll }
}

test('the most urgent events are delivered first, equal ones by number, and low ones at least every eighth time', async () => {
  const { queue, seen, releaseAll } = createHeldQueue()
  queue.push(event(1, 'low'))
  queue.push(event(2, 'low'))
  for (let seq = 3; seq < 12; seq++) queue.push(event(seq))
  queue.push(event(12, 'high'))
  queue.push(event(13, 'critical'))
  for (let seq = 14; seq < 20; seq++) queue.push(event(seq))
  await releaseAll()
  expect(seen).toEqual([13, 12, 3, 4, 5, 6, 7, 1, 8, 9, 10, 11, 14, 15, 16, 2, 17, 18, 19])
})

test('a handler gets one event at a time', async () => {
  const { queue, seen, turn, release } = createHeldQueue()
  for (let seq = 1; seq < 4; seq++) queue.push(event(seq))
  await turn()
  expect(seen).toEqual([1])
  release()
  await turn()
  expect(seen).toEqual([1, 2])
})

test('when more events wait than may, the oldest of the lowest priority is lost, even if it is the new one', async () => {
  const { queue, seen, dropped, drops, turn, releaseAll } = createHeldQueue({ maxQueue: 3 })
  queue.push(event(1))
  await turn()
  queue.push(event(2, 'low'))
  queue.push(event(3, 'high'))
  queue.push(event(4, 'low'))
  queue.push(event(5, 'high'))
  queue.push(event(6, 'high'))
  queue.push(event(7, 'low'))
  queue.push(event(8))
  await releaseAll()
  expect(seen).toEqual([1, 3, 5, 6])
  expect(drops()).toBe(4)
  expect(dropped).toEqual([{ count: 4, fromSeq: 2, toSeq: 8 }])
})

test('with drop_oldest the oldest event of all is lost', async () => {
  const { queue, seen, dropped, turn, releaseAll } = createHeldQueue({ maxQueue: 2, overflow: 'drop_oldest' })
  queue.push(event(1))
  await turn()
  queue.push(event(2, 'critical'))
  queue.push(event(3, 'low'))
  queue.push(event(4, 'low'))
  await releaseAll()
  expect(seen).toEqual([1, 3, 4])
  expect(dropped).toEqual([{ count: 1, fromSeq: 2, toSeq: 2 }])
})

test('a handler that throws or rejects gets the next event', async () => {
  const seen: number[] = []
  const errors: unknown[] = []
  const done = new Promise<void>((resolve) => {
    const queue = createHandlerQueue({
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
    for (let seq = 1; seq < 4; seq++) queue.push(event(seq))
  })
  await done
  expect(seen).toEqual([1, 2, 3])
  expect(errors).toHaveLength(2)
})

test('a queue that was closed delivers nothing more', async () => {
  const { queue, seen, turn, release } = createHeldQueue()
  queue.push(event(1))
  queue.push(event(2))
  await turn()
  queue.close()
  queue.push(event(3))
  release()
  await turn()
  expect(seen).toEqual([1])
  expect(queue.waiting).toBe(0)
})

import pLimit from 'p-limit'
import { expect, test } from 'vitest'
import { CancellationToken } from '../../src/async/cancellation-token.ts'
import { acquireSlot } from '../../src/orchestrator/steps/acquire-slot.ts'

test('waiting calls get the slot in order when the call before releases it', async () => {
  const limit = pLimit(1)
  const release = await acquireSlot(limit, [])
  const order: string[] = []
  const waiting = ['a', 'b'].map((name) =>
    acquireSlot(limit, [new CancellationToken(), undefined]).then((free) => {
      order.push(name)
      free()
    }),
  )
  release()
  await Promise.all(waiting)
  expect(order).toEqual(['a', 'b'])
})

test.each([0, 1])(
  'each kind of cancellation ends the wait at once with its reason, and the slot goes to the next call',
  async (which) => {
    const limit = pLimit(1)
    const release = await acquireSlot(limit, [])
    const stops = [new CancellationToken(), new CancellationToken()]
    const stopped = acquireSlot(limit, stops)
    const next = acquireSlot(limit, [])
    const reason = new Error('cancelled')
    stops[which]?.cancel(reason)
    await expect(stopped).rejects.toBe(reason)
    // The place is still taken: nothing was given away twice.
    expect(limit.activeCount).toBe(1)
    release()
    const free = await next
    expect([limit.activeCount, limit.pendingCount]).toEqual([1, 0])
    free()
  },
)

test('a cancellation before the wait rejects it and leaves the slot free', async () => {
  const limit = pLimit(1)
  const stop = new CancellationToken()
  stop.cancel(new Error('over'))
  await expect(acquireSlot(limit, [stop])).rejects.toThrow('over')
  const free = await acquireSlot(limit, [])
  free()
})

test('a cancellation after the slot was acquired does not release it', async () => {
  const limit = pLimit(1)
  const stop = new CancellationToken()
  const release = await acquireSlot(limit, [stop])
  stop.cancel(new Error('late'))
  expect(limit.activeCount).toBe(1)
  release()
  const free = await acquireSlot(limit, [])
  expect(limit.activeCount).toBe(1)
  free()
})

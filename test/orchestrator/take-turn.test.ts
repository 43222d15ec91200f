import pLimit from 'p-limit'
import { expect, test } from 'vitest'
import { Stop } from '../../src/async/cancellation-token.ts'
import { takeTurn } from '../../src/orchestrator/steps/acquire-slot.ts'

test('who waits for a place gets it when the one before gives it back, in order', async () => {
  const limit = pLimit(1)
  const release = await takeTurn(limit, [])
  const order: string[] = []
  const waiting = ['a', 'b'].map((name) =>
    takeTurn(limit, [new Stop(), undefined]).then((free) => {
      order.push(name)
      free()
    }),
  )
  release()
  await Promise.all(waiting)
  expect(order).toEqual(['a', 'b'])
})

test.each([0, 1])(
  'a stop ends the waiting at once with its reason, whichever of the stops it is, and the place goes to the next',
  async (which) => {
    const limit = pLimit(1)
    const release = await takeTurn(limit, [])
    const stops = [new Stop(), new Stop()]
    const stopped = takeTurn(limit, stops)
    const next = takeTurn(limit, [])
    const reason = new Error('cancelled')
    stops[which]?.stop(reason)
    await expect(stopped).rejects.toBe(reason)
    // The place is still taken: nothing was given away twice.
    expect(limit.activeCount).toBe(1)
    release()
    const free = await next
    expect([limit.activeCount, limit.pendingCount]).toEqual([1, 0])
    free()
  },
)

test('a stop that came before the waiting refuses it, and leaves the place free', async () => {
  const limit = pLimit(1)
  const stop = new Stop()
  stop.stop(new Error('over'))
  await expect(takeTurn(limit, [stop])).rejects.toThrow('over')
  const free = await takeTurn(limit, [])
  free()
})

test('a stop after the turn began does not take the place back', async () => {
  const limit = pLimit(1)
  const stop = new Stop()
  const release = await takeTurn(limit, [stop])
  stop.stop(new Error('late'))
  expect(limit.activeCount).toBe(1)
  release()
  const free = await takeTurn(limit, [])
  expect(limit.activeCount).toBe(1)
  free()
})

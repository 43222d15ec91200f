import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { createMemoryEvents } from '../../src/repositories/memory/background/events.ts'

const append = (log: ReturnType<typeof createMemoryEvents>, data: unknown) =>
  log.append([{ id: randomUUID(), type: 'order_paid', source: 'shop', priority: 'normal', data, timestamp: new Date() }])

test('the event log in memory keeps the newest events within its bytes, and numbers continue', async () => {
  const log = createMemoryEvents({ maxEvents: 1_000, maxBytes: 1_000_000 })
  for (let index = 0; index < 100; index++) await append(log, 'x'.repeat(60_000))
  const kept = (await log.read({}, 1_000)).map(({ seq }) => seq)
  expect(kept.length).toBeGreaterThanOrEqual(4)
  expect(kept.length).toBeLessThanOrEqual(8)
  expect(kept.at(-1)).toBe(100)
  await log.prune(new Date(Date.now() + 60_000))
  for (let index = 0; index < 20; index++) await append(log, null)
  expect((await log.read({}, 1_000)).map(({ seq }) => seq)).toEqual(Array.from({ length: 21 }, (_, index) => index + 100))
  expect(await append(createMemoryEvents({ maxEvents: 1, maxBytes: 1 }), 'larger than the limit')).toBe(1)
})

import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { UnnumberedEvent } from '../../src/repositories/events.ts'
import type { Store } from '../../src/repositories/repository.ts'
import { instant } from '../support/stored-data.ts'

const newEvent = (overrides: Partial<UnnumberedEvent> = {}): UnnumberedEvent => ({
  id: randomUUID(),
  type: 'service_state',
  source: 'service',
  priority: 'normal',
  data: { state: 'running' },
  timestamp: instant(1),
  ...overrides,
})

/** What every store promises of the event log. */
export function describeEvents(store: () => Store): void {
  const all = (correlationId: string) => store().events.read({ correlationId }, 1_000)

  describe('the event log', () => {
    test('events of one write have successive numbers and come back as they were', async () => {
      const correlationId = randomUUID()
      const full = { subject: 'writer', correlationId, causationId: randomUUID(), userId: 'ada', priority: 'high' as const }
      const events = [
        newEvent(full),
        newEvent({ correlationId, data: null }),
        newEvent({ correlationId, data: 'NUL \\u0000 text' }),
      ]
      const before = await store().events.newestSeq()
      const first = await store().events.append(events)
      expect(first).toBeGreaterThan(before)
      const found = await all(correlationId)
      expect(found).toEqual(events.map((event, index) => ({ ...event, seq: first + index })))
      expect(await store().events.newestSeq()).toBeGreaterThanOrEqual(first + 2)
    })

    test('writes at the same time never share a number, and what is read once stays complete', async () => {
      const correlationId = randomUUID()
      const write = () => store().events.append([newEvent({ correlationId }), newEvent({ correlationId })])
      let afterSeq = 0
      const seen: number[] = []
      const writing = Promise.all(Array.from({ length: 20 }, write))
      for (let isDone = false; !isDone; ) {
        isDone = await Promise.race([
          writing.then(() => true),
          new Promise<false>((resolve) => setImmediate(() => resolve(false))),
        ])
        const page = await store().events.read({ correlationId, afterSeq }, 7)
        seen.push(...page.map(({ seq }) => seq))
        afterSeq = page.at(-1)?.seq ?? afterSeq
      }
      for (let page = [1]; page.length > 0; ) {
        page = (await store().events.read({ correlationId, afterSeq }, 7)).map(({ seq }) => seq)
        seen.push(...page)
        afterSeq = page.at(-1) ?? afterSeq
      }
      expect(seen).toEqual((await all(correlationId)).map(({ seq }) => seq))
      expect(new Set(seen).size).toBe(40)
    })

    test('a query limits numbers, instants, types, matter and user, in the order of numbers', async () => {
      const correlationId = randomUUID()
      const first = await store().events.append([
        newEvent({ correlationId, type: 'service_state', timestamp: instant(1) }),
        newEvent({ correlationId, type: 'serviceXstate', timestamp: instant(2), userId: 'ada' }),
        newEvent({ correlationId, type: 'service_exit', timestamp: instant(3) }),
        newEvent({ correlationId: randomUUID(), type: 'service_exit', timestamp: instant(3) }),
      ])
      const read = async (query: object, limit = 100) =>
        (await store().events.read({ correlationId, ...query }, limit)).map(({ seq }) => seq - first)
      expect(await read({})).toEqual([0, 1, 2])
      expect(await read({}, 2)).toEqual([0, 1])
      expect(await read({ afterSeq: first })).toEqual([1, 2])
      expect(await read({ throughSeq: first + 1 })).toEqual([0, 1])
      expect(await read({ from: instant(2), to: instant(2) })).toEqual([1])
      expect(await read({ types: ['service_*'] })).toEqual([0, 2])
      expect(await read({ types: ['service_exit', 'other'] })).toEqual([2])
      expect(await read({ types: ['%'] })).toEqual([])
      expect(await read({ userId: 'ada' })).toEqual([1])
    })

    test('the newest events about one subject are found, by number, however many others came since', async () => {
      const subject = randomUUID()
      const about = (type: string) => newEvent({ subject, type })
      const first = await store().events.append([
        about('service_state'),
        about('other'),
        about('service_exit'),
        about('service_state'),
      ])
      await store().events.append(Array.from({ length: 50 }, () => newEvent({ subject: randomUUID() })))
      const read = async (query: object, limit: number) =>
        (await store().events.readNewest({ subject, ...query }, limit)).map(({ seq }) => seq - first)
      expect(await read({}, 3)).toEqual([1, 2, 3])
      expect(await read({ types: ['service_*'] }, 2)).toEqual([2, 3])
      expect(await read({ afterSeq: first + 2 }, 10)).toEqual([3])
      expect((await store().events.read({ subject }, 2)).map(({ seq }) => seq - first)).toEqual([0, 1])
    })

    test('old events are removed, and numbers continue after the newest one', async () => {
      const correlationId = randomUUID()
      const old = new Date(0)
      const first = await store().events.append([
        newEvent({ correlationId, timestamp: old }),
        newEvent({ correlationId, timestamp: instant(5) }),
        newEvent({ correlationId, timestamp: old }),
      ])
      expect(await store().events.prune(instant(-1_000))).toBeGreaterThanOrEqual(1)
      expect((await all(correlationId)).map(({ seq }) => seq - first)).toEqual([1, 2])
      expect(await store().events.append([newEvent({ correlationId })])).toBeGreaterThan(first + 2)
    })
  })
}

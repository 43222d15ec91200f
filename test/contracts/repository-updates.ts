import { describe, expect, test } from 'vitest'
import { instant, outcome, stepResult, update } from '../support/stored-data.ts'
import type { StoreFixture } from './store-fixture.ts'

/** What every store promises of the update log. */
export function describeUpdates({ store, runningFlow, resultIds }: StoreFixture): void {
  describe('updates', () => {
    test('updates are read in order and unchanged', async () => {
      const { flowId, epoch } = await runningFlow()
      const given = [
        { seq: 1, type: 'flow_start' as const, data: { name: 'x', list: [1, null] }, timestamp: instant(1, 1) },
        update(2),
        { seq: 5, type: 'step_complete' as const, path: 'draft', iteration: 2, timestamp: instant(2, 2) },
      ]
      await store().journal.append({ flowId, epoch, updates: given.slice(0, 2) })
      await store().journal.append({ flowId, epoch, updates: given.slice(2) })
      expect(await store().updates.read(flowId, 0, 100)).toEqual(given)
      expect(await store().updates.lastSeq(flowId)).toBe(5)
    })

    test.each([null, false, 0, '', [], {}])('the data %j is distinguished from no data', async (data) => {
      const { flowId, epoch } = await runningFlow()
      const { data: _data, ...without } = update(2)
      await store().journal.append({ flowId, epoch, updates: [update(1, { data }), without] })
      const [first, second] = await store().updates.read(flowId, 0, 10)
      expect(first?.data).toStrictEqual(data)
      expect(second?.data).toBeUndefined()
    })

    test('updates are read after a number, at least the requested count and none twice', async () => {
      const { flowId, epoch } = await runningFlow()
      const all = Array.from({ length: 30 }, (_, index) => update(index + 1))
      for (let start = 0; start < 30; start += 3)
        await store().journal.append({ flowId, epoch, updates: all.slice(start, start + 3) })
      for (const [afterSeq, limit] of [
        [0, 1],
        [2, 4],
        [13, 100],
        [29, 5],
        [30, 5],
      ] as const) {
        const read = await store().updates.read(flowId, afterSeq, limit)
        expect(read.length).toBeGreaterThanOrEqual(Math.min(limit, 30 - afterSeq))
        expect(read).toEqual(all.slice(afterSeq, afterSeq + read.length))
      }
      const followed: number[] = []
      for (
        let page = await store().updates.read(flowId, 0, 4);
        page.length > 0;
        page = await store().updates.read(flowId, followed.at(-1) ?? 0, 4)
      ) {
        followed.push(...page.map(({ seq }) => seq))
      }
      expect(followed).toEqual(all.map(({ seq }) => seq))
    })

    test('updates are read for their flow only', async () => {
      const [a, b] = [await runningFlow(), await runningFlow()]
      await Promise.all([
        store().journal.append({ ...a, updates: [update(1), update(2)] }),
        store().journal.append({ ...b, updates: [update(1, { data: 'of b' })] }),
      ])
      expect(await store().updates.lastSeq(a.flowId)).toBe(2)
      expect((await store().updates.read(b.flowId, 0, 10)).map(({ data }) => data)).toEqual(['of b'])
    })

    test('pruning removes updates of flows that settled before the instant and keeps results', async () => {
      const settledIn = async (year: number, status: 'COMPLETED' | 'FAILED' = 'COMPLETED') => {
        const { flowId, epoch } = await runningFlow()
        const completedAt = new Date(Date.UTC(year, 0, 1))
        await store().journal.finish({
          flowId,
          epoch,
          results: [stepResult(flowId, 'draft')],
          updates: [update(1)],
          outcome: outcome({ status, completedAt }),
        })
        return flowId
      }
      const [old, oldFailed, recent] = [await settledIn(1990), await settledIn(1991, 'FAILED'), await settledIn(1995)]
      const running = await runningFlow({}, { startedAt: new Date(Date.UTC(1990, 0, 1)) })
      await store().journal.append({ ...running, updates: [update(1)] })
      expect(await store().updates.prune(new Date(Date.UTC(1993, 0, 1)))).toBe(2)
      const left = await Promise.all(
        [old, oldFailed, recent, running.flowId].map(async (id) => (await store().updates.read(id, 0, 10)).length),
      )
      expect(left).toEqual([0, 0, 1, 1])
      expect(await resultIds(old)).toHaveLength(1)
      expect(await store().updates.prune(new Date(Date.UTC(1993, 0, 1)))).toBe(0)
    })
  })
}

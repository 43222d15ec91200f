import { describe, expect, test } from 'vitest'
import type { StoredUpdate } from '../../src/repositories/repository.ts'
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

    test('after compaction a reader gets the rest after any number, without a gap and nothing twice', async () => {
      const random = createRandom(20_261_129)
      for (let round = 0; round < 6; round++) {
        const { flowId, epoch } = await runningFlow()
        const all = generatedUpdates(random)
        for (let start = 0; start < all.length; ) {
          const end = start + 1 + Math.floor(random() * 6)
          await store().journal.append({ flowId, epoch, updates: all.slice(start, end) })
          start = end
          // An execution that is resumed adds to updates that are already compacted.
          if (random() < 0.05) await store().updates.compact(flowId)
        }
        const middle = await store().updates.read(flowId, 0, 7)
        await store().updates.compact(flowId)
        const lastSeq = all.at(-1)?.seq ?? 0
        expect(await store().updates.lastSeq(flowId)).toBe(lastSeq)
        for (let afterSeq = 0; afterSeq <= lastSeq; afterSeq++) {
          const read = await store().updates.read(flowId, afterSeq, 10_000)
          expect(read.every(({ seq }, index) => seq > (read[index - 1]?.seq ?? afterSeq))).toBe(true)
          expect(joinedTexts(read)).toEqual(joinedTexts(all.filter(({ seq }) => seq > afterSeq)))
        }
        const rest = await store().updates.read(flowId, middle.at(-1)?.seq ?? 0, 10_000)
        expect(joinedTexts([...middle, ...rest])).toEqual(joinedTexts(all))
      }
    })

    test('a compacted flow is pruned, and compacting a pruned, empty or unknown flow changes nothing', async () => {
      const { flowId, epoch } = await runningFlow()
      for (let seq = 1; seq <= 9; seq++) await store().journal.append({ flowId, epoch, updates: [update(seq)] })
      const completedAt = new Date(Date.UTC(1990, 0, 1))
      await store().journal.finish({ flowId, epoch, updates: [update(10)], outcome: outcome({ status: 'FAILED', completedAt }) })
      await store().updates.compact(flowId)
      expect(joinedTexts(await store().updates.read(flowId, 0, 100))).toHaveLength(1)
      await store().updates.prune(new Date(Date.UTC(1991, 0, 1)))
      await store().updates.compact(flowId)
      expect(await store().updates.read(flowId, 0, 100)).toEqual([])
      const empty = await runningFlow()
      await store().updates.compact(empty.flowId)
      await store().updates.compact('00000000-0000-4000-8000-000000000000')
      await store().updates.compact('no flow')
      expect(await store().updates.read(empty.flowId, 0, 100)).toEqual([])
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

/** Numbers from 0 to 1 that are the same in every run. */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 2 ** 32
    return state / 2 ** 32
  }
}

/** Updates of one to four steps that write at the same time, with numbers that sometimes skip. */
function generatedUpdates(random: () => number): readonly StoredUpdate[] {
  const steps = 1 + Math.floor(random() * 4)
  const updates: StoredUpdate[] = []
  let seq = 0
  for (let index = 0; index < 90; index++) {
    seq += random() < 0.05 ? 3 : 1
    const path = `step-${Math.floor(random() * steps)}`
    const place = { seq, path, iteration: 1 + Math.floor(random() * 1.2), timestamp: instant(index, seq) }
    const kind = random() < 0.2 ? { kind: 'reasoning' } : {}
    const sample = random() < 0.1 ? { sample: 2 } : {}
    const delta = ['', 'a', 'two words ', '\u{1f600}', '"\\\n'][Math.floor(random() * 5)] ?? ''
    if (random() < 0.9) updates.push({ ...place, type: 'step_progress', data: { delta: `${delta}${seq};`, ...kind, ...sample } })
    else updates.push({ ...place, type: 'step_retry', data: { attempt: seq } })
  }
  return updates
}

/** The updates with consecutive pieces of one text as one, under the number and the time of the last. */
function joinedTexts(updates: readonly StoredUpdate[]): readonly StoredUpdate[] {
  const joined: StoredUpdate[] = []
  for (const next of updates) {
    const last = joined.at(-1)
    const [before, after] = [textOf(last), textOf(next)]
    const isSameText = before && after && JSON.stringify({ ...before, delta: '' }) === JSON.stringify({ ...after, delta: '' })
    if (last && isSameText && last.path === next.path && last.iteration === next.iteration) {
      joined[joined.length - 1] = { ...next, data: { ...after, delta: before.delta + after.delta } }
    } else joined.push(next)
  }
  return joined
}

const textOf = (update: StoredUpdate | undefined): { readonly delta: string } | undefined => {
  const data: unknown = update?.type === 'step_progress' ? update.data : undefined
  return typeof data === 'object' && data !== null && 'delta' in data && typeof data.delta === 'string'
    ? { ...data, delta: data.delta }
    : undefined
}

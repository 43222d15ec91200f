import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { StepWait } from '../../src/domain/waiting/wait.ts'
import { instant, outcome } from '../support/stored-data.ts'
import type { StoreFixture } from './store-fixture.ts'

/** What every store promises of steps that wait. */
export function describeWaits({ store, runningFlow }: StoreFixture): void {
  describe('waits', () => {
    const farAway = () => new Date(Date.now() + 3_600_000)
    const wait = (flowId: string, threadId: string, overrides: Partial<StepWait> = {}): StepWait => ({
      flowId,
      threadId,
      path: 'ok',
      iteration: 1,
      kind: 'approve',
      hash: 'h1',
      since: instant(1, 5),
      onTimeout: 'fail',
      prompt: 'Publish?',
      show: 'A text with NUL-free content',
      schema: { type: 'object' },
      assignees: ['ada'],
      ...overrides,
    })
    /** A flow that is paused with these waits; its user may read and write the thread. */
    const pausedFlow = async (overrides: readonly Partial<StepWait>[] = [{}], wakeAt?: Date) => {
      const { flow, flowId, epoch } = await runningFlow()
      const userId = `user-${randomUUID()}`
      await store().permissions.set(flow.threadId, userId, ['read', 'write'])
      const waits = overrides.map((one) => wait(flowId, flow.threadId, one))
      await store().journal.finish({ flowId, epoch, waits, outcome: { ...outcome({ status: 'PAUSED' }), wakeAt } })
      return { flowId, epoch, threadId: flow.threadId, userId, waits }
    }
    const answer = (flowId: string, overrides: object = {}) => ({
      flowId,
      path: 'ok',
      iteration: 1,
      hash: 'h1',
      decision: { approved: true, data: { n: 1 } },
      by: 'ada',
      at: instant(9),
      ...overrides,
    })

    test('a paused flow keeps everything of its waits', async () => {
      const deadline = farAway()
      const { flowId, waits } = await pausedFlow([
        {},
        {
          path: 'paid',
          kind: 'wait',
          event: 'paid',
          correlation: 'o-1',
          deadline,
          schema: undefined,
          assignees: undefined,
          prompt: undefined,
          show: undefined,
          onTimeout: undefined,
        },
      ])
      const stored = await store().waits.of(flowId)
      expect(stored.toSorted((a, b) => (a.path < b.path ? -1 : 1))).toEqual(waits)
      expect(await store().flows.find(flowId)).toMatchObject({ status: 'PAUSED' })
    })

    test('of several decisions at once exactly one counts', async () => {
      const { flowId } = await pausedFlow()
      const outcomes = await Promise.all([1, 2, 3, 4].map((n) => store().waits.decide(answer(flowId, { by: `user-${n}` }))))
      expect(outcomes.filter(Boolean)).toHaveLength(1)
      const [stored] = await store().waits.of(flowId)
      expect(stored).toMatchObject({
        decision: { approved: true, data: { n: 1 } },
        decidedBy: `user-${outcomes.indexOf(true) + 1}`,
        decidedAt: instant(9),
      })
    })

    test('a decision with another hash, about another iteration or after the deadline counts for nothing', async () => {
      const { flowId } = await pausedFlow()
      expect(await store().waits.decide(answer(flowId, { hash: 'h2' }))).toBe(false)
      expect(await store().waits.decide(answer(flowId, { iteration: 2 }))).toBe(false)
      expect(await store().waits.decide(answer(randomUUID()))).toBe(false)
      expect(await store().waits.decide(answer('no uuid'))).toBe(false)
      const late = await pausedFlow([{ deadline: new Date(Date.now() - 1_000) }])
      expect(await store().waits.decide(answer(late.flowId))).toBe(false)
    })

    test('the deadline ends a wait that nobody has decided', async () => {
      const deadline = new Date(Date.now() - 1_000)
      const { flowId } = await pausedFlow([{ deadline }, { path: 'later', deadline: farAway() }])
      await store().waits.expire(flowId)
      const ended = (await store().waits.of(flowId)).filter(({ decidedAt }) => decidedAt)
      expect(ended).toMatchObject([{ path: 'ok', decision: { timedOut: true }, decidedAt: deadline }])
    })

    test('a decision makes a paused flow due, and a flow wakes once', async () => {
      const { flowId } = await pausedFlow([{}], farAway())
      expect(await store().queue.wakeDue(1_000)).not.toContain(flowId)
      await store().waits.decide(answer(flowId))
      const woken = await Promise.all([store().queue.wakeDue(1_000), store().queue.wakeDue(1_000)])
      expect(woken.flat().filter((id) => id === flowId)).toEqual([flowId])
    })

    test('a decision that comes while the flow runs makes it due as soon as it pauses', async () => {
      const { flow, flowId, epoch } = await runningFlow()
      const open = wait(flowId, flow.threadId)
      await store().journal.append({ flowId, epoch, waits: [open] })
      expect(await store().waits.decide(answer(flowId))).toBe(true)
      await store().journal.finish({
        flowId,
        epoch,
        waits: [open],
        outcome: { ...outcome({ status: 'PAUSED' }), wakeAt: farAway() },
      })
      expect(await store().queue.wakeDue(1_000)).toContain(flowId)
      expect(await store().waits.of(flowId)).toMatchObject([{ decision: { approved: true } }])
    })

    test('a wait for something else replaces a decided one', async () => {
      const { flow, flowId, epoch } = await runningFlow()
      await store().journal.append({ flowId, epoch, waits: [wait(flowId, flow.threadId)] })
      await store().waits.decide(answer(flowId))
      await store().journal.append({ flowId, epoch, waits: [wait(flowId, flow.threadId, { hash: 'h2', show: 'new' })] })
      const [stored] = await store().waits.of(flowId)
      expect(stored).toMatchObject({ hash: 'h2', show: 'new' })
      expect(stored?.decision ?? stored?.decidedAt ?? stored?.decidedBy).toBeUndefined()
    })

    test('waits of an execution that lost the flow are refused', async () => {
      const { flowId, epoch, threadId } = await pausedFlow([])
      await expect(store().journal.append({ flowId, epoch: epoch + 1, waits: [wait(flowId, threadId)] })).rejects.toMatchObject({
        code: 'FLOW_INTERRUPTED',
      })
      expect(await store().waits.of(flowId)).toEqual([])
    })

    test('a list holds open waits of threads that the user may read, in pages', async () => {
      const { flowId, userId } = await pausedFlow([3, 1, 2].map((second) => ({ path: `s${second}`, since: instant(second) })))
      const first = await store().waits.list(userId, 2)
      expect(first.map(({ path }) => path)).toEqual(['s1', 's2'])
      expect((await store().waits.list(userId, 2, first[1])).map(({ path }) => path)).toEqual(['s3'])
      await store().waits.decide(answer(flowId, { path: 's1' }))
      expect((await store().waits.list(userId, 9)).map(({ path }) => path)).toEqual(['s2', 's3'])
      expect(await store().waits.list('stranger', 9)).toEqual([])
    })

    test('an event ends every wait for it in threads that the user may write', async () => {
      const event = `paid-${randomUUID()}`
      const { flowId, userId } = await pausedFlow([
        { path: 'a', kind: 'wait', event, correlation: 'o-1' },
        { path: 'b', kind: 'wait', event, correlation: 'o-2' },
        { path: 'c', kind: 'wait', event },
      ])
      const deliver = (by: string, correlation?: string) =>
        store().waits.deliver({ userId: by, event, correlation, data: { n: 1 }, at: instant(9), limit: 10 })
      expect(await deliver('stranger', 'o-1')).toEqual([])
      expect(await deliver(userId, 'o-1')).toEqual([{ flowId, path: 'a', iteration: 1 }])
      expect(await deliver(userId, 'o-1')).toEqual([])
      expect(await deliver(userId)).toEqual([{ flowId, path: 'c', iteration: 1 }])
      const ended = (await store().waits.of(flowId)).filter(({ decidedAt }) => decidedAt)
      expect(ended.map(({ decision, decidedBy }) => [decision, decidedBy])).toEqual([
        [{ data: { n: 1 } }, userId],
        [{ data: { n: 1 } }, userId],
      ])
    })

    test('a flow that has ended has no open wait, and a deleted one has none at all', async () => {
      const { flowId, userId, threadId } = await pausedFlow()
      const claimed = await store().journal.claim({
        flowId,
        from: ['PAUSED'],
        ownerId: 'cancel',
        startedAt: instant(2),
        input: '',
      })
      if (!('epoch' in claimed)) throw new Error('Expected to win the claim.')
      await store().journal.finish({ flowId, epoch: claimed.epoch, outcome: outcome({ status: 'CANCELLED' }) })
      expect(await store().waits.list(userId, 9)).toEqual([])
      expect(await store().waits.decide(answer(flowId))).toBe(false)
      await store().flows.delete(flowId)
      expect(await store().waits.of(flowId)).toEqual([])
      const other = await pausedFlow()
      await store().threads.delete(other.threadId)
      expect(await store().waits.of(other.flowId)).toEqual([])
      expect(threadId).not.toBe(other.threadId)
    })
  })
}

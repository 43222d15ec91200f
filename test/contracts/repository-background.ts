import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { NewDelivery } from '../../src/repositories/repository.ts'
import { instant, newClaim, outcome, update } from '../support/stored-data.ts'
import type { StoreFixture } from './store-fixture.ts'

const newDelivery = (webhookId: string, seq: number, overrides: Partial<NewDelivery> = {}): NewDelivery => ({
  webhookId,
  seq,
  type: 'step_start',
  timestamp: instant(seq),
  facts: { status: 'COMPLETED', totalCostUsd: 0.25 },
  ...overrides,
})

/** What every store promises of webhooks with their outbox, and of schedules. */
export function describeBackground({ store, runningFlow, refusal }: StoreFixture): void {
  const claim = (webhookId: string, at = instant(100), limit = 10) =>
    store().webhooks.claim(webhookId, limit, at, new Date(at.getTime() + 60_000))

  /** A running flow with queued deliveries under the numbers. */
  const queued = async (webhookId: string, ...seqs: readonly number[]) => {
    const running = await runningFlow()
    const deliveries = seqs.map((seq) => newDelivery(webhookId, seq))
    await store().journal.append({ ...running, updates: seqs.map((seq) => update(seq)), deliveries })
    return running
  }

  describe('the outbox of webhooks', () => {
    test('deliveries that are written with their updates are claimed once, oldest first, with the facts of their flow', async () => {
      const webhookId = randomUUID()
      const { flow, flowId } = await queued(webhookId, 2, 1, 3)
      const [first, second] = await Promise.all([claim(webhookId, instant(100), 2), claim(webhookId, instant(100), 2)])
      const claimed = [...first, ...second]
      expect(claimed.map(({ seq }) => seq).sort()).toEqual([1, 2, 3])
      for (const seqs of [first, second].map((part) => part.map(({ seq }) => seq))) expect(seqs).toEqual([...seqs].sort())
      const facts = { threadId: flow.threadId, userId: flow.userId, name: flow.name }
      expect(claimed.find(({ seq }) => seq === 1)).toEqual({ ...newDelivery(webhookId, 1), flowId, attempt: 1, flow: facts })
      expect(await claim(webhookId)).toEqual([])
    })

    test('deliveries are written with the outcome, and none are written when it is refused', async () => {
      const webhookId = randomUUID()
      const running = await runningFlow()
      const entry = { ...running, updates: [update(1)], outcome: outcome(), deliveries: [newDelivery(webhookId, 1)] }
      await store().journal.finish(entry)
      expect(await claim(webhookId)).toHaveLength(1)
      const other = randomUUID()
      await store().journal.claim(newClaim(running.flowId, { from: ['COMPLETED'] }))
      expect(await refusal(store().journal.append({ ...running, deliveries: [newDelivery(other, 2)] }))).toBe('FLOW_INTERRUPTED')
      expect(await claim(other)).toEqual([])
    })

    test('a delivery that is written again is not queued a second time, delivered or not', async () => {
      const webhookId = randomUUID()
      const running = await queued(webhookId, 1)
      await store().journal.append({ ...running, deliveries: [newDelivery(webhookId, 1)] })
      const [claimed] = await claim(webhookId)
      await store().webhooks.settle({
        webhookId,
        flowId: running.flowId,
        seq: 1,
        attempt: 1,
        at: instant(101),
        state: 'delivered',
      })
      await store().journal.append({ ...running, deliveries: [newDelivery(webhookId, 1)] })
      expect(claimed?.seq).toBe(1)
      expect(await claim(webhookId, instant(900))).toEqual([])
    })

    test('a delivery is not due before its time, and due again when its lease has ended', async () => {
      const webhookId = randomUUID()
      await queued(webhookId, 50)
      expect(await claim(webhookId, instant(49))).toEqual([])
      expect(await claim(webhookId, instant(50))).toMatchObject([{ attempt: 1 }])
      expect(await claim(webhookId, instant(109))).toEqual([])
      expect(await claim(webhookId, instant(110))).toMatchObject([{ attempt: 2 }])
    })

    test('a failed attempt is due again at the given instant, and only the newest attempt decides', async () => {
      const webhookId = randomUUID()
      const { flowId } = await queued(webhookId, 1)
      const key = { webhookId, flowId, seq: 1 }
      await claim(webhookId, instant(100))
      await claim(webhookId, instant(200))
      const late = { ...key, attempt: 1, at: instant(201), state: 'failed' as const, problem: 'late' }
      await store().webhooks.settle(late)
      expect((await store().webhooks.counts([webhookId])).get(webhookId)).toEqual({ queued: 1, failed: 0 })
      await store().webhooks.settle({
        ...key,
        attempt: 2,
        at: instant(202),
        state: 'queued',
        dueAt: instant(300),
        problem: 'HTTP 500',
      })
      expect((await store().webhooks.counts([webhookId])).get(webhookId)).toEqual({
        queued: 1,
        failed: 0,
        lastProblem: 'HTTP 500',
      })
      expect(await claim(webhookId, instant(299))).toEqual([])
      expect(await claim(webhookId, instant(300))).toMatchObject([{ attempt: 3 }])
    })

    test('a success counts even if another process has claimed the delivery since', async () => {
      const webhookId = randomUUID()
      const { flowId } = await queued(webhookId, 1)
      const key = { webhookId, flowId, seq: 1 }
      await claim(webhookId, instant(100))
      await claim(webhookId, instant(200))
      await store().webhooks.settle({ ...key, attempt: 1, at: instant(201), state: 'delivered' })
      await store().webhooks.settle({
        ...key,
        attempt: 2,
        at: instant(202),
        state: 'queued',
        dueAt: instant(203),
        problem: 'HTTP 500',
      })
      expect(await claim(webhookId, instant(900))).toEqual([])
      expect((await store().webhooks.counts([webhookId])).get(webhookId)).toEqual({ queued: 0, failed: 0 })
    })

    test('a disabled webhook fails what is queued and claims nothing until its failed deliveries are queued again', async () => {
      const webhookId = randomUUID()
      await queued(webhookId, 1, 2)
      await claim(webhookId, instant(100), 1)
      await store().webhooks.disable(webhookId, instant(101), 'HTTP 410')
      expect(await store().webhooks.find([webhookId, randomUUID()])).toEqual([{ id: webhookId, disabledAt: instant(101) }])
      expect((await store().webhooks.counts([webhookId])).get(webhookId)).toEqual({
        queued: 0,
        failed: 2,
        lastProblem: 'HTTP 410',
      })
      await queued(webhookId, 3)
      expect(await claim(webhookId, instant(900))).toEqual([])
      expect(await store().webhooks.retry(webhookId, instant(901))).toBe(2)
      expect(await store().webhooks.find([webhookId])).toEqual([{ id: webhookId }])
      const again = await claim(webhookId, instant(902))
      expect(again.map(({ seq, attempt }) => [seq, attempt]).sort()).toEqual([
        [1, 1],
        [2, 1],
        [3, 1],
      ])
    })

    test('deliveries are removed a while after their end, and queued ones that nobody sends', async () => {
      const [webhookId, unused] = [randomUUID(), randomUUID()]
      const { flowId } = await queued(webhookId, 1, 2, 3)
      await queued(unused, 1)
      await claim(webhookId, instant(100), 2)
      const settle = (seq: number, state: 'delivered' | 'failed') =>
        store().webhooks.settle({ webhookId, flowId, seq, attempt: 1, at: instant(101), state })
      await settle(1, 'delivered')
      await settle(2, 'failed')
      await store().webhooks.prune({ delivered: instant(102), failed: instant(-10) })
      expect((await store().webhooks.counts([webhookId])).get(webhookId)).toEqual({ queued: 1, failed: 1 })
      await store().journal.append({ flowId, epoch: 1, deliveries: [newDelivery(webhookId, 1)] })
      expect((await store().webhooks.counts([webhookId])).get(webhookId)).toEqual({ queued: 2, failed: 1 })
      expect(await store().webhooks.prune({ delivered: instant(-10), failed: instant(102) })).toBeGreaterThanOrEqual(4)
      expect((await store().webhooks.counts([webhookId, unused])).size).toBe(0)
    })

    test('the first secret of a webhook stays, whichever process stored it', async () => {
      const id = randomUUID()
      const kept = await Promise.all([store().webhooks.keepSecret(id, 'one'), store().webhooks.keepSecret(id, 'two')])
      expect(new Set(kept).size).toBe(1)
      expect(await store().webhooks.keepSecret(id, 'three')).toBe(kept[0])
      expect(await store().webhooks.find([id])).toEqual([{ id, secret: kept[0] }])
    })

    test('the error of a flow whose owner died is delivered to the given webhooks', async () => {
      const [webhookId, ownerId] = [randomUUID(), `owner-${randomUUID()}`]
      await store().owners.heartbeat({ id: ownerId, host: 'host-1', pid: 4711 })
      const { flowId } = await runningFlow({}, { ownerId })
      const isDead = ({ id }: { readonly id: string }) => id === ownerId
      await store().owners.interruptOrphanedFlows({ staleMs: 86_400_000 * 365, isDead, deliverTo: [webhookId] })
      // Flows of other tests have no living owner either.
      const delivery = (await claim(webhookId, new Date(Date.now() + 60_000), 1_000)).find((one) => one.flowId === flowId)
      const facts = { status: 'FAILED', errorCode: 'FLOW_INTERRUPTED' }
      expect(delivery).toMatchObject({ flowId, seq: await store().updates.lastSeq(flowId), type: 'error', facts })
    })
  })

  describe('schedules', () => {
    const kept = async (timing = 'hourly') => {
      const name = `schedule ${randomUUID()}`
      await store().schedules.keep({ name, timing, nextAt: instant(60) })
      return name
    }
    const lease = instant(120)

    test('a schedule is stored once, and its next instant changes with its timing only', async () => {
      const name = await kept()
      await store().schedules.keep({ name, timing: 'hourly', nextAt: instant(999) })
      expect(await store().schedules.list([name, 'unknown'])).toEqual([{ name, timing: 'hourly', nextAt: instant(60) }])
      await store().schedules.keep({ name, timing: 'daily', nextAt: instant(999) })
      expect(await store().schedules.list([name])).toEqual([{ name, timing: 'daily', nextAt: instant(999) }])
    })

    test('one of several claims of an instant wins, and another one only after the lease', async () => {
      const name = await kept()
      const claims = await Promise.all([1, 2, 3].map(() => store().schedules.claim(name, instant(60), instant(61), lease)))
      expect(claims.filter(Boolean)).toHaveLength(1)
      expect(await store().schedules.claim(name, instant(60), instant(119), instant(200))).toBe(false)
      expect(await store().schedules.claim(name, instant(60), instant(120), instant(200))).toBe(true)
      expect(await store().schedules.claim(name, instant(59), instant(300), instant(400))).toBe(false)
    })

    test('a schedule moves on from an instant once, with the flow that ran', async () => {
      const name = await kept()
      const flowId = randomUUID()
      await store().schedules.claim(name, instant(60), instant(61), lease)
      const run = { name, instant: instant(60), nextAt: instant(3_660) }
      await store().schedules.advance({ ...run, ran: { at: instant(60), flowId } })
      await store().schedules.advance({ ...run, nextAt: instant(7_260) })
      const advanced = { name, timing: 'hourly', nextAt: instant(3_660), lastAt: instant(60), lastFlowId: flowId }
      expect(await store().schedules.list([name])).toEqual([advanced])
      expect(await store().schedules.claim(name, instant(3_660), instant(3_661), instant(3_700))).toBe(true)
      await store().schedules.advance({ name, instant: instant(3_660), nextAt: instant(7_260) })
      expect(await store().schedules.list([name])).toEqual([{ ...advanced, nextAt: instant(7_260) }])
      await store().schedules.advance({
        name,
        instant: instant(7_260),
        nextAt: instant(9_999),
        ran: { at: instant(7_260), problem: 'FLOW_INVALID: no steps' },
      })
      const { lastFlowId: _flowId, ...failed } = { ...advanced, nextAt: instant(9_999), lastAt: instant(7_260) }
      expect(await store().schedules.list([name])).toEqual([{ ...failed, lastProblem: 'FLOW_INVALID: no steps' }])
    })
  })
}

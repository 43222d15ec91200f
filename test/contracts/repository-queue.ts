import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { FlowStart } from '../../src/domain/execution/flow.ts'
import type { ClaimNext, FlowInsert } from '../../src/repositories/repository.ts'
import { definitionOf, instant, newClaim, outcome, stepResult } from '../support/stored-data.ts'
import type { StoreFixture } from './store-fixture.ts'

/** What every store promises of queued flows. Flows of other cases are claimed first where a case counts on the order. */
export function describeQueue({ store, pendingFlow, runningFlow, refusal }: StoreFixture): void {
  describe('the queue of flows', () => {
    const next = (overrides: Partial<ClaimNext> = {}) =>
      store().queue.claimNext({ ownerId: `owner-${randomUUID()}`, startedAt: instant(2), registered: [], ...overrides })
    const toStart = (flowId: string, overrides: Partial<FlowStart> = {}): FlowStart => {
      const { ownerId: _, ...start } = newClaim(flowId, { runOptions: {} })
      return { ...start, ...overrides }
    }
    const queued = async (insert: Partial<FlowInsert> = {}, start: Partial<FlowStart> = {}) => {
      const { id, userId } = await pendingFlow({ userId: `user-${randomUUID()}`, ...insert })
      await store().journal.enqueue(toStart(id, start))
      return { flowId: id, userId }
    }
    const empty = async () => {
      while ('flowId' in (await next()));
    }
    const claimedIds = async (count: number, overrides: Partial<ClaimNext> = {}) => {
      const ids: (string | undefined)[] = []
      for (let taken = 0; taken < count; taken++) {
        const claimed = await next(overrides)
        ids.push('flowId' in claimed ? claimed.flowId : undefined)
      }
      return ids
    }

    test('a queued flow is RUNNING without an owner, keeps its epoch, and is not queued twice', async () => {
      const { flowId } = await queued({}, { input: 'queued input' })
      const flow = await store().flows.find(flowId)
      expect(flow).toMatchObject({ status: 'RUNNING', ownerEpoch: 0, input: 'queued input', runOptions: {} })
      expect(flow?.ownerId).toBeUndefined()
      expect(await store().queue.queuedAt(flowId)).toBeInstanceOf(Date)
      expect(await store().journal.enqueue(toStart(flowId))).toEqual({ status: 'RUNNING' })
      expect(await store().journal.claim(newClaim(flowId))).toEqual({ status: 'RUNNING' })
      expect(await store().journal.enqueue(toStart(randomUUID()))).toEqual({ status: undefined })
      expect(await store().flows.delete(flowId)).toBe('running')
    })

    test('claiming the next flow gives it an owner under the next epoch, and no other process gets it', async () => {
      await empty()
      const { flowId } = await queued()
      const answers = await Promise.all([next({ ownerId: 'a' }), next({ ownerId: 'b' }), next({ ownerId: 'c' })])
      expect(answers.filter((answer) => 'flowId' in answer)).toEqual([{ flowId, epoch: 1 }])
      expect(await store().queue.queuedAt(flowId)).toBeUndefined()
      const flow = await store().flows.find(flowId)
      expect(flow).toMatchObject({ status: 'RUNNING', ownerEpoch: 1, startedAt: instant(2) })
      expect(['a', 'b', 'c']).toContain(flow?.ownerId)
      await store().journal.finish({ flowId, epoch: 1, outcome: outcome() })
      expect(await next()).toEqual({ unrunnable: 0 })
    })

    test('flows of one user are claimed in the order in which they were queued', async () => {
      await empty()
      const userId = `user-${randomUUID()}`
      const flows = [await queued({ userId }), await queued({ userId }), await queued({ userId })]
      expect(await claimedIds(4)).toEqual([...flows.map(({ flowId }) => flowId), undefined])
    })

    test('the user with the fewest running flows is next, so a long queue of one user delays no other user', async () => {
      await empty()
      const userId = `user-${randomUUID()}`
      const long = [await queued({ userId }), await queued({ userId }), await queued({ userId })]
      const other = await queued()
      expect(await claimedIds(4)).toEqual([long[0], other, long[1], long[2]].map((flow) => flow?.flowId))
    })

    test('a user with as many running flows as allowed gets no further one until one of them ends', async () => {
      await empty()
      const userId = `user-${randomUUID()}`
      const [first, second] = [await queued({ userId }), await queued({ userId })]
      const claims = await Promise.all([next({ perUser: 1 }), next({ perUser: 1 }), next({ perUser: 1 })])
      expect(claims.filter((claim) => 'flowId' in claim)).toEqual([{ flowId: first.flowId, epoch: 1 }])
      await store().journal.finish({ flowId: first.flowId, epoch: 1, outcome: outcome() })
      expect(await next({ perUser: 1 })).toEqual({ flowId: second.flowId, epoch: 1 })
    })

    test('a flow of a definition with functions goes only to a process that has registered it', async () => {
      await empty()
      const name = `flow-${randomUUID()}`
      const requires = `${name}@2`
      const definition = { ...definitionOf(`{"name":"${name}"}`), isData: false, version: '2' }
      const { flowId } = await queued({ name, definition }, { requires })
      const plain = await queued()
      expect(await claimedIds(1)).toEqual([plain.flowId])
      expect(await next({ registered: [`${name}@1`] })).toEqual({ unrunnable: 1 })
      const all = await store().queue.unrunnable([`${name}@1`])
      expect(all.filter((found) => found.name === name)).toEqual([{ name, version: '2', flows: 1 }])
      expect(await store().queue.unrunnable([requires])).toEqual(all.filter((found) => found.name !== name))
      expect(await next({ registered: ['other@1', requires] })).toEqual({ flowId, epoch: 1 })
    })

    test('a flow that was claimed at its start for a job is found by the repeated job', async () => {
      const [jobId, { id: flowId }] = [`job-${randomUUID()}`, await pendingFlow()]
      expect(await store().journal.claim({ ...newClaim(flowId, { runOptions: {} }), jobId })).toEqual({ epoch: 1 })
      expect(await next({ jobId })).toEqual({ flowId, epoch: 2 })
      await store().journal.finish({ flowId, epoch: 2, outcome: outcome({ status: 'CANCELLED' }) })
      expect(await store().journal.claim(newClaim(flowId, { runOptions: {} }))).toEqual({ epoch: 3 })
      await empty()
      expect(await next({ jobId })).toEqual({ unrunnable: 0 })
    })

    test('a repeated job gets its flow again under the next epoch, and the former owner is refused', async () => {
      await empty()
      const [jobId, userId] = [`job-${randomUUID()}`, `user-${randomUUID()}`]
      const [first, second] = [await queued({ userId }), await queued({ userId })]
      expect(await next({ jobId })).toEqual({ flowId: first.flowId, epoch: 1 })
      expect(await next({ jobId })).toEqual({ flowId: first.flowId, epoch: 2 })
      const late = { flowId: first.flowId, epoch: 1, results: [stepResult(first.flowId, 'late')] }
      expect(await refusal(store().journal.append(late))).toBe('FLOW_INTERRUPTED')
      await store().journal.finish({ flowId: first.flowId, epoch: 2, outcome: outcome() })
      expect(await next({ jobId })).toEqual({ flowId: second.flowId, epoch: 1 })
    })

    test('a released flow is queued under the next epoch, before flows that were queued later', async () => {
      await empty()
      const userId = `user-${randomUUID()}`
      const [first] = [await queued({ userId }), await queued({ userId })]
      await next()
      const held = { flowId: first.flowId, epoch: 1 }
      expect(await store().queue.release({ ...held, epoch: 7 })).toBe(false)
      expect(await store().queue.release(held)).toBe(true)
      expect((await store().flows.find(held.flowId))?.runOptions).toEqual({ recordedEpoch: 2 })
      expect(await store().queue.release(held)).toBe(false)
      expect(await refusal(store().journal.append(held))).toBe('FLOW_INTERRUPTED')
      expect((await store().flows.find(first.flowId))?.ownerId).toBeUndefined()
      expect(await next()).toEqual({ flowId: first.flowId, epoch: 3 })
      expect(await store().queue.release({ flowId: randomUUID(), epoch: 1 })).toBe(false)
    })

    test('only a paused flow can be woken, and is queued then', async () => {
      await empty()
      const running = await runningFlow()
      expect(await store().queue.wake(running.flowId)).toBe(false)
      expect(await store().queue.wake(randomUUID())).toBe(false)
      await store().journal.finish({ ...running, outcome: outcome({ status: 'PAUSED' }) })
      expect(await next()).toEqual({ unrunnable: 0 })
      expect(await store().queue.wake(running.flowId)).toBe(true)
      expect(await store().queue.wake(running.flowId)).toBe(false)
      expect((await store().flows.find(running.flowId))?.status).toBe('RUNNING')
      expect(await next()).toEqual({ flowId: running.flowId, epoch: 2 })
    })

    test('flows of dead owners are queued again; single steps and flows of living owners are not', async () => {
      await empty()
      const [dead, living] = ['dead', 'living'].map((name) => ({ id: `${name}-${randomUUID()}`, host: 'host-1', pid: 4711 }))
      if (!dead || !living) throw new Error('Expected two owners.')
      await store().owners.heartbeat(dead)
      await store().owners.heartbeat(living)
      const lost = await runningFlow({}, { ownerId: dead.id, runOptions: {} })
      const kept = await runningFlow({}, { ownerId: living.id, runOptions: {} })
      const step = await runningFlow({}, { ownerId: dead.id })
      const options = { staleMs: 60_000, isDead: ({ id }: { id: string }) => id === dead.id }
      const ids = await Promise.all([store().queue.requeueOrphans(options), store().queue.requeueOrphans(options)])
      expect(ids.flat().filter((id) => id === lost.flowId)).toHaveLength(1)
      expect(ids.flat()).not.toContain(kept.flowId)
      expect(ids.flat()).not.toContain(step.flowId)
      expect(await store().flows.find(lost.flowId)).toMatchObject({ status: 'RUNNING', ownerEpoch: 2 })
      expect(await refusal(store().journal.append(lost))).toBe('FLOW_INTERRUPTED')
      const interrupted = await store().owners.interruptOrphanedFlows(options)
      expect(interrupted).toContain(step.flowId)
      expect(interrupted).not.toContain(lost.flowId)
    })

    test('a queued flow is not interrupted, whoever is dead, and can be cancelled by a claim', async () => {
      const { flowId } = await queued()
      expect(await store().owners.interruptOrphanedFlows({ staleMs: 0, isDead: () => true })).not.toContain(flowId)
      const claim = await store().journal.claim(newClaim(flowId, { from: ['RUNNING'] }))
      expect(claim).toEqual({ epoch: 1 })
      await store().journal.finish({ flowId, epoch: 1, outcome: outcome({ status: 'CANCELLED' }) })
      expect(await claimedIds(1)).not.toContain(flowId)
    })

    test('queued flows are counted by user, and found when they have waited for long', async () => {
      await empty()
      const userId = `user-${randomUUID()}`
      const flows = [await queued({ userId }), await queued({ userId }, { requires: 'named@1' })]
      await next()
      await sleep(2)
      expect((await store().queue.countsByUser()).get(userId)).toEqual({ queued: 1, running: 1 })
      const found = async (olderThanMs: number) =>
        (await store().queue.findQueued(olderThanMs, 1_000)).filter((flow) => flow.userId === userId)
      expect(await found(60_000)).toEqual([])

      expect(await found(0)).toEqual([{ flowId: flows[1]?.flowId, userId, requires: 'named@1', queuedAt: expect.any(Date) }])
    })

    test('the clock of the process is compared with the clock of the database', async () => {
      expect(Math.abs(await store().queue.clockOffsetMs())).toBeLessThan(5_000)
    })
  })
}

import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { newClaim, outcome, stepResult, update } from '../support/stored-data.ts'
import type { StoreFixture } from './store-fixture.ts'

/** What every store promises of owners and of the flows of dead ones. */
export function describeOwners({ store, runningFlow, refusal }: StoreFixture): void {
  describe('owners', () => {
    const owner = () => ({ id: `owner-${randomUUID()}`, host: 'host-1', pid: 4711 })
    const ownedFlow = async (ownerId: string) => {
      const running = await runningFlow({}, { ownerId })
      await store().journal.append({
        ...running,
        results: [stepResult(running.flowId, 'draft')],
        updates: [update(1), update(7)],
      })
      return running
    }
    const noOwner = () => false

    test('an owner with a recent heartbeat keeps its flows', async () => {
      const living = owner()
      await store().owners.heartbeat(living)
      await store().owners.heartbeat(living)
      const { flowId } = await ownedFlow(living.id)
      expect(await store().owners.interruptOrphanedFlows({ staleMs: 60_000, isDead: noOwner })).not.toContain(flowId)
      expect(await store().flows.find(flowId)).toMatchObject({ status: 'RUNNING', ownerEpoch: 1 })
    })

    test('running flows of a dead owner are FAILED under the next epoch, with an error as the last update', async () => {
      const [dead, living] = [owner(), owner()]
      await store().owners.heartbeat(dead)
      await store().owners.heartbeat(living)
      const [lost, kept] = [await ownedFlow(dead.id), await ownedFlow(living.id)]
      const finished = await ownedFlow(dead.id)
      await store().journal.finish({ ...finished, outcome: outcome() })
      const asked: unknown[] = []
      const ids = await store().owners.interruptOrphanedFlows({
        staleMs: 60_000,
        isDead: (candidate) => {
          asked.push(candidate)
          return candidate.id === dead.id
        },
      })
      expect(ids).toContain(lost.flowId)
      expect(ids).not.toContain(kept.flowId)
      expect(ids).not.toContain(finished.flowId)
      expect(asked).toContainEqual(dead)
      const flow = await store().flows.find(lost.flowId)
      expect(flow).toMatchObject({ status: 'FAILED', ownerEpoch: 2, error: { code: 'FLOW_INTERRUPTED', retryable: true } })
      const updates = await store().updates.read(lost.flowId, 0, 10)
      expect(updates.map(({ seq, type }) => [seq, type])).toEqual([
        [1, 'step_progress'],
        [7, 'step_progress'],
        [8, 'error'],
      ])
      expect(updates.at(-1)?.data ?? flow?.error).toMatchObject({ code: 'FLOW_INTERRUPTED' })
      expect(updates.at(-1)?.timestamp).toBeInstanceOf(Date)
      expect(await store().updates.lastSeq(lost.flowId)).toBe(8)
      expect((await store().flows.find(finished.flowId))?.status).toBe('COMPLETED')
      expect(await refusal(store().journal.append({ ...lost, results: [stepResult(lost.flowId, 'late')] }))).toBe(
        'FLOW_INTERRUPTED',
      )
      expect((await store().flows.stepResults(lost.flowId)).map(({ stepId }) => stepId)).toEqual(['draft'])
      expect(await store().journal.claim(newClaim(lost.flowId))).toEqual({ epoch: 3 })
    })

    test('an owner without a heartbeat for too long is dead', async () => {
      const silent = owner()
      await store().owners.heartbeat(silent)
      const { flowId } = await ownedFlow(silent.id)
      await sleep(30)
      expect(await store().owners.interruptOrphanedFlows({ staleMs: 10, isDead: noOwner })).toContain(flowId)
    })

    test('an owner that unregistered or never sent a heartbeat leaves no flow RUNNING', async () => {
      const gone = owner()
      await store().owners.heartbeat(gone)
      const [left, unknown] = [await ownedFlow(gone.id), await ownedFlow(`owner-${randomUUID()}`)]
      await store().owners.unregister(gone.id)
      await store().owners.unregister(`owner-${randomUUID()}`)
      const ids = await store().owners.interruptOrphanedFlows({ staleMs: 60_000, isDead: noOwner })
      expect(ids).toContain(left.flowId)
      expect(ids).toContain(unknown.flowId)
    })

    test('an expired owner is dead at once and leaves no flow RUNNING', async () => {
      const gone = owner()
      await store().owners.heartbeat(gone)
      const { flowId } = await ownedFlow(gone.id)
      await store().owners.expire(gone.id)
      await store().owners.expire(`owner-${randomUUID()}`)
      expect(await store().owners.interruptOrphanedFlows({ staleMs: 60_000, isDead: noOwner })).toContain(flowId)
    })

    test('interrupted flows with run options are found until they are resumed', async () => {
      const gone = owner()
      await store().owners.heartbeat(gone)
      const wanted = await runningFlow({}, { ownerId: gone.id, runOptions: { streaming: true } })
      const unwanted = await runningFlow({}, { ownerId: gone.id })
      const found = () => store().flows.findInterrupted('00000000-0000-0000-0000-000000000000', 1_000)
      expect(await found()).not.toContain(wanted.flowId)
      await store().owners.expire(gone.id)
      await store().owners.interruptOrphanedFlows({ staleMs: 60_000, isDead: noOwner })
      expect(await found()).toContain(wanted.flowId)
      expect(await found()).not.toContain(unwanted.flowId)
      await store().journal.claim(newClaim(wanted.flowId))
      expect(await found()).not.toContain(wanted.flowId)
    })

    test('flows of a dead owner are interrupted once, also by several processes at the same time', async () => {
      const dead = owner()
      await store().owners.heartbeat(dead)
      const flows = [await ownedFlow(dead.id), await ownedFlow(dead.id)]
      const isDead = (candidate: { id: string }) => candidate.id === dead.id
      const answers = await Promise.all(
        Array.from({ length: 3 }, () => store().owners.interruptOrphanedFlows({ staleMs: 60_000, isDead })),
      )
      for (const { flowId } of flows) {
        expect(answers.flat().filter((id) => id === flowId)).toHaveLength(1)
        expect((await store().updates.read(flowId, 0, 10)).filter(({ type }) => type === 'error')).toHaveLength(1)
        expect((await store().flows.find(flowId))?.ownerEpoch).toBe(2)
      }
    })

    test('a flow without updates gets the error as update number 1', async () => {
      const dead = owner()
      await store().owners.heartbeat(dead)
      const { flowId } = await runningFlow({}, { ownerId: dead.id })
      await store().owners.interruptOrphanedFlows({ staleMs: 60_000, isDead: (candidate) => candidate.id === dead.id })
      expect((await store().updates.read(flowId, 0, 10)).map(({ seq, type }) => [seq, type])).toEqual([[1, 'error']])
    })
  })
}

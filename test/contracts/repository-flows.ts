import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { ListFlowsQuery } from '../../src/repositories/repository.ts'
import { definitionOf, failedResult, instant, newFlow, outcome, stepResult, update } from '../support/stored-data.ts'
import type { StoreFixture } from './store-fixture.ts'

/** What every store promises of flows and of lists of the flows of a thread. */
export function describeFlows({ store, thread, pendingFlow, runningFlow, resultIds, refusal }: StoreFixture): void {
  describe('flows', () => {
    test('a new flow is PENDING and has every field that it was created with', async () => {
      const { carried: _carried, ...flow } = await pendingFlow({
        description: 'Two voices',
        flowType: 'critique',
        input: 'A prompt',
        metadata: { tag: 'x', nested: { list: [1, null, 'two'], no: false } },
        parentFlowId: randomUUID(),
        simulated: true,
      })
      expect(await store().flows.find(flow.id)).toEqual({ ...flow, status: 'PENDING', ownerEpoch: 0 })
    })

    test('fields that a new flow was created without are undefined', async () => {
      const flow = await pendingFlow()
      expect(await store().flows.find(flow.id)).toEqual({ ...flow, status: 'PENDING', ownerEpoch: 0 })
    })

    test('an unknown id has no flow, no results and no updates', async () => {
      expect(await store().flows.find(randomUUID())).toBeUndefined()
      expect(await store().flows.stepResults(randomUUID())).toEqual([])
      expect(await store().updates.lastSeq(randomUUID())).toBe(0)
      expect(await store().updates.read(randomUUID(), 0, 10)).toEqual([])
    })

    test('a second flow of the same id is refused, and flows created at the same time are written', async () => {
      const { id: threadId } = await thread()
      const first = newFlow(threadId, { name: 'first' })
      await store().journal.createFlow(first)
      const others = [newFlow(threadId), newFlow(threadId)]
      const writes = [others[0], newFlow(threadId, { id: first.id, name: 'second' }), others[1]].flatMap((flow) => flow ?? [])
      const settled = await Promise.allSettled(writes.map((flow) => store().journal.createFlow(flow)))
      expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      expect((await store().flows.find(first.id))?.name).toBe('first')
      for (const other of others) expect(await store().flows.find(other.id)).toBeDefined()
    })

    test('a flow of a missing or deleted thread is refused, and flows created at the same time are written', async () => {
      const gone = await thread()
      await store().threads.delete(gone.id)
      const carried = [stepResult(randomUUID(), 'draft')]
      const threadIds = [(await thread()).id, gone.id, randomUUID()]
      const flows = threadIds.map((threadId) => newFlow(threadId, { carried }))
      const codes = await Promise.all(flows.map((flow) => refusal(store().journal.createFlow(flow))))
      expect(codes).toEqual(['accepted', 'THREAD_NOT_FOUND', 'THREAD_NOT_FOUND'])
      expect((await Promise.all(flows.map(({ id }) => store().flows.find(id)))).map((flow) => flow !== undefined)).toEqual([
        true,
        false,
        false,
      ])
      expect((await Promise.all(flows.map(({ id }) => resultIds(id)))).map((ids) => ids.length)).toEqual([1, 0, 0])
    })

    test('a thread that is deleted while flows are created in it leaves no flow', async () => {
      for (let round = 0; round < 5; round++) {
        const { id: threadId } = await thread()
        const flows = Array.from({ length: 12 }, () => newFlow(threadId))
        const creating = flows.map(async (flow, index) => {
          for (let turn = 0; turn < index; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
          return refusal(store().journal.createFlow(flow))
        })
        const deleting = sleep(round).then(() => store().threads.delete(threadId))
        expect(['accepted', 'THREAD_NOT_FOUND']).toEqual(expect.arrayContaining(await Promise.all(creating)))
        expect(await deleting).toBe(true)
        expect(await Promise.all(flows.map(({ id }) => store().flows.find(id)))).toEqual(flows.map(() => undefined))
      }
    })

    test('flows of one definition share it, and it stays when one of them is deleted', async () => {
      const definition = definitionOf(`{"name":"shared","mark":"${randomUUID()}"}`)
      const [a, b] = [await pendingFlow({ definition }), await pendingFlow({ definition: { ...definition } })]
      expect(await store().flows.delete(a.id)).toBe('deleted')
      expect((await store().flows.find(b.id))?.definition).toEqual(definition)
    })

    test('a definition with functions is stored as one that is not data', async () => {
      const definition = { ...definitionOf(`{"prompt":{"$function":true},"mark":"${randomUUID()}"}`), isData: false }
      const flow = await pendingFlow({ definition })
      expect((await store().flows.find(flow.id))?.definition).toEqual(definition)
    })

    test('carried results belong to the new flow under its own id', async () => {
      const parent = await pendingFlow()
      const carried = [stepResult(parent.id, 'draft'), stepResult(parent.id, 'critique', { iteration: 2 })]
      const flow = await pendingFlow({ parentFlowId: parent.id, carried })
      const own = carried.map((result) => ({
        ...result,
        flowId: flow.id,
        id: `${flow.id}/${result.path}#${result.iteration}.0`,
      }))
      expect(await store().flows.stepResults(flow.id)).toEqual(own)
      expect(await store().flows.stepResults(parent.id)).toEqual([])
    })

    test('deleting a flow removes its results and updates', async () => {
      const { flowId, epoch } = await runningFlow()
      await store().journal.finish({
        flowId,
        epoch,
        results: [stepResult(flowId, 'draft')],
        updates: [update(1)],
        outcome: outcome(),
      })
      expect(await store().flows.delete(flowId)).toBe('deleted')
      expect(await store().flows.find(flowId)).toBeUndefined()
      expect(await store().flows.stepResults(flowId, { samples: true })).toEqual([])
      expect(await store().updates.read(flowId, 0, 10)).toEqual([])
      expect(await store().updates.lastSeq(flowId)).toBe(0)
      expect(await store().updates.heads([flowId])).toEqual(new Map())
      expect(await store().flows.delete(flowId)).toBe('missing')
    })

    test('heads are read for many flows at once and leave out unknown ones', async () => {
      const pending = await pendingFlow()
      const { flowId, epoch } = await runningFlow()
      await store().journal.append({ flowId, epoch, updates: [update(1), update(2)] })
      await store().journal.append({ flowId, epoch, updates: [update(3)] })
      const heads = await store().updates.heads([pending.id, randomUUID(), flowId, 'no id at all', '\0'])
      expect(heads).toEqual(
        new Map([
          [pending.id, { status: 'PENDING', lastSeq: 0 }],
          [flowId, { status: 'RUNNING', lastSeq: 3 }],
        ]),
      )
      expect(await store().updates.heads([])).toEqual(new Map())
    })

    test('a running flow is not deleted', async () => {
      const { flowId, epoch } = await runningFlow()
      await store().journal.append({ flowId, epoch, results: [stepResult(flowId, 'draft')] })
      expect(await store().flows.delete(flowId)).toBe('running')
      expect(await resultIds(flowId)).toHaveLength(1)
    })
  })

  describe('lists of flows', () => {
    const query = (threadId: string, overrides: Partial<ListFlowsQuery> = {}): ListFlowsQuery => ({
      threadId,
      limit: 100,
      offset: 0,
      sortBy: 'createdAt',
      sortOrder: 'ASC',
      ...overrides,
    })
    const names = async (threadId: string, overrides: Partial<ListFlowsQuery> = {}) =>
      (await store().flows.list(query(threadId, overrides))).map((flow) => flow.name)

    test('a list is empty for a thread without flows and for an unknown thread', async () => {
      expect(await store().flows.list(query((await thread()).id))).toEqual([])
      expect(await store().flows.list(query(randomUUID()))).toEqual([])
    })

    test('a list holds only flows of its thread, without their inputs, metadata and outputs', async () => {
      const { flowId, epoch } = await runningFlow({ metadata: { tag: 'x' }, parentFlowId: randomUUID() })
      const { result: totals } = outcome()
      if (!totals) throw new Error('expected an outcome with totals')
      await store().journal.finish({ flowId, epoch, outcome: outcome({ result: { ...totals, output: 'long' } }) })
      await pendingFlow()
      const stored = await store().flows.find(flowId)
      if (!stored) throw new Error('expected the flow to be stored')
      const { input, metadata, runOptions, result, ...facts } = stored
      expect(result?.output).toBe('long')
      expect(await store().flows.list(query(stored.threadId))).toEqual([{ ...facts, inputStart: input, result: totals }])
    })

    test('a list shows the first 200 characters of an input, none of them cut in two', async () => {
      const flow = await pendingFlow({ input: `${'\u{1f600}'.repeat(250)} end` })
      expect((await store().flows.list(query(flow.threadId)))[0]?.inputStart).toBe('\u{1f600}'.repeat(200))
    })

    test('states of steps are read for a list of flows without the outputs of the steps', async () => {
      const { flowId, epoch } = await runningFlow()
      const other = await pendingFlow()
      const results = [
        stepResult(flowId, 'draft'),
        failedResult(flowId, 'review'),
        stepResult(flowId, 'draft', { iteration: 2 }),
        stepResult(flowId, 'vote', { sample: 1 }),
      ]
      await store().journal.append({ flowId, epoch, results })
      const unknown = randomUUID()
      const states = await store().flows.stepStates([flowId, other.id, unknown])
      expect([...states]).toEqual([
        [
          flowId,
          [
            { path: 'draft', status: 'SUCCESS' },
            { path: 'review', status: 'FAILED' },
          ],
        ],
        [other.id, []],
        [unknown, []],
      ])
      const only = await store().flows.stepResults(flowId, { samples: true, paths: ['vote', 'draft'] })
      expect(only.map(({ stepId, iteration }) => [stepId, iteration])).toEqual([
        ['draft', 1],
        ['draft', 2],
        ['vote', 1],
      ])
    })

    test('a list is filtered by status and type', async () => {
      const { id: threadId } = await thread()
      await pendingFlow({ threadId, name: 'a', flowType: 'parallel' })
      await pendingFlow({ threadId, name: 'b', flowType: 'critique', createdAt: instant(1) })
      await runningFlow({ threadId, name: 'c', flowType: 'critique', createdAt: instant(2) })
      expect(await names(threadId, { status: 'RUNNING' })).toEqual(['c'])
      expect(await names(threadId, { type: 'critique' })).toEqual(['b', 'c'])
      expect(await names(threadId, { type: 'critique', status: 'PENDING' })).toEqual(['b'])
      expect(await names(threadId, { type: 'graph' })).toEqual([])
    })

    test('a list is sorted by creation, completion or name, in both directions', async () => {
      const { id: threadId } = await thread()
      for (const [index, flowName] of ['beta', 'gamma', 'alpha'].entries()) {
        const { flowId, epoch } = await runningFlow({ threadId, name: flowName, createdAt: instant(index) })
        await store().journal.finish({ flowId, epoch, outcome: outcome({ completedAt: instant(100 - index) }) })
      }
      expect(await names(threadId)).toEqual(['beta', 'gamma', 'alpha'])
      expect(await names(threadId, { sortOrder: 'DESC' })).toEqual(['alpha', 'gamma', 'beta'])
      expect(await names(threadId, { sortBy: 'completedAt' })).toEqual(['alpha', 'gamma', 'beta'])
      expect(await names(threadId, { sortBy: 'completedAt', sortOrder: 'DESC' })).toEqual(['beta', 'gamma', 'alpha'])
      expect(await names(threadId, { sortBy: 'name' })).toEqual(['alpha', 'beta', 'gamma'])
      expect(await names(threadId, { sortBy: 'name', sortOrder: 'DESC' })).toEqual(['gamma', 'beta', 'alpha'])
    })

    test('a list sorted by completion ends with unfinished flows in both directions', async () => {
      const { id: threadId } = await thread()
      const unfinished = await pendingFlow({ threadId })
      const alsoUnfinished = await pendingFlow({ threadId })
      const finished: string[] = []
      for (const second of [100, 200]) {
        const { flowId, epoch } = await runningFlow({ threadId })
        await store().journal.finish({ flowId, epoch, outcome: outcome({ completedAt: instant(second) }) })
        finished.push(flowId)
      }
      const waiting = [unfinished.id, alsoUnfinished.id].sort()
      const ids = async (sortOrder: 'ASC' | 'DESC') =>
        (await store().flows.list(query(threadId, { sortBy: 'completedAt', sortOrder }))).map(({ id }) => id)
      expect(await ids('ASC')).toEqual([...finished, ...waiting])
      expect(await ids('DESC')).toEqual([...finished.toReversed(), ...waiting.toReversed()])
    })

    test.each(['createdAt', 'completedAt', 'name'] as const)(
      'every flow is on exactly one page when all flows tie by %s',
      async (sortBy) => {
        const { id: threadId } = await thread()
        const ids = await Promise.all(Array.from({ length: 11 }, async () => (await pendingFlow({ threadId })).id))
        for (const sortOrder of ['ASC', 'DESC'] as const) {
          const paged: string[] = []
          for (let offset = 0; offset < 16; offset += 4) {
            const page = await store().flows.list(query(threadId, { sortBy, sortOrder, limit: 4, offset }))
            paged.push(...page.map((flow) => flow.id))
          }
          expect(paged).toHaveLength(11)
          expect(new Set(paged)).toEqual(new Set(ids))
        }
      },
    )
  })
}

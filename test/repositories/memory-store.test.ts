import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'
import type { FlowInsert, Store } from '../../src/repositories/repository.ts'
import { describeRepository } from '../contracts/repository.ts'
import { instant, newClaim, newFlow, newThread, outcome, stepResult, update } from '../support/stored-data.ts'

describeRepository('the memory store', async () => {
  const store = createMemoryStore()
  return { store, close: () => store.close() }
})

describeRepository('the memory store that packs every settled flow at once', async () => {
  const store = createMemoryStore({ recentFlows: 0 })
  return { store, close: () => store.close() }
})

async function createStoreWithThread(options: Parameters<typeof createMemoryStore>[0] = {}): Promise<Store> {
  const store = createMemoryStore(options)
  await store.threads.create(newThread({ id: 'thread' }))
  return store
}

describe('the memory store, bounded', () => {
  const settle = async (store: Store, id: string) => {
    const answer = await store.journal.claim(newClaim(id))
    if (!('epoch' in answer)) throw new Error(`Expected flow ${id} to be free.`)
    await store.journal.finish({
      flowId: id,
      epoch: answer.epoch,
      results: [stepResult(id, 'draft')],
      updates: [update(1)],
      outcome: outcome(),
    })
  }
  const present = async (store: Store, ids: readonly string[]) => {
    const flows = await Promise.all(ids.map((id) => store.flows.find(id)))
    return ids.filter((_, index) => flows[index])
  }

  test('the memory store keeps the newest settled flows and drops older ones with all their data', async () => {
    const store = await createStoreWithThread({ maxFlows: 3 })
    for (const id of ['a', 'b', 'c', 'd', 'e']) {
      await store.journal.createFlow(newFlow('thread', { id }))
      await settle(store, id)
    }
    expect(await present(store, ['a', 'b', 'c', 'd', 'e'])).toEqual(['c', 'd', 'e'])
    expect(await store.flows.stepResults('a')).toEqual([])
    expect(await store.updates.lastSeq('a')).toBe(0)
    expect(await store.flows.stepResults('c')).toHaveLength(1)
  })

  test('the memory store never drops a running or new flow, however many there are', async () => {
    const store = await createStoreWithThread({ maxFlows: 2 })
    const ids = Array.from({ length: 20 }, (_, index) => `flow${index}`)
    for (const id of ids) {
      await store.journal.createFlow(newFlow('thread', { id }))
      await store.journal.claim(newClaim(id))
    }
    await store.journal.createFlow(newFlow('thread', { id: 'new' }))
    expect(await present(store, [...ids, 'new'])).toEqual([...ids, 'new'])
  })

  test('the memory store counts a resumed flow as running again', async () => {
    const store = await createStoreWithThread({ maxFlows: 1 })
    for (const id of ['resumed', 'other']) await store.journal.createFlow(newFlow('thread', { id }))
    const answer = await store.journal.claim(newClaim('resumed'))
    await store.journal.finish({
      flowId: 'resumed',
      epoch: 'epoch' in answer ? answer.epoch : 0,
      outcome: outcome({ status: 'FAILED' }),
    })
    await store.journal.claim(newClaim('resumed'))
    await settle(store, 'other')
    expect(await present(store, ['resumed', 'other'])).toEqual(['resumed', 'other'])
  })

  test('the memory store keeps waiting flows, however few settled ones it keeps', async () => {
    const store = await createStoreWithThread({ maxFlows: 1 })
    const ids = Array.from({ length: 2_000 }, (_, index) => `flow${index}`)
    await Promise.all(ids.map((id) => store.journal.createFlow(newFlow('thread', { id }))))
    expect(await present(store, ids)).toEqual(ids)
  })

  test('the memory store drops the oldest waiting flow and the oldest thread beyond their own limits', async () => {
    const store = createMemoryStore({ maxWaitingFlows: 2, maxThreads: 2 })
    for (const id of ['a', 'b', 'c']) {
      await store.threads.create(newThread({ id }))
      await store.journal.createFlow(newFlow(id, { id }))
    }
    expect(await present(store, ['a', 'b', 'c'])).toEqual(['b', 'c'])
    expect(await store.threads.find('a')).toBeUndefined()
    expect(await store.threads.find('b')).toBeDefined()
  })

  test.each([0, -1, 1.5, Number.NaN])('the memory store refuses a limit of %d flows', (maxFlows) => {
    expect(() => createMemoryStore({ maxFlows })).toThrowError(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  })

  test('the memory store keeps one definition for all flows of the same content', async () => {
    const store = await createStoreWithThread()
    await store.journal.createFlow(newFlow('thread', { id: 'a' }))
    await store.journal.createFlow(newFlow('thread', { id: 'b' }))
    const [a, b] = [await store.flows.find('a'), await store.flows.find('b')]
    expect(a?.definition).toBe(b?.definition)
  })
})

describe('the memory store, packing', () => {
  const settleAs = async (
    store: Store,
    id: string,
    overrides: Partial<FlowInsert> & { parsed?: unknown; output?: string } = {},
  ) => {
    const { parsed, output, ...flow } = overrides
    await store.journal.createFlow(newFlow('thread', { id, ...flow }))
    await store.journal.claim(newClaim(id))
    await store.journal.finish({
      flowId: id,
      epoch: 1,
      results: [stepResult(id, 'draft', { parsed, ...(output === undefined ? {} : { output }) })],
      updates: [update(1)],
      outcome: outcome({ status: 'FAILED' }),
    })
  }

  test('the memory store keeps flows uncompressed that cannot be packed', async () => {
    const store = await createStoreWithThread({ recentFlows: 0 })
    const parsed = { call: () => 'kept' }
    await settleAs(store, 'a', { parsed })
    await settleAs(store, 'b')
    expect((await store.flows.stepResults('a'))[0]?.parsed).toBe(parsed)
    expect(await store.flows.stepResults('b')).toHaveLength(1)
  })

  test('the memory store lists packed, recent and running flows together', async () => {
    const store = await createStoreWithThread({ recentFlows: 3 })
    const ids = Array.from({ length: 150 }, (_, index) => `flow${String(index).padStart(3, '0')}`)
    for (const [index, id] of ids.entries()) await settleAs(store, id, { createdAt: instant(1_000 - index) })
    await store.journal.createFlow(newFlow('thread', { id: 'waiting', createdAt: instant(0) }))
    const query = { threadId: 'thread', limit: 1_000, offset: 0, sortBy: 'createdAt', sortOrder: 'DESC' } as const
    expect((await store.flows.list(query)).map(({ id }) => id)).toEqual([...ids, 'waiting'])
    expect((await store.flows.list({ ...query, status: 'FAILED', limit: 2, offset: 70 })).map(({ id }) => id)).toEqual(
      ids.slice(70, 72),
    )
  })

  test('a packed flow runs again with all its data and is not dropped while it runs', async () => {
    const store = await createStoreWithThread({ maxFlows: 2, recentFlows: 0 })
    await settleAs(store, 'resumed')
    expect(await store.journal.claim(newClaim('resumed'))).toEqual({ epoch: 2 })
    for (const id of ['b', 'c', 'd']) await settleAs(store, id)
    expect(await store.flows.find('b')).toBeUndefined()
    await store.journal.append({
      flowId: 'resumed',
      epoch: 2,
      results: [stepResult('resumed', 'critique')],
      updates: [update(2)],
    })
    expect((await store.flows.stepResults('resumed')).map(({ stepId }) => stepId)).toEqual(['draft', 'critique'])
    expect((await store.updates.read('resumed', 0, 10)).map(({ seq }) => seq)).toEqual([1, 2])
  })

  test('the memory store refuses a late write to a packed flow and still reads the flow', async () => {
    const store = await createStoreWithThread({ recentFlows: 0 })
    await settleAs(store, 'a')
    await expect(store.journal.append({ flowId: 'a', epoch: 0, updates: [update(2)] })).rejects.toMatchObject({
      code: 'FLOW_INTERRUPTED',
    })
    expect(await store.updates.lastSeq('a')).toBe(1)
  })

  test('the memory store holds a finished flow in less memory than its texts', async () => {
    setFlagsFromString('--expose-gc')
    const collect: () => void = runInNewContext('gc')
    const held = async () => {
      // What lies outside the heap is freed a turn after its owner was collected.
      for (let round = 0; round < 3; round++) {
        collect()
        await new Promise<void>((resolve) => setImmediate(resolve))
      }
      const { heapUsed, external } = process.memoryUsage()
      return heapUsed + external
    }
    const prose = (index: number) =>
      Array.from({ length: 600 }, (_, word) => `w${(word * 7919 + index * 104_729) % 997}`).join(' ')
    const store = await createStoreWithThread()
    for (let index = 0; index < 100; index++) await settleAs(store, `early${index}`, { output: prose(index) })
    const before = await held()
    for (let index = 0; index < 800; index++) await settleAs(store, `late${index}`, { output: prose(index) })
    const bytesPerFlow = ((await held()) - before) / 800
    expect(await store.flows.find('late0')).toBeDefined()
    expect(bytesPerFlow).toBeLessThan(prose(0).length)
  })
})

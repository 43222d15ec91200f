import { describe, expect, test } from 'vitest'
import { createMemoryStore } from '../../src/repositories/memory-store.ts'
import type { Store } from '../../src/repositories/repository.ts'
import { describeRepository } from '../contracts/repository.ts'
import { newClaim, newFlow, newThread, outcome, stepResult, update } from '../support/stored-data.ts'

describeRepository('the memory store', async () => {
  const store = createMemoryStore()
  return { store, close: () => store.close() }
})

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

  test('keeps the newest settled flows and drops older ones with all they hold', async () => {
    const store = createMemoryStore({ maxFlows: 3 })
    for (const id of ['a', 'b', 'c', 'd', 'e']) {
      await store.journal.createFlow(newFlow('thread', { id }))
      await settle(store, id)
    }
    expect(await present(store, ['a', 'b', 'c', 'd', 'e'])).toEqual(['c', 'd', 'e'])
    expect(await store.flows.stepResults('a')).toEqual([])
    expect(await store.updates.lastSeq('a')).toBe(0)
    expect(await store.flows.stepResults('c')).toHaveLength(1)
  })

  test('never drops a running flow, nor one that was just created, however many there are', async () => {
    const store = createMemoryStore({ maxFlows: 2 })
    const ids = Array.from({ length: 20 }, (_, index) => `flow${index}`)
    for (const id of ids) {
      await store.journal.createFlow(newFlow('thread', { id }))
      await store.journal.claim(newClaim(id))
    }
    await store.journal.createFlow(newFlow('thread', { id: 'new' }))
    expect(await present(store, [...ids, 'new'])).toEqual([...ids, 'new'])
  })

  test('counts a resumed flow as running again', async () => {
    const store = createMemoryStore({ maxFlows: 1 })
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

  test('drops the oldest flow that was never executed only when ten times as many wait', async () => {
    const store = createMemoryStore({ maxFlows: 1 })
    const ids = Array.from({ length: 11 }, (_, index) => `flow${index}`)
    for (const id of ids) await store.journal.createFlow(newFlow('thread', { id }))
    expect(await present(store, ids)).toEqual(ids.slice(1))
  })

  test('drops the oldest thread beyond ten times as many as flows', async () => {
    const store = createMemoryStore({ maxFlows: 1 })
    for (let index = 0; index < 11; index++) await store.threads.create(newThread({ id: `thread${index}` }))
    expect(await store.threads.find('thread0')).toBeUndefined()
    expect(await store.threads.find('thread1')).toBeDefined()
  })

  test('keeps one definition for all flows of the same content', async () => {
    const store = createMemoryStore()
    await store.journal.createFlow(newFlow('thread', { id: 'a' }))
    await store.journal.createFlow(newFlow('thread', { id: 'b' }))
    const [a, b] = [await store.flows.find('a'), await store.flows.find('b')]
    expect(a?.definition).toBe(b?.definition)
  })
})

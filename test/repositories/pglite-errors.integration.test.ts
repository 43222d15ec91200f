import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { openStore } from '../../src/repositories/database.ts'
import type { Store } from '../../src/repositories/repository.ts'
import { newClaim, newFlow, newThread, outcome, stepResult, update } from '../support/stored-data.ts'

let store: Store
beforeAll(async () => {
  store = await openStore({ url: 'pglite://memory' })
})
afterAll(() => store.close())

const runningFlows = async (count: number) => {
  const thread = newThread()
  await store.threads.create(thread)
  const flows = await Promise.all(
    Array.from({ length: count }, async () => {
      const flow = newFlow(thread.id)
      const flowId = flow.id
      await store.journal.createFlow(flow)
      const taken = await store.journal.claim(newClaim(flowId))
      if (!('epoch' in taken)) throw new Error(`Expected to win the claim, found the flow ${taken.status}.`)
      return { flowId, epoch: taken.epoch }
    }),
  )
  return { thread, flows }
}

test('a write that the embedded database refuses fails alone: writes and reads beside it are answered', async () => {
  const { thread, flows } = await runningFlows(12)
  const poisoned = 5
  const writes = flows.map(({ flowId, epoch }, index) => {
    const retryCount = index === poisoned ? 3_000_000_000 : 0
    const results = [stepResult(flowId, 'draft', { retryCount })]
    const entry = { flowId, epoch, results, updates: [update(1)] }
    return index % 2 === 0 ? store.journal.append(entry) : store.journal.finish({ ...entry, outcome: outcome() })
  })
  const reads = flows.flatMap(({ flowId }) => [
    store.flows.find(flowId),
    store.updates.read(flowId, 0, 10),
    store.flows.stepResults(flowId),
    store.threads.list('nobody', 10, 0),
  ])
  const doubled = store.threads.create(newThread({ id: thread.id }))
  const [settled, answered, refused] = await Promise.all([
    Promise.allSettled(writes),
    Promise.allSettled(reads),
    doubled.catch((error: unknown) => error),
  ])
  expect(refused).toMatchObject({ code: 'INTERNAL', details: { sqlState: '23505' } })
  expect(settled.flatMap(({ status }, index) => (status === 'rejected' ? [index] : []))).toEqual([poisoned])
  expect(settled[poisoned]).toMatchObject({ reason: { code: 'INTERNAL', details: { sqlState: '22003' } } })
  expect(answered.filter(({ status }) => status === 'rejected')).toEqual([])
  const kept = await Promise.all(flows.map(({ flowId }) => store.flows.stepResults(flowId)))
  expect(kept.map((results) => results.length)).toEqual(flows.map((_, index) => (index === poisoned ? 0 : 1)))
})

test.skipIf(process.platform === 'win32')('other users cannot reach the files of an embedded database', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'polyphony-mode-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const directory = join(folder, 'data')
  await (await openStore({ url: `pglite://${directory}` })).close()
  expect(statSync(directory).mode & 0o077).toBe(0)
})

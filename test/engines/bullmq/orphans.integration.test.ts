import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { openStore } from '../../../src/repositories/database.ts'
import type { Store } from '../../../src/repositories/repository.ts'
import { createStoreFixture } from '../../contracts/store-fixture.ts'
import { openTestPostgres, type TestPostgres } from '../../support/postgres.ts'
import { newClaim } from '../../support/stored-data.ts'

describe('flows of a dead process', () => {
  let server: TestPostgres
  let store: Store
  beforeAll(async () => {
    server = await openTestPostgres()
    store = await openStore({ url: server.url })
  })
  afterAll(async () => {
    await store.close()
    await server.drop()
  })
  const { pendingFlow } = createStoreFixture(() => store)

  async function runUnder(jobId: string, ownerId: string): Promise<string> {
    const { id } = await pendingFlow()
    const { ownerId: _, ...start } = newClaim(id, { runOptions: {} })
    await store.journal.enqueue(start)
    expect(await store.queue.claimNext({ ownerId, startedAt: new Date(), registered: [], jobId })).toMatchObject({ flowId: id })
    return id
  }

  test('that a job drives are left to the engine of the job by processes with another engine', async () => {
    const dead = { id: randomUUID(), host: 'host-1', pid: 4711 }
    await store.owners.heartbeat(dead)
    const jobId = randomUUID()
    const flowId = await runUnder(jobId, dead.id)
    const isDead = ({ id }: { readonly id: string }) => id === dead.id
    expect(await store.owners.interruptOrphanedFlows({ staleMs: 60_000, isDead })).toEqual([])
    expect(await store.flows.find(flowId)).toMatchObject({ status: 'RUNNING', ownerId: dead.id })
    const next = await store.queue.claimNext({ ownerId: randomUUID(), startedAt: new Date(), registered: [], jobId })
    expect(next).toEqual({ flowId, epoch: 2 })
  })

  test('that a job drives are interrupted when no process with the engine of the job has taken them over for long', async () => {
    const dead = { id: randomUUID(), host: 'host-1', pid: 4711 }
    await store.owners.heartbeat(dead)
    const flowId = await runUnder(randomUUID(), dead.id)
    await store.owners.expire(dead.id)
    expect(await store.owners.interruptOrphanedFlows({ staleMs: 60_000, isDead: () => false })).toEqual([flowId])
  })
})

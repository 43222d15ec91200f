import type { Claim, FlowInsert, Store } from '../../src/repositories/repository.ts'
import { newClaim, newFlow, newThread } from '../support/stored-data.ts'

/** Ways to put rows into the store under test. */
export function createStoreFixture(store: () => Store) {
  const thread = async (overrides: Parameters<typeof newThread>[0] = {}) => {
    const created = newThread(overrides)
    await store().threads.create(created)
    return created
  }
  const pendingFlow = async (overrides: Partial<FlowInsert> = {}) => {
    const flow = newFlow(overrides.threadId ?? (await thread()).id, overrides)
    await store().journal.createFlow(flow)
    return flow
  }
  const claimed = async (claim: Claim) => {
    const taken = await store().journal.claim(claim)
    if (!('epoch' in taken)) throw new Error(`Expected to win the claim, found the flow ${taken.status}.`)
    return taken.epoch
  }
  const runningFlow = async (overrides: Partial<FlowInsert> = {}, claim: Partial<Claim> = {}) => {
    const flow = await pendingFlow(overrides)
    return { flow, flowId: flow.id, epoch: await claimed(newClaim(flow.id, claim)) }
  }
  const resultIds = async (flowId: string) => (await store().flows.stepResults(flowId, { samples: true })).map(({ id }) => id)
  return { store, thread, pendingFlow, claimed, runningFlow, resultIds, refusal }
}

/** The code with which a write is refused, or `accepted`. */
const refusal = (write: Promise<unknown>): Promise<string | undefined> =>
  write.then(
    () => 'accepted',
    (error: { code?: string }) => error.code,
  )

export type StoreFixture = ReturnType<typeof createStoreFixture>

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Store } from '../../src/repositories/repository.ts'
import { instant, newClaim, newMessage, newThread, outcome, stepResult, update } from '../support/stored-data.ts'
import { describeBackground } from './repository-background.ts'
import { describeBudgets } from './repository-budgets.ts'
import { describeCallers, newApiKey, newHash, newRequest } from './repository-callers.ts'
import { describeConversations } from './repository-conversations.ts'
import { describeEvents } from './repository-events.ts'
import { describeFiles } from './repository-files.ts'
import { describeFlows } from './repository-flows.ts'
import { describeJournal } from './repository-journal.ts'
import { describeLists } from './repository-lists.ts'
import { describeOwners } from './repository-owners.ts'
import { describeProviderRates } from './repository-provider-rates.ts'
import { describeQueue } from './repository-queue.ts'
import { describeRequestCounts } from './repository-request-counts.ts'
import { describeResults } from './repository-results.ts'
import { describeServices } from './repository-services.ts'
import { describeTurns } from './repository-turns.ts'
import { describeUpdates } from './repository-updates.ts'
import { describeUsage } from './repository-usage.ts'
import { describeWaits } from './repository-waits.ts'
import { createStoreFixture } from './store-fixture.ts'

export interface OpenedStore {
  readonly store: Store
  /** Closes the store and opens another one over the same data; undefined where no data survives. */
  readonly reopen?: () => Promise<Store>
  close(): Promise<void>
}

/**
 * The contract of `Store`, as a suite that every implementation passes. Rows of other tests stand beside those of a case: ids are
 * random, and only own rows are counted.
 */
export function describeRepository(name: string, open: () => Promise<OpenedStore>): void {
  describe(`${name} as a store`, () => {
    let opened: OpenedStore
    let store: Store
    beforeAll(async () => {
      opened = await open()
      store = opened.store
    })
    afterAll(() => opened?.close())

    const fixture = createStoreFixture(() => store)
    const { resultIds, runningFlow } = fixture

    describeFlows(fixture)
    describeLists(fixture)
    describeJournal(fixture)
    describeResults(fixture)
    describeTurns(fixture)
    describeUpdates(fixture)
    describeConversations(fixture)
    describeFiles(fixture)
    describeOwners(fixture)
    describeQueue(fixture)
    describeWaits(fixture)
    describeUsage(fixture)
    describeCallers(() => store)
    describeBackground(fixture)
    describeBudgets(() => store)
    describeProviderRates(() => store)
    describeRequestCounts(() => store)
    describeEvents(() => store)
    describeServices(() => store)

    test('keeps everything when it is closed and opened again', async (context) => {
      if (!opened.reopen) return context.skip('nothing survives the process in this store')
      const { flow, flowId, epoch } = await runningFlow({ metadata: { tag: 'x' } })
      await store.threads.addMessage(newMessage(flow.threadId))
      await store.permissions.set(flow.threadId, 'user-2', ['read'])
      const { userId } = newThread()
      await store.dataSharing.set({
        userId,
        providerKey: 'openai',
        allowConversationHistory: true,
        allowCrossProviderContext: true,
        allowAttachments: false,
      })
      const [key, hash, request] = [newApiKey(), newHash(), newRequest()]
      await store.apiKeys.create(key, hash)
      await store.tickets.create({ hash, caller: { userId }, expiresAt: instant(30) })
      await store.idempotency.begin(request)
      const settled = await runningFlow({ threadId: flow.threadId })
      await store.journal.finish({
        ...settled,
        results: [stepResult(settled.flowId, 'draft')],
        updates: [update(1)],
        outcome: outcome(),
      })
      const all = async () => ({
        flows: [await store.flows.find(flowId), await store.flows.find(settled.flowId)],
        results: [await store.flows.stepResults(flowId), await store.flows.stepResults(settled.flowId)],
        updates: [await store.updates.read(flowId, 0, 100), await store.updates.read(settled.flowId, 0, 100)],
        thread: await store.threads.find(flow.threadId),
        messages: await store.threads.messages(flow.threadId),
        rights: await store.permissions.rightsOf('user-2', flow.threadId),
        policies: await store.dataSharing.list(userId),
        key: await store.apiKeys.find(key.id),
        request: await store.idempotency.begin(request),
      })
      const unawaited = store.journal.append({ flowId, epoch, results: [stepResult(flowId, 'draft')], updates: [update(1)] })
      const before = await unawaited.then(all)
      store = await opened.reopen()
      expect(await all()).toEqual(before)
      expect(before.results[0]).toHaveLength(1)
      expect(before.key).toEqual({ key, hash })
      expect(await store.tickets.redeem(hash, instant(0))).toEqual({ userId })
      expect(await store.journal.claim(newClaim(flowId))).toEqual({ status: 'RUNNING' })
    })

    test('completes all accepted writes when it is closed', async (context) => {
      if (!opened.reopen) return context.skip('nothing survives the process in this store')
      const { flowId, epoch } = await runningFlow()
      const accepted = store.journal.append({ flowId, epoch, results: [stepResult(flowId, 'draft')] })
      store = await opened.reopen()
      await accepted
      expect(await resultIds(flowId)).toHaveLength(1)
    })
  })
}

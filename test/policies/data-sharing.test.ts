import { expect, test } from 'vitest'
import { createDataSharingService } from '../../src/policies/data-sharing.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'

function setUp() {
  const { dataSharing: stored } = createMemoryStore()
  const clock = { ms: 5 }
  let reads = 0
  const records = {
    ...stored,
    find: (userId: string, providerKey: string) => {
      reads++
      return stored.find(userId, providerKey)
    },
  }
  return { stored, clock, dataSharing: createDataSharingService(records, { now: () => clock.ms }), reads: () => reads }
}
const NOTHING = { allowConversationHistory: false, allowCrossProviderContext: false, allowAttachments: false }

test('rules that are not named are forbidden', async () => {
  const { dataSharing } = setUp()
  const policy = await dataSharing.set('ann', 'openai', { allowAttachments: true })
  expect(policy).toEqual({ ...NOTHING, userId: 'ann', providerKey: 'openai', allowAttachments: true })
  expect(await dataSharing.get('ann', 'openai')).toEqual(policy)
})

test('setting a policy replaces the whole of the former one', async () => {
  const { dataSharing } = setUp()
  await dataSharing.set('ann', 'openai', { allowAttachments: true })
  await dataSharing.set('ann', 'openai', { allowConversationHistory: true })
  expect(await dataSharing.list('ann')).toEqual([
    { ...NOTHING, userId: 'ann', providerKey: 'openai', allowConversationHistory: true },
  ])
})

test('a missing policy is undefined for one user and provider alone', async () => {
  const { dataSharing } = setUp()
  await dataSharing.set('ann', 'openai', {})
  expect(await dataSharing.get('bob', 'openai')).toBeUndefined()
  expect(await dataSharing.get('ann', 'anthropic')).toBeUndefined()
  expect(await dataSharing.list('bob')).toEqual([])
})

test('changes by this process take effect at once, those by another within a second', async () => {
  const { dataSharing, stored, clock } = setUp()
  expect(await dataSharing.get('ann', 'openai')).toBeUndefined()
  await dataSharing.set('ann', 'openai', { allowAttachments: true })
  expect(await dataSharing.get('ann', 'openai')).toMatchObject({ allowAttachments: true })
  await dataSharing.remove('ann', 'openai')
  expect(await dataSharing.get('ann', 'openai')).toBeUndefined()
  await stored.set({ ...NOTHING, userId: 'ann', providerKey: 'openai' })
  clock.ms += 1_000
  expect(await dataSharing.get('ann', 'openai')).toMatchObject(NOTHING)
})

test('concurrent calls share one read, even of a missing policy', async () => {
  const { dataSharing, reads } = setUp()
  await Promise.all(Array.from({ length: 10 }, () => dataSharing.get('ann', 'openai')))
  expect(reads()).toBe(1)
})

test.each([
  ['an unknown rule', 'ann', 'openai', { allowEverything: true }],
  ['a rule that is no boolean', 'ann', 'openai', { allowAttachments: 'yes' }],
  ['no user', '', 'openai', {}],
  ['a provider that is no string', 'ann', 7, {}],
])('%s is rejected, and nothing is stored', async (_title, userId, providerKey, rules) => {
  const { dataSharing } = setUp()
  // @ts-expect-error a caller without types
  await expect(dataSharing.set(userId, providerKey, rules)).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  expect(await dataSharing.list('ann')).toEqual([])
})

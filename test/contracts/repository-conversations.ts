import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { ThreadRight } from '../../src/domain/users/thread.ts'
import { instant, newMessage, newThread, wellFormed } from '../support/stored-data.ts'
import type { StoreFixture } from './store-fixture.ts'

/** What every store promises of threads, permissions and data-sharing policies. */
export function describeConversations({ store, thread, pendingFlow }: StoreFixture): void {
  describe('threads', () => {
    test('a thread is read as it was created, an unknown one is undefined', async () => {
      const created = await thread()
      const { title: _title, ...untitled } = newThread()
      await store().threads.create(untitled)
      expect(await store().threads.find(created.id)).toEqual(created)
      expect(await store().threads.find(untitled.id)).toEqual(untitled)
      expect(await store().threads.find(randomUUID())).toBeUndefined()
    })

    test('threads are listed per user, newest first, in pages that do not overlap', async () => {
      const userId = `user-${randomUUID()}`
      await thread()
      const ids = []
      for (const second of [3, 1, 2]) ids.push((await thread({ userId, createdAt: instant(second) })).id)
      const listed = async (limit: number, offset: number) =>
        (await store().threads.list(userId, limit, offset)).map(({ id }) => id)
      expect(await listed(10, 0)).toEqual([ids[0], ids[2], ids[1]])
      expect(await listed(2, 1)).toEqual([ids[2], ids[1]])
      expect(await listed(2, 3)).toEqual([])
      const tied = `user-${randomUUID()}`
      const tiedIds = await Promise.all(Array.from({ length: 5 }, async () => (await thread({ userId: tied })).id))
      const pages = await Promise.all([0, 2, 4].map((offset) => store().threads.list(tied, 2, offset)))
      expect(new Set(pages.flat().map(({ id }) => id))).toEqual(new Set(tiedIds))
    })

    test('deleting a thread removes its messages, permissions and flows', async () => {
      const { id } = await thread()
      const flow = await pendingFlow({ threadId: id })
      await store().threads.addMessage(newMessage(id))
      await store().permissions.set(id, 'user-2', ['read'])
      expect(await store().threads.delete(id)).toBe(true)
      expect(await store().threads.find(id)).toBeUndefined()
      expect(await store().threads.messages(id)).toEqual([])
      expect(await store().threads.newestUserMessage(id)).toBeUndefined()
      expect(await store().permissions.rightsOf('user-2', id)).toEqual([])
      expect(await store().permissions.list(id)).toEqual([])
      expect(await store().flows.find(flow.id)).toBeUndefined()
      expect(await store().threads.delete(id)).toBe(false)
    })

    test('messages are kept whole and in the order of their calls, also within one millisecond', async () => {
      const { id } = await thread()
      const messages = [
        newMessage(id, {
          content: 'first',
          attachments: [
            { name: 'a.txt', mediaType: 'text/plain', text: 'ü' },
            { name: 'b.png', mediaType: 'image/png' },
          ],
        }),
        newMessage(id, { role: 'assistant', content: '', metadata: { provider: 'openai', deep: { list: [null, 0] } } }),
        newMessage(id, { role: 'system', content: 'third' }),
        newMessage(id, { content: 'fourth', createdAt: instant(1, 5) }),
      ]
      for (const message of messages) await store().threads.addMessage(message)
      expect(await store().threads.messages(id)).toEqual(messages)
      expect(await store().threads.messages(id, 2)).toEqual(messages.slice(2))
      expect(await store().threads.messages(id, 100)).toEqual(messages)
      expect(await store().threads.messages((await thread()).id)).toEqual([])
    })

    test('a message of one id is stored once, also when it is added twice at the same time', async () => {
      const { id } = await thread()
      const message = newMessage(id, { role: 'assistant', content: 'the answer' })
      await Promise.all([store().threads.addMessage(message), store().threads.addMessage({ ...message })])
      await store().threads.addMessage({ ...message, content: 'another answer', createdAt: instant(9) })
      await store().threads.addMessage(newMessage(id, { content: 'next', createdAt: instant(10) }))
      expect((await store().threads.messages(id)).map(({ content }) => content)).toEqual(['the answer', 'next'])
    })

    test('several messages are added in order, all or none', async () => {
      const { id } = await thread()
      const messages = Array.from({ length: 300 }, (_, index) => newMessage(id, { content: `message ${index}` }))
      await store().threads.addMessages(messages)
      await store().threads.addMessages([])
      expect(await store().threads.messages(id)).toEqual(messages)
      const { id: other } = await thread()
      // The memory store checks only the thread, so it cannot refuse a part of the messages.
      if (store().kind === 'memory') return
      const [first] = messages
      const refused = store().threads.addMessages([newMessage(other), newMessage(other, { id: first?.id })])
      await expect(refused).rejects.toThrow()
      expect(await store().threads.messages(other)).toEqual([])
    })

    test('the newest user message is found behind newer messages of other roles', async () => {
      const { id } = await thread()
      expect(await store().threads.newestUserMessage(id)).toBeUndefined()
      const newest = newMessage(id, { content: 'newest', createdAt: instant(2) })
      await store().threads.addMessage(newMessage(id, { content: 'older', createdAt: instant(1) }))
      await store().threads.addMessage(newest)
      await store().threads.addMessage(newMessage(id, { role: 'assistant', createdAt: instant(3) }))
      expect(await store().threads.newestUserMessage(id)).toEqual(newest)
    })

    test('titles and messages hold hostile text', async () => {
      const hostile = "'; DROP TABLE threads; -- \0 \ud800 %s $1"
      const { id } = await thread({ title: hostile })
      await store().threads.addMessage(newMessage(id, { content: hostile, metadata: { [hostile]: hostile } }))
      expect(wellFormed((await store().threads.find(id))?.title ?? '')).toBe(wellFormed(hostile))
      expect(wellFormed((await store().threads.messages(id))[0]?.content ?? '')).toBe(wellFormed(hostile))
    })
  })

  describe('permissions', () => {
    const sorted = (rights: readonly ThreadRight[]) => [...rights].sort()

    test('a user has no rights until some are set, and then exactly the last ones', async () => {
      const { id } = await thread()
      expect(await store().permissions.rightsOf('user-2', id)).toEqual([])
      await store().permissions.set(id, 'user-2', ['read', 'write'])
      expect(sorted(await store().permissions.rightsOf('user-2', id))).toEqual(['read', 'write'])
      await store().permissions.set(id, 'user-2', ['delete'])
      expect(await store().permissions.rightsOf('user-2', id)).toEqual(['delete'])
      expect(await store().permissions.rightsOf('user-3', id)).toEqual([])
      expect(await store().permissions.rightsOf('user-2', (await thread()).id)).toEqual([])
    })

    test('every user with a right is listed, and no user without one', async () => {
      const { id } = await thread()
      await store().permissions.set(id, 'user-2', ['read'])
      await store().permissions.set(id, 'user-3', ['write', 'read'])
      await store().permissions.set(id, 'user-4', ['read'])
      await store().permissions.set(id, 'user-4', [])
      const listed = (await store().permissions.list(id)).map(({ userId, rights }) => [userId, sorted(rights)] as const)
      expect(new Map(listed)).toEqual(
        new Map([
          ['user-2', ['read']],
          ['user-3', ['read', 'write']],
        ]),
      )
      expect(await store().permissions.rightsOf('user-4', id)).toEqual([])
    })
  })

  describe('data sharing', () => {
    test('a policy is kept per user and provider, replaced and removed', async () => {
      const userId = `user-${randomUUID()}`
      const policy = {
        userId,
        providerKey: 'openai',
        allowConversationHistory: true,
        allowCrossProviderContext: false,
        allowAttachments: true,
      }
      expect(await store().dataSharing.find(userId, 'openai')).toBeUndefined()
      await store().dataSharing.set({ ...policy, allowAttachments: false })
      await store().dataSharing.set(policy)
      await store().dataSharing.set({ ...policy, providerKey: 'anthropic' })
      await store().dataSharing.set({ ...policy, userId: `user-${randomUUID()}` })
      expect(await store().dataSharing.find(userId, 'openai')).toEqual(policy)
      expect((await store().dataSharing.list(userId)).map(({ providerKey }) => providerKey).sort()).toEqual([
        'anthropic',
        'openai',
      ])
      await store().dataSharing.remove(userId, 'openai')
      await store().dataSharing.remove(userId, 'never set')
      expect(await store().dataSharing.find(userId, 'openai')).toBeUndefined()
      expect((await store().dataSharing.list(userId)).map(({ providerKey }) => providerKey)).toEqual(['anthropic'])
    })
  })
}

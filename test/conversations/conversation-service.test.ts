import { describe, expect, test } from 'vitest'
import { ConversationService } from '../../src/conversations/conversation-service.ts'
import type { ResolveAttachments } from '../../src/domain/users/new-attachment.ts'
import { createPermissionService } from '../../src/policies/permissions.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'
import { newClaim, newFlow, outcome } from '../support/stored-data.ts'

/** The messages of this file have texts alone. */
const attachments: ResolveAttachments = async (_userId, _threadId, given) =>
  given.map(({ name = '', mediaType = '', text }) => ({ name, mediaType, text }))

function setUp() {
  const store = createMemoryStore()
  const permissions = createPermissionService(store.permissions)
  let ids = 0
  const clock = { ms: Date.UTC(2026, 0, 2) }
  const conversations = new ConversationService({
    threads: store.threads,
    flows: store.flows,
    permissions,
    attachments,
    newId: () => `id-${++ids}`,
    now: () => clock.ms++,
  })
  return { store, permissions, conversations }
}
const hello = { role: 'user', content: 'Hello' } as const
const refusal = (answer: Promise<unknown>) =>
  answer.then(
    () => 'accepted',
    (error: { code: string }) => error.code,
  )

describe('threads', () => {
  test('threads belong to the user who created them', async () => {
    const { conversations, permissions } = setUp()
    const thread = await conversations.createThread('ann', { title: 'Rain' })
    expect(thread).toEqual({ id: 'id-1', userId: 'ann', title: 'Rain', createdAt: new Date(Date.UTC(2026, 0, 2)) })
    expect(await conversations.getThread(thread.id, 'ann')).toEqual(thread)
    expect([...(await permissions.rightsOf('ann', thread.id))]).toEqual(['read', 'write', 'delete'])
  })

  test('threads without a title have none', async () => {
    const { conversations } = setUp()
    expect(await conversations.createThread('ann')).not.toHaveProperty('title')
  })

  test('threads get unguessable ids unless an id is given', async () => {
    const { store, permissions } = setUp()
    const conversations = new ConversationService({ threads: store.threads, flows: store.flows, permissions, attachments })
    const { id } = await conversations.createThread('ann')
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  })

  test('threads of another user give the same errors as unknown threads in every method', async () => {
    const { conversations } = setUp()
    const { id } = await conversations.createThread('ann', { title: 'SECRET' })
    const answers = await Promise.all(
      [id, 'nothing'].flatMap((threadId) =>
        [
          conversations.getThread(threadId, 'eve'),
          conversations.deleteThread(threadId, 'eve'),
          conversations.addMessage(threadId, 'eve', hello),
          conversations.getMessages(threadId, 'eve'),
        ].map((answer) =>
          answer.then(
            () => 'accepted',
            (error: Error) => JSON.stringify(error).replaceAll(threadId, 'ID'),
          ),
        ),
      ),
    )
    expect(new Set(answers).size).toBe(1)
    expect(answers[0]).toContain('THREAD_NOT_FOUND')
  })

  test('threads may be read but not changed with the right read only', async () => {
    const { conversations, permissions } = setUp()
    const { id } = await conversations.createThread('ann')
    await permissions.grant(id, 'ann', 'bob', ['read'])
    await expect(conversations.getThread(id, 'bob')).resolves.toMatchObject({ id })
    await expect(conversations.addMessage(id, 'bob', hello)).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
      details: { right: 'write' },
    })
    await expect(conversations.deleteThread(id, 'bob')).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
      details: { right: 'delete' },
    })
    await permissions.grant(id, 'ann', 'bob', ['write'])
    await expect(conversations.addMessage(id, 'bob', hello)).resolves.toMatchObject(hello)
  })

  test('threads are listed for their creator, newest first', async () => {
    const { conversations } = setUp()
    for (const title of ['one', 'two', 'three']) await conversations.createThread('ann', { title })
    await conversations.createThread('bob')
    const titles = async (options = {}) => (await conversations.listThreads('ann', options)).map(({ title }) => title)
    expect(await titles()).toEqual(['three', 'two', 'one'])
    expect(await titles({ limit: 1, offset: 1 })).toEqual(['two'])
    expect(await conversations.listThreads('nobody')).toEqual([])
  })

  test('threads are not listed if the permission service denies read', async () => {
    const { store } = setUp()
    const permissions = { ...createPermissionService(store.permissions), can: async () => false }
    const conversations = new ConversationService({ threads: store.threads, flows: store.flows, permissions, attachments })
    await conversations.createThread('ann')
    expect(await conversations.listThreads('ann')).toEqual([])
  })

  test('deleted threads cannot be found', async () => {
    const { conversations } = setUp()
    const { id } = await conversations.createThread('ann')
    await conversations.addMessage(id, 'ann', hello)
    await conversations.deleteThread(id, 'ann')
    expect(await refusal(conversations.getThread(id, 'ann'))).toBe('THREAD_NOT_FOUND')
    expect(await refusal(conversations.getMessages(id, 'ann'))).toBe('THREAD_NOT_FOUND')
    expect(await refusal(conversations.deleteThread(id, 'ann'))).toBe('THREAD_NOT_FOUND')
  })

  test('threads are not deleted while one of their flows is running', async () => {
    const { conversations, store } = setUp()
    const { id } = await conversations.createThread('ann')
    await store.journal.createFlow(newFlow(id, { id: 'flow' }))
    await store.journal.claim(newClaim('flow'))
    await expect(conversations.deleteThread(id, 'ann')).rejects.toMatchObject({
      code: 'FLOW_RUNNING',
      details: { flowId: 'flow' },
    })
    await store.journal.finish({ flowId: 'flow', epoch: 1, outcome: outcome() })
    await conversations.deleteThread(id, 'ann')
    expect(await store.flows.find('flow')).toBeUndefined()
  })

  test('threads are removed again if their creator cannot be granted the rights', async () => {
    const { store, permissions } = setUp()
    const failing = { ...permissions, threadCreated: () => Promise.reject(new Error('down')) }
    const conversations = new ConversationService({
      threads: store.threads,
      flows: store.flows,
      permissions: failing,
      attachments,
    })
    await expect(conversations.createThread('ann')).rejects.toThrow('down')
    expect(await store.threads.list('ann', 10, 0)).toEqual([])
  })
})

describe('messages', () => {
  test('messages are returned unchanged, oldest first, or only the newest of them', async () => {
    const { conversations } = setUp()
    const { id } = await conversations.createThread('ann')
    const written = [
      await conversations.addMessage(id, 'ann', hello),
      await conversations.addMessage(id, 'ann', {
        role: 'assistant',
        content: '',
        metadata: { orchestrationFlowId: 'f', provider: 'openai' },
      }),
      await conversations.addMessage(id, 'ann', {
        ...hello,
        attachments: [{ name: 'a.txt', mediaType: 'text/plain', text: 'ü' }],
      }),
    ]
    expect(written[0]).toMatchObject({ threadId: id, role: 'user', content: 'Hello', metadata: {} })
    expect(await conversations.getMessages(id, 'ann')).toEqual(written)
    expect(await conversations.getMessages(id, 'ann', { limit: 2 })).toEqual(written.slice(1))
  })

  test('messages are added in order by a user with write, all or none', async () => {
    const { conversations } = setUp()
    const { id } = await conversations.createThread('ann')
    const many = ['one', 'two', 'three'].map((content) => ({ ...hello, content }))
    expect(await conversations.addMessages(id, 'ann', many)).toMatchObject(many)
    expect((await conversations.getMessages(id, 'ann')).map(({ content }) => content)).toEqual(['one', 'two', 'three'])
    await expect(conversations.addMessages(id, 'bob', many)).rejects.toMatchObject({ code: 'THREAD_NOT_FOUND' })
    // @ts-expect-error: not a role
    const odd = conversations.addMessages(id, 'ann', [hello, { role: 'robot', content: 'x' }])
    await expect(odd).rejects.toMatchObject({ code: 'INPUT_INVALID', message: expect.stringContaining('messages.1.role') })
    expect(await conversations.getMessages(id, 'ann')).toHaveLength(3)
  })

  test('stored messages do not change when the caller changes the metadata afterwards', async () => {
    const { conversations } = setUp()
    const { id } = await conversations.createThread('ann')
    const metadata = { nested: { list: [1] } }
    await conversations.addMessage(id, 'ann', { ...hello, metadata })
    metadata.nested.list.push(2)
    expect((await conversations.getMessages(id, 'ann'))[0]?.metadata).toEqual({ nested: { list: [1] } })
  })
})

describe('unusable arguments', () => {
  const circular: Record<string, unknown> = {}
  circular.self = circular
  test.each([
    ['a role that does not exist', { role: 'tool', content: 'x' }, 'message.role'],
    ['no content', { role: 'user' }, 'message.content'],
    ['content that is no string', { role: 'user', content: 7 }, 'message.content'],
    ['an unknown key', { ...hello, from: 'x' }, 'from'],
    ['an attachment without a name', { ...hello, attachments: [{ mediaType: 'text/plain' }] }, 'message.attachments.0.name'],
    ['metadata that JSON cannot hold', { ...hello, metadata: circular }, 'message.metadata'],
    ['no message at all', undefined, 'message'],
  ])('an unusable message is refused: %s', async (_title, message, path) => {
    const { conversations } = setUp()
    const { id } = await conversations.createThread('ann')
    // @ts-expect-error a caller without types
    const refused = conversations.addMessage(id, 'ann', message)
    await expect(refused).rejects.toMatchObject({ code: 'INPUT_INVALID', message: expect.stringContaining(path) })
    expect(await conversations.getMessages(id, 'ann')).toEqual([])
  })

  test('unusable ids, titles and pages are refused by name', async () => {
    const { conversations } = setUp()
    const { id } = await conversations.createThread('ann')
    const answers = [
      conversations.createThread(''),
      conversations.createThread('ann\0'),
      // @ts-expect-error a caller without types
      conversations.createThread(undefined),
      conversations.createThread('ann', { title: 'x'.repeat(501) }),
      // @ts-expect-error a caller without types
      conversations.getThread({}, 'ann'),
      // @ts-expect-error a caller without types
      conversations.getThread(id, null),
      conversations.listThreads('ann', { limit: 0 }),
      conversations.listThreads('ann', { offset: -1 }),
      conversations.getMessages(id, 'ann', { limit: 1.5 }),
    ]
    expect(await Promise.all(answers.map(refusal))).toEqual(answers.map(() => 'INPUT_INVALID'))
  })
})

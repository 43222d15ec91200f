import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import type { ListFlowsOptions } from '../../src/orchestrator/service-options.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'

describe.each(['memory://', 'postgres'])('lists of flows on %s', (database) => {
  let polyphony: Polyphony
  let drop: (() => Promise<void>) | undefined
  beforeAll(async () => {
    const postgres = database === 'postgres' ? await openTestPostgres() : undefined
    drop = postgres?.drop
    polyphony = await openTestPolyphony({
      database: postgres?.url ?? database,
      policyCacheMs: 0,
      providers: { scripted: createScriptedProvider({ replies: () => 'ok' }) },
    })
  })
  afterAll(async () => {
    await polyphony?.close()
    await drop?.()
  })

  let people = 0
  const person = async () => {
    const userId = `user-${++people}`
    return { userId, threadId: (await polyphony.conversations.createThread(userId)).id }
  }
  const definition = (name: string, prompt = 'x'): FlowDefinitionInput => ({
    name,
    type: 'sequential',
    steps: [{ id: 'a', model: 'scripted/m', action: 'generate', prompt }],
  })
  const create = async (userId: string, threadId: string, name: string, prompt?: string) => {
    // Two flows of one millisecond have no order that a test could name.
    for (const now = Date.now(); Date.now() === now; ) await new Promise((resolve) => setTimeout(resolve, 1))
    return polyphony.orchestrator.createFlow(threadId, userId, definition(name, prompt))
  }
  const names = (flows: readonly { readonly name: string }[]) => flows.map(({ name }) => name)

  test('lists of flows contain the flows that a user created in any thread it may still read', async () => {
    const { orchestrator, permissions } = polyphony
    const [ann, bob] = [await person(), await person()]
    await permissions.grant(bob.threadId, bob.userId, ann.userId, ['read', 'write'])
    await create(ann.userId, ann.threadId, 'own')
    await create(ann.userId, bob.threadId, 'shared')
    await create(bob.userId, bob.threadId, 'of bob')
    expect(names(await orchestrator.listFlowsOf(ann.userId))).toEqual(['shared', 'own'])
    expect(names(await orchestrator.listFlowsOf(bob.userId))).toEqual(['of bob'])
    await permissions.revoke(bob.threadId, bob.userId, ann.userId)
    expect(names(await orchestrator.listFlowsOf(ann.userId))).toEqual(['own'])
    expect(names(await orchestrator.listFlowsOf('stranger'))).toEqual([])
    await expect(orchestrator.listFlowsOf('')).rejects.toMatchObject({ code: 'INPUT_INVALID' })
    await expect(orchestrator.listFlowsOf('a\0')).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  })

  test('lists of flows of a thread and of a user are paged with the cursor of the previous page', async () => {
    const { orchestrator } = polyphony
    const { userId, threadId } = await person()
    for (const name of ['a', 'b', 'c', 'd', 'e']) await create(userId, threadId, name)
    for (const thread of [threadId, undefined]) {
      const walked: string[] = []
      const sizes: number[] = []
      for (let cursor: string | undefined; ; ) {
        const page = await orchestrator.listFlowPage(userId, { limit: 2, cursor, sortBy: 'name', sortOrder: 'ASC' }, thread)
        walked.push(...names(page.flows))
        sizes.push(page.flows.length)
        cursor = page.nextCursor
        if (cursor === undefined) break
      }
      expect([walked.join(''), sizes]).toEqual(['abcde', [2, 2, 1]])
    }
    expect(await orchestrator.listFlowPage(userId, { limit: 5 })).not.toHaveProperty('nextCursor')
    expect(names(await orchestrator.listFlows(threadId, userId, { limit: 2, offset: 1 }))).toEqual(['d', 'c'])
  })

  test('lists of flows continue with the next page even if nothing on this page may be read', async () => {
    const { orchestrator, permissions } = polyphony
    const [ann, bob] = [await person(), await person()]
    await permissions.grant(bob.threadId, bob.userId, ann.userId, ['read', 'write'])
    await create(ann.userId, ann.threadId, 'own')
    await create(ann.userId, bob.threadId, 'lost')
    await permissions.revoke(bob.threadId, bob.userId, ann.userId)
    const first = await orchestrator.listFlowPage(ann.userId, { limit: 1 })
    expect(first.flows).toEqual([])
    const second = await orchestrator.listFlowPage(ann.userId, { limit: 1, cursor: first.nextCursor })
    expect([names(second.flows), second.nextCursor]).toEqual([['own'], undefined])
  })

  test('lists of flows refuse a cursor of another order, of threads, or an invented one', async () => {
    const { orchestrator, conversations } = polyphony
    const { userId, threadId } = await person()
    await conversations.createThread(userId)
    for (const name of ['a', 'b']) await create(userId, threadId, name)
    const { nextCursor: cursor } = await orchestrator.listFlowPage(userId, { limit: 1, sortBy: 'name' })
    const { nextCursor: ofThreads } = await conversations.listThreadPage(userId, { limit: 1 })
    const refused: ListFlowsOptions[] = [
      { cursor, sortBy: 'createdAt' },
      { cursor, sortBy: 'name', sortOrder: 'ASC' },
      { cursor, sortBy: 'name', offset: 1 },
      { cursor: ofThreads },
      { cursor: 'x'.repeat(2_000) },
      { cursor: '' },
      { cursor: Buffer.from(['flows by name DESC', 'no-uuid', 'a'].join('\0'), 'utf16le').toString('base64url'), sortBy: 'name' },
    ]
    for (const options of refused) {
      for (const list of [orchestrator.listFlowsOf(userId, options), orchestrator.listFlows(threadId, userId, options)]) {
        await expect(list, JSON.stringify(options)).rejects.toMatchObject({ code: 'INPUT_INVALID' })
      }
    }
    await expect(conversations.listThreadPage(userId, { cursor })).rejects.toMatchObject({ code: 'INPUT_INVALID' })
    expect(names((await orchestrator.listFlowPage(userId, { cursor, sortBy: 'name' })).flows)).toEqual(['a'])
  })

  test('lists of flows treat an unreadable thread as unknown, with and without a cursor', async () => {
    const { orchestrator } = polyphony
    const [ann, bob] = [await person(), await person()]
    await create(ann.userId, ann.threadId, 'secret')
    await expect(orchestrator.listFlowPage(bob.userId, {}, ann.threadId)).rejects.toMatchObject({ code: 'THREAD_NOT_FOUND' })
    await expect(orchestrator.listFlowPage(bob.userId, {}, '')).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  })

  test('saved flows are listed with the newest flow of each name, whose definition can be created again', async () => {
    const { orchestrator } = polyphony
    const [ann, bob] = [await person(), await person()]
    await create(ann.userId, ann.threadId, 'report', 'old prompt')
    const other = await create(ann.userId, ann.threadId, 'other')
    const newest = await create(ann.userId, ann.threadId, 'report', 'new prompt')
    await create(bob.userId, bob.threadId, 'report', 'prompt of bob')
    expect(await orchestrator.listSavedFlows(ann.userId)).toEqual([
      { name: 'report', flowId: newest.id, createdAt: newest.createdAt },
      { name: 'other', flowId: other.id, createdAt: other.createdAt },
    ])
    const saved = await orchestrator.findSavedFlow(ann.userId, 'report')
    expect(saved).toMatchObject({ name: 'report', flowId: newest.id, flowType: 'sequential', createdAt: newest.createdAt })
    const { id: threadId } = await polyphony.conversations.createThread(ann.userId)
    if (!saved) throw new Error('Expected a saved flow')
    const again = await orchestrator.createFlow(threadId, ann.userId, saved.definition)
    expect(again.definition.steps[0]?.prompt).toBe('new prompt')
    expect((await orchestrator.executeFlow(again.id, ann.userId, { input: 'x' })).finalOutput).toBe('ok')
    expect(await orchestrator.findSavedFlow(ann.userId, 'unknown')).toBeUndefined()
    expect(await orchestrator.findSavedFlow(bob.userId, 'other')).toBeUndefined()
    expect(await orchestrator.listSavedFlows('stranger')).toEqual([])
  })

  test('saved flows fall back to an older flow of the name if the newest may no longer be read', async () => {
    const { orchestrator, permissions } = polyphony
    const [ann, bob] = [await person(), await person()]
    await permissions.grant(bob.threadId, bob.userId, ann.userId, ['read', 'write'])
    const own = await create(ann.userId, ann.threadId, 'report', 'own')
    const shared = await create(ann.userId, bob.threadId, 'report', 'shared')
    await create(ann.userId, bob.threadId, 'gone', 'shared')
    expect((await orchestrator.findSavedFlow(ann.userId, 'report'))?.flowId).toBe(shared.id)
    await permissions.revoke(bob.threadId, bob.userId, ann.userId)
    expect((await orchestrator.findSavedFlow(ann.userId, 'report'))?.flowId).toBe(own.id)
    expect(await orchestrator.findSavedFlow(ann.userId, 'gone')).toBeUndefined()
    expect(await orchestrator.listSavedFlows(ann.userId)).toEqual([{ name: 'report', flowId: own.id, createdAt: own.createdAt }])
  })

  test('lists of threads are paged with a cursor as well', async () => {
    const { conversations } = polyphony
    const { userId } = await person()
    for (let index = 0; index < 6; index++) await conversations.createThread(userId)
    const whole = (await conversations.listThreads(userId)).map(({ id }) => id)
    const walked: string[] = []
    for (let cursor: string | undefined; ; ) {
      const page = await conversations.listThreadPage(userId, { limit: 3, cursor })
      walked.push(...page.threads.map(({ id }) => id))
      cursor = page.nextCursor
      if (cursor === undefined) break
    }
    expect([walked, walked.length]).toEqual([whole, 7])
    const { nextCursor: cursor } = await conversations.listThreadPage(userId, { limit: 3 })
    await expect(conversations.listThreads(userId, { cursor, offset: 1 })).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  })
})

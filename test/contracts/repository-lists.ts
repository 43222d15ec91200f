import { randomUUID } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { PageCursor } from '../../src/domain/page-cursor.ts'
import type { ListFlowsQuery, StoredFlow } from '../../src/repositories/repository.ts'
import { instant, outcome } from '../support/stored-data.ts'
import type { StoreFixture } from './store-fixture.ts'

/** What every store promises of lists by user and of pages after a cursor. */
export function describeLists({ store, thread, pendingFlow, runningFlow }: StoreFixture): void {
  const list = (query: Partial<ListFlowsQuery>) =>
    store().flows.list({ limit: 100, offset: 0, sortBy: 'createdAt', sortOrder: 'ASC', ...query })
  const namesIn = async (query: Partial<ListFlowsQuery>) => (await list(query)).map(({ name }) => name)
  const newUser = () => `user-${randomUUID()}`
  const finishedFlow = async (overrides: Parameters<typeof pendingFlow>[0], completedAt: Date) => {
    const { flowId, epoch } = await runningFlow(overrides)
    await store().journal.finish({ flowId, epoch, outcome: outcome({ completedAt }) })
    return flowId
  }

  describe('flows of a user', () => {
    test('flows of a user are those that it created, in any thread, and no others', async () => {
      const [ann, bob] = [newUser(), newUser()]
      const shared = await thread({ userId: bob })
      await pendingFlow({ userId: ann, name: 'a', createdAt: instant(1) })
      await pendingFlow({ userId: ann, name: 'b', threadId: shared.id, createdAt: instant(2) })
      await pendingFlow({ userId: bob, name: 'c', threadId: shared.id, createdAt: instant(3) })
      expect(await namesIn({ userId: ann })).toEqual(['a', 'b'])
      expect(await namesIn({ userId: ann, sortOrder: 'DESC' })).toEqual(['b', 'a'])
      expect(await namesIn({ userId: bob })).toEqual(['c'])
      expect(await namesIn({ threadId: shared.id })).toEqual(['b', 'c'])
      expect(await namesIn({ userId: newUser() })).toEqual([])
      expect(await namesIn({ userId: "'; drop table x; --\0" })).toEqual([])
    })

    test('flows of a user are filtered by status and type and returned in pages', async () => {
      const userId = newUser()
      for (const [index, name] of ['a', 'b', 'c', 'd'].entries()) {
        const flowType = index % 2 === 0 ? ('critique' as const) : ('graph' as const)
        await pendingFlow({ userId, name, flowType, createdAt: instant(index) })
      }
      await runningFlow({ userId, name: 'e', flowType: 'critique', createdAt: instant(9) })
      expect(await namesIn({ userId, type: 'critique' })).toEqual(['a', 'c', 'e'])
      expect(await namesIn({ userId, type: 'critique', status: 'PENDING' })).toEqual(['a', 'c'])
      expect(await namesIn({ userId, limit: 2, offset: 1 })).toEqual(['b', 'c'])
    })

    test('a list is refused without a thread or a user, and with both', async () => {
      await expect(list({})).rejects.toMatchObject({ code: 'INTERNAL' })
      await expect(list({ threadId: 'a', userId: 'b' })).rejects.toMatchObject({ code: 'INTERNAL' })
    })
  })

  describe('pages after a cursor', () => {
    const VALUES = {
      createdAt: ({ createdAt }: StoredFlow) => createdAt,
      completedAt: ({ completedAt }: StoredFlow) => completedAt ?? null,
      name: ({ name }: StoredFlow) => name,
    } as const

    /** The ids of all pages; `between` runs after each of them. */
    const walk = async (query: Partial<ListFlowsQuery>, between: () => Promise<unknown> = async () => {}) => {
      const ids: string[] = []
      for (let after: PageCursor | undefined; ; ) {
        const page = await list({ ...query, limit: 3, after })
        ids.push(...page.map(({ id }) => id))
        const last = page.at(-1)
        if (!last || page.length < 3) return ids
        after = { value: VALUES[query.sortBy ?? 'createdAt'](last), id: last.id }
        await between()
      }
    }

    test.each(
      (['createdAt', 'completedAt', 'name'] as const).flatMap((sortBy) =>
        (['ASC', 'DESC'] as const).map((sortOrder) => ({ sortBy, sortOrder })),
      ),
    )('by $sortBy $sortOrder are the whole list once, with ties and flows that have not ended', async (order) => {
      const userId = newUser()
      const { id: threadId } = await thread()
      for (let index = 0; index < 14; index++) {
        const overrides = { userId, threadId, name: `name ${index % 3}`, createdAt: instant(index % 4, index % 2) }
        if (index % 3 === 0) await pendingFlow(overrides)
        else await finishedFlow(overrides, instant(60 + (index % 2), index % 2))
      }
      for (const whose of [{ userId }, { threadId }]) {
        const whole = (await list({ ...whose, ...order })).map(({ id }) => id)
        expect(whole).toHaveLength(14)
        expect(await walk({ ...whose, ...order })).toEqual(whole)
      }
    })

    test('pages neither repeat nor lose a flow while newer ones are added', async () => {
      const userId = newUser()
      const ids: string[] = []
      for (let second = 0; second < 10; second++) ids.push((await pendingFlow({ userId, createdAt: instant(second) })).id)
      let newer = 100
      const add = () => pendingFlow({ userId, createdAt: instant(newer++) })
      expect(await walk({ userId, sortOrder: 'DESC' }, add)).toEqual(ids.toReversed())
    })

    test('pages lose no flow that the database ended between two milliseconds', async () => {
      const userId = newUser()
      const owner = { id: `owner-${randomUUID()}`, host: 'host-1', pid: 4711 }
      await store().owners.heartbeat(owner)
      const flows = await Promise.all(Array.from({ length: 8 }, () => runningFlow({ userId }, { ownerId: owner.id })))
      await store().owners.interruptOrphanedFlows({ staleMs: 60_000, isDead: ({ id }) => id === owner.id })
      for (const sortOrder of ['ASC', 'DESC'] as const) {
        const walked = await walk({ userId, sortBy: 'completedAt', sortOrder })
        expect(walked).toHaveLength(8)
        expect(new Set(walked)).toEqual(new Set(flows.map(({ flowId }) => flowId)))
      }
    })

    test('a page is empty after the last flow and after an impossible position', async () => {
      const { userId, createdAt, id } = await pendingFlow({ userId: newUser() })
      expect(await list({ userId, after: { value: createdAt, id } })).toEqual([])
      expect(await list({ userId, sortBy: 'completedAt', after: { value: null, id } })).toEqual([])
      expect(await list({ userId, after: { value: instant(9_999), id: randomUUID() } })).toEqual([])
    })
  })

  describe('names of flows', () => {
    test('names of flows are those of the user, each with its newest flow, newest first', async () => {
      const [ann, bob] = [newUser(), newUser()]
      const old = await pendingFlow({ userId: ann, name: 'report', createdAt: instant(1) })
      const only = await pendingFlow({ userId: ann, name: 'alpha', createdAt: instant(2) })
      const newest = await pendingFlow({ userId: ann, name: 'report', createdAt: instant(3) })
      await pendingFlow({ userId: bob, name: 'report', createdAt: instant(9) })
      const named = (flow: typeof old) => ({
        name: flow.name,
        flowId: flow.id,
        threadId: flow.threadId,
        createdAt: flow.createdAt,
      })
      expect(await store().flows.namesOf(ann, 10)).toEqual([named(newest), named(only)])
      expect(await store().flows.namesOf(ann, 1)).toEqual([named(newest)])
      expect(await store().flows.namesOf(newUser(), 10)).toEqual([])
    })

    test('a name finds the newest flow of the user outside the excluded threads', async () => {
      const userId = newUser()
      const older = await pendingFlow({ userId, name: 'report', createdAt: instant(1) })
      const newer = await pendingFlow({ userId, name: 'report', createdAt: instant(2) })
      await pendingFlow({ userId: newUser(), name: 'report', createdAt: instant(9) })
      const find = async (...notInThreads: string[]) => store().flows.findNewestByName(userId, 'report', notInThreads)
      expect(await find()).toEqual(await store().flows.find(newer.id))
      expect((await find(newer.threadId))?.id).toBe(older.id)
      expect(await find(newer.threadId, older.threadId)).toBeUndefined()
      expect(await store().flows.findNewestByName(userId, 'Report')).toBeUndefined()
      expect(await store().flows.findNewestByName(userId, "'; drop table x; --")).toBeUndefined()
    })

    test('flows of one name and instant have one newest flow, the same for both lookups', async () => {
      const userId = newUser()
      const flows = await Promise.all(Array.from({ length: 5 }, () => pendingFlow({ userId, name: 'tie' })))
      const newest = flows
        .map(({ id }) => id)
        .sort()
        .at(-1)
      expect((await store().flows.findNewestByName(userId, 'tie'))?.id).toBe(newest)
      expect((await store().flows.namesOf(userId, 5)).map(({ flowId }) => flowId)).toEqual([newest])
    })
  })

  test('threads are listed after a cursor, with ties, while newer ones are added', async () => {
    const userId = newUser()
    for (let index = 0; index < 10; index++) await thread({ userId, createdAt: instant(index % 3) })
    const whole = (await store().threads.list(userId, 100, 0)).map(({ id }) => id)
    const walked: string[] = []
    for (let after: PageCursor | undefined; ; ) {
      const page = await store().threads.list(userId, 4, 0, after)
      walked.push(...page.map(({ id }) => id))
      const last = page.at(-1)
      if (!last) break
      after = { value: last.createdAt, id: last.id }
      await thread({ userId, createdAt: instant(100) })
    }
    expect(walked).toEqual(whole)
  })
}

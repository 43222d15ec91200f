import { describe, expect, test } from 'vitest'
import type { ThreadRight } from '../../src/domain/users/thread.ts'
import { createPermissionService, type PermissionRecords } from '../../src/policies/permissions.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'

/** A service over a real store, with a clock to turn and a count of reads. */
function setUp(options: { cacheMs?: number; creator?: string } = {}) {
  const { permissions: stored } = createMemoryStore()
  const clock = { ms: 5 }
  let reads = 0
  const records: PermissionRecords = {
    ...stored,
    rightsOf: (userId, threadId) => {
      reads++
      return stored.rightsOf(userId, threadId)
    },
  }
  const { cacheMs, creator } = options
  const service = (own: PermissionRecords = records) =>
    createPermissionService(own, { cacheMs, now: () => clock.ms, ...(creator ? { findCreator: async () => creator } : {}) })
  return { records, stored, clock, service, permissions: service(), reads: () => reads }
}
const rights = async (found: Promise<ReadonlySet<ThreadRight>>) => [...(await found)].sort()

describe('rights on a thread', () => {
  test('the creator of a thread has all three rights, and no other user has any', async () => {
    const { permissions } = setUp()
    await permissions.threadCreated('t', 'ann')
    expect(await rights(permissions.rightsOf('ann', 't'))).toEqual(['delete', 'read', 'write'])
    expect(await rights(permissions.rightsOf('bob', 't'))).toEqual([])
    expect(await rights(permissions.rightsOf('ann', 'other'))).toEqual([])
    expect(await permissions.can('ann', 't', 'delete')).toBe(true)
    expect(await permissions.can('bob', 't', 'read')).toBe(false)
  })

  test('grants add rights and revocations remove them', async () => {
    const { permissions } = setUp()
    await permissions.threadCreated('t', 'ann')
    await permissions.grant('t', 'ann', 'bob', ['read'])
    await permissions.grant('t', 'ann', 'bob', ['write'])
    expect(await rights(permissions.rightsOf('bob', 't'))).toEqual(['read', 'write'])
    await permissions.revoke('t', 'ann', 'bob', ['write'])
    expect(await rights(permissions.rightsOf('bob', 't'))).toEqual(['read'])
    await permissions.revoke('t', 'ann', 'bob')
    expect(await rights(permissions.rightsOf('bob', 't'))).toEqual([])
    expect(await permissions.list('t', 'ann')).toEqual([{ userId: 'ann', rights: ['read', 'write', 'delete'] }])
  })

  test('a user cannot grant rights that the user lacks', async () => {
    const { permissions } = setUp()
    await permissions.threadCreated('t', 'ann')
    await permissions.grant('t', 'ann', 'bob', ['read', 'write'])
    const refused = permissions.grant('t', 'bob', 'cy', ['read', 'delete'])
    await expect(refused).rejects.toMatchObject({ code: 'PERMISSION_DENIED', details: { threadId: 't', right: 'delete' } })
    expect(await rights(permissions.rightsOf('cy', 't'))).toEqual([])
    await expect(permissions.revoke('t', 'bob', 'ann')).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
    expect(await permissions.can('ann', 't', 'delete')).toBe(true)
  })

  test('a thread that the user cannot read gives the same error as an unknown one', async () => {
    const { permissions } = setUp()
    await permissions.threadCreated('t', 'ann')
    const answers = await Promise.all(
      ['t', 'x'].flatMap((threadId) =>
        [
          permissions.grant(threadId, 'eve', 'eve', ['read']),
          permissions.revoke(threadId, 'eve', 'ann'),
          permissions.list(threadId, 'eve'),
        ].map((answer) =>
          answer.then(
            () => 'accepted',
            (error: Error) => JSON.stringify(error).replaceAll(/\\?"[tx]\\?"/g, 'ID'),
          ),
        ),
      ),
    )
    expect(new Set(answers).size).toBe(1)
    expect(answers[0]).toContain('THREAD_NOT_FOUND')
  })

  test('the rights of the creator cannot be revoked', async () => {
    const { permissions } = setUp({ creator: 'ann' })
    await permissions.threadCreated('t', 'ann')
    await permissions.grant('t', 'ann', 'bob', ['read', 'write', 'delete'])
    await expect(permissions.revoke('t', 'bob', 'ann')).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
    expect(await permissions.can('ann', 't', 'delete')).toBe(true)
  })

  test('concurrent grants and revocations are not lost', async () => {
    const { permissions } = setUp()
    await permissions.threadCreated('t', 'ann')
    await Promise.all([
      permissions.grant('t', 'ann', 'bob', ['read']),
      permissions.grant('t', 'ann', 'bob', ['write']),
      permissions.grant('t', 'eve', 'bob', ['read']).catch(() => undefined),
      permissions.grant('t', 'ann', 'bob', ['delete']),
      permissions.revoke('t', 'ann', 'bob', ['write']),
    ])
    expect(await rights(permissions.rightsOf('bob', 't'))).toEqual(['delete', 'read'])
  })

  test.each([[[]], [['admin']], [['read', 'own']], ['read'], [undefined], [null]])('rights of %j are rejected', async (given) => {
    const { permissions } = setUp()
    await permissions.threadCreated('t', 'ann')
    // @ts-expect-error a caller without types
    await expect(permissions.grant('t', 'ann', 'bob', given)).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  })

  test('rights cannot be granted to an empty user id', async () => {
    const { permissions } = setUp()
    await permissions.threadCreated('t', 'ann')
    await expect(permissions.grant('t', 'ann', '', ['read'])).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  })

  test('rights of ids that are equal when joined are kept separate', async () => {
    const { permissions } = setUp()
    await permissions.threadCreated('thread', 'ann')
    await permissions.rightsOf('ann', 'thread')
    for (const [threadId, userId] of [
      ['threada', 'nn'],
      ['threadann', ''],
      ['', 'threadann'],
      ['6:thread', 'ann'],
    ] as const) {
      expect(await rights(permissions.rightsOf(userId, threadId))).toEqual([])
    }
  })
})

describe('the memory of rights', () => {
  test('concurrent questions about rights read the store once, and again after a second', async () => {
    const { permissions, clock, reads } = setUp()
    await Promise.all(Array.from({ length: 10 }, () => permissions.can('ann', 't', 'read')))
    clock.ms += 999
    await permissions.can('ann', 't', 'write')
    expect(reads()).toBe(1)
    clock.ms += 1
    await permissions.can('ann', 't', 'read')
    expect(reads()).toBe(2)
  })

  test('rights are cached for at most a second, whatever is configured', async () => {
    const { permissions, stored, clock } = setUp({ cacheMs: 60_000 })
    await permissions.can('ann', 't', 'read')
    await stored.set('t', 'ann', ['read'])
    clock.ms += 1_000
    expect(await permissions.can('ann', 't', 'read')).toBe(true)
  })

  test('the cache of rights can be switched off', async () => {
    const { permissions, stored } = setUp({ cacheMs: 0 })
    expect(await permissions.can('ann', 't', 'read')).toBe(false)
    await stored.set('t', 'ann', ['read'])
    expect(await permissions.can('ann', 't', 'read')).toBe(true)
  })

  test('a grant or revocation of this process takes effect at once', async () => {
    const { permissions } = setUp()
    await permissions.threadCreated('t', 'ann')
    expect(await permissions.can('bob', 't', 'read')).toBe(false)
    await permissions.grant('t', 'ann', 'bob', ['read'])
    expect(await permissions.can('bob', 't', 'read')).toBe(true)
    await permissions.revoke('t', 'ann', 'bob', ['read'])
    expect(await permissions.can('bob', 't', 'read')).toBe(false)
  })

  test('a read that began before a revocation does not fill the cache', async () => {
    const { records, service } = setUp()
    let release: (rights: readonly ThreadRight[]) => void = () => {}
    let isHeld = true
    const slow = service({
      ...records,
      rightsOf: (userId, threadId) =>
        isHeld && userId === 'bob' ? new Promise((resolve) => (release = resolve)) : records.rightsOf(userId, threadId),
    })
    await slow.threadCreated('t', 'ann')
    const early = slow.can('bob', 't', 'read')
    isHeld = false
    await slow.revoke('t', 'ann', 'bob', ['read'])
    release(['read'])
    await early
    expect(await slow.can('bob', 't', 'read')).toBe(false)
  })

  test('a failed read of rights is not cached', async () => {
    const { records, service } = setUp()
    let fails = true
    const permissions = service({
      ...records,
      rightsOf: (userId, threadId) => (fails ? Promise.reject(new Error('down')) : records.rightsOf(userId, threadId)),
    })
    await expect(permissions.can('ann', 't', 'read')).rejects.toThrow('down')
    fails = false
    expect(await permissions.can('ann', 't', 'read')).toBe(false)
  })

  test('the cache of rights evicts old entries', async () => {
    const { permissions, reads } = setUp()
    for (let index = 0; index < 2_001; index++) await permissions.can('ann', `t${index}`, 'read')
    const before = reads()
    await permissions.can('ann', 't2000', 'read')
    expect(reads()).toBe(before)
    await permissions.can('ann', 't0', 'read')
    expect(reads()).toBe(before + 1)
  })

  test('a grant of another process takes effect within a second', async () => {
    const { permissions, service, clock } = setUp()
    await permissions.threadCreated('t', 'ann')
    const elsewhere = service()
    expect(await elsewhere.can('bob', 't', 'read')).toBe(false)
    await permissions.grant('t', 'ann', 'bob', ['read'])
    clock.ms += 1_000
    expect(await elsewhere.can('bob', 't', 'read')).toBe(true)
  })
})

import { createKeyedMutex } from '../async/keyed-mutex.ts'
import { permissionDenied, requireRight, THREAD_RIGHTS, type ThreadRight, threadNotFound } from '../domain/users/thread.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { createFreshCache } from './fresh-cache.ts'
import type { PermissionService } from './policy.ts'

/** The storage operations that the service needs. */
export interface PermissionRecords {
  rightsOf(userId: string, threadId: string): Promise<readonly ThreadRight[]>
  list(threadId: string): Promise<readonly { readonly userId: string; readonly rights: readonly ThreadRight[] }[]>
  /** Replaces the user's rights on the thread; an empty list removes the row. */
  set(threadId: string, userId: string, rights: readonly ThreadRight[]): Promise<void>
}

export interface PermissionServiceOptions {
  /** Milliseconds for which rights may be cached; default and maximum 1000. */
  readonly cacheMs?: number
  readonly now?: () => number
  /** Returns the creator of a thread, whose rights cannot be revoked. Without it, they can. */
  readonly findCreator?: (threadId: string) => Promise<string | undefined>
}

const MAX_CACHE_MS = 1_000

/** Stores rights and caches them for at most a second. Grants and revocations by this process take effect at once. */
export function createPermissionService(records: PermissionRecords, options: PermissionServiceOptions = {}): PermissionService {
  const { cacheMs = MAX_CACHE_MS, now = () => performance.now(), findCreator } = options
  const cache = createFreshCache<ReadonlySet<ThreadRight>>({ cacheMs: Math.min(cacheMs, MAX_CACHE_MS), now })
  // Serializes changes per thread, because reading rights and writing them back must not interleave with another
  // change.
  const oneAtATime = createKeyedMutex()

  const readRights = async (userId: string, threadId: string): Promise<ReadonlySet<ThreadRight>> =>
    new Set(await records.rightsOf(userId, threadId))
  const rightsOf = (userId: string, threadId: string) => cache.get([threadId, userId], () => readRights(userId, threadId))

  const set = async (threadId: string, userId: string, rights: ReadonlySet<ThreadRight>) => {
    try {
      await records.set(
        threadId,
        userId,
        THREAD_RIGHTS.filter((right) => rights.has(right)),
      )
    } finally {
      // Dropped even after a failure, because the write may have reached the store.
      cache.drop([threadId, userId])
    }
  }

  return {
    can: async (userId, threadId, right) => (await rightsOf(userId, threadId)).has(right),
    rightsOf,
    grant: async (threadId, byUserId, toUserId, rights) => {
      checkIds({ threadId, byUserId, toUserId })
      const given = checkRights(rights)
      await oneAtATime(threadId, async () => {
        requireAll(await readRights(byUserId, threadId), threadId, given)
        const heldRights = await readRights(toUserId, threadId)
        await set(threadId, toUserId, new Set([...heldRights, ...given]))
      })
    },
    revoke: async (threadId, byUserId, fromUserId, rights) => {
      checkIds({ threadId, byUserId, fromUserId })
      const named = rights && checkRights(rights)
      await oneAtATime(threadId, async () => {
        const heldRights = await readRights(fromUserId, threadId)
        const taken = named ?? [...heldRights]
        requireAll(await readRights(byUserId, threadId), threadId, taken)
        if ((await findCreator?.(threadId)) === fromUserId) {
          throw new OrchestratorError(
            'PERMISSION_DENIED',
            `Expected a user other than the creator of thread ${JSON.stringify(threadId)}.`,
            {
              details: { threadId, right: taken[0] },
            },
          )
        }
        await set(threadId, fromUserId, new Set([...heldRights].filter((right) => !taken.includes(right))))
      })
    },
    list: async (threadId, byUserId) => {
      checkIds({ threadId, byUserId })
      if (!(await rightsOf(byUserId, threadId)).has('read')) throw threadNotFound(threadId)
      return records.list(threadId)
    },
    threadCreated: (threadId, userId) => set(threadId, userId, new Set(THREAD_RIGHTS)),
    // Entries are keyed by thread and user, and the users of a thread are not listed, so all entries are dropped. That
    // costs one read each.
    threadDeleted: () => cache.clear(),
  }
}

function requireAll(heldRights: ReadonlySet<ThreadRight>, threadId: string, rights: readonly ThreadRight[]) {
  requireRight(heldRights, threadId, 'read')
  const missing = rights.find((right) => !heldRights.has(right))
  if (missing) throw permissionDenied(threadId, missing)
}

function checkIds(ids: Readonly<Record<string, unknown>>) {
  for (const [name, id] of Object.entries(ids)) {
    if (typeof id === 'string' && id.length > 0) continue
    throw new OrchestratorError(
      'INPUT_INVALID',
      `${name}: expected a non-empty string, found ${id === '' ? 'an empty one' : typeof id}.`,
    )
  }
}

function checkRights(rights: unknown): readonly ThreadRight[] {
  const given: readonly unknown[] = Array.isArray(rights) ? rights : []
  const known = THREAD_RIGHTS.filter((right) => given.includes(right))
  if (given.length === 0 || given.some((right) => !known.some((name) => name === right))) {
    throw new OrchestratorError('INPUT_INVALID', `rights: expected a list with one or more of ${THREAD_RIGHTS.join(', ')}.`)
  }
  return known
}

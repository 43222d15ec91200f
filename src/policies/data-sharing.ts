import * as z from 'zod'
import type { DataSharingPolicy } from '../domain/users/sharing.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { createFreshCache } from './fresh-cache.ts'
import type { DataSharingService } from './policy.ts'

/** The storage operations that the service needs. */
export interface DataSharingRecords {
  find(userId: string, providerKey: string): Promise<DataSharingPolicy | undefined>
  list(userId: string): Promise<readonly DataSharingPolicy[]>
  set(policy: DataSharingPolicy): Promise<void>
  remove(userId: string, providerKey: string): Promise<void>
}

export interface DataSharingServiceOptions {
  /** Milliseconds for which a policy may be cached; default and maximum 1000. */
  readonly cacheMs?: number
  readonly now?: () => number
}

const MAX_CACHE_MS = 1_000

const id = z.string().min(1).max(200)
const policySchema = z.strictObject({
  userId: id,
  providerKey: id,
  allowConversationHistory: z.boolean().default(false),
  allowCrossProviderContext: z.boolean().default(false),
  allowAttachments: z.boolean().default(false),
})

/** Stores policies and caches them for at most a second. Changes by this process take effect at once. */
export function createDataSharingService(
  records: DataSharingRecords,
  options: DataSharingServiceOptions = {},
): DataSharingService {
  const { cacheMs = MAX_CACHE_MS, now = () => performance.now() } = options
  const cache = createFreshCache<DataSharingPolicy | undefined>({ cacheMs: Math.min(cacheMs, MAX_CACHE_MS), now })

  return {
    set: async (userId, providerKey, rules) => {
      const policy = parsePolicy({ ...rules, userId, providerKey })
      try {
        await records.set(policy)
      } finally {
        cache.drop([userId, providerKey])
      }
      return policy
    },
    get: (userId, providerKey) => cache.get([userId, providerKey], () => records.find(userId, providerKey)),
    list: (userId) => records.list(userId),
    remove: async (userId, providerKey) => {
      try {
        await records.remove(userId, providerKey)
      } finally {
        cache.drop([userId, providerKey])
      }
    },
  }
}

function parsePolicy(input: unknown): DataSharingPolicy {
  const parsed = policySchema.safeParse(input)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map(({ path, message }) => (path.length > 0 ? `${path.join('.')}: ${message}` : message))
  throw new OrchestratorError('INPUT_INVALID', `Expected a data-sharing policy, found: ${problems.join('; ')}.`, {
    details: { problems },
  })
}

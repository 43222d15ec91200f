import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { OrphanOptions, Owner, OwnerRepository, Store } from '../repository.ts'
import { createMemoryEvents } from './background/events.ts'
import { createMemorySchedules } from './background/schedules.ts'
import { createMemoryWebhooks } from './background/webhooks.ts'
import { createMemoryBudgets } from './budgets.ts'
import { createMemoryCallers } from './callers.ts'
import { createMemoryConversations } from './conversations.ts'
import { createMemoryFiles } from './files.ts'
import { createMemoryFlows, type MemoryFlows } from './flows.ts'
import type { FindDead } from './queue/queue.ts'

export interface MemoryStoreOptions {
  /** Settled flows that are kept, the newest ones. Default: 1000. Running flows are never dropped. */
  readonly maxFlows?: number
  /** PENDING and PAUSED flows that are kept, the newest ones. Default: 100,000. */
  readonly maxWaitingFlows?: number
  /** Threads that are kept, the newest ones. Default: 100,000. */
  readonly maxThreads?: number
  /** Unused tickets that are kept, the newest ones. Default: 10,000. */
  readonly maxTickets?: number
  /** Bytes of all stored files. Above it the oldest files are removed. Default: 1,000,000,000. */
  readonly maxFileBytes?: number
  /** Characters of answers that are kept for repeated requests. Default: 16 million. */
  readonly maxAnswerCharacters?: number
  /** Deliveries of webhooks that are kept, the newest ones. Default: 10,000. */
  readonly maxDeliveries?: number
  /** Events of the log that are kept, the newest ones. Default: 100,000. */
  readonly maxEvents?: number
  /** Settled flows that stay uncompressed, which are quick to read; older ones are packed. Default: 64. */
  readonly recentFlows?: number
  /** Milliseconds since 1970. Default: `Date.now`. */
  readonly now?: () => number
}

/**
 * A store in plain memory, for tests and temporary use (`memory://`). It keeps the objects that it is given, so callers
 * must not change them afterwards. The promise of a write is already settled when it is returned.
 */
export function createMemoryStore(options: MemoryStoreOptions = {}): Store {
  const { maxFlows = 1_000, maxWaitingFlows = 100_000, maxThreads = 100_000, recentFlows = 64, now = Date.now } = options
  const { maxTickets = 10_000, maxAnswerCharacters = 16_000_000, maxDeliveries = 10_000 } = options
  const { maxFileBytes = 1_000_000_000, maxEvents = 100_000 } = options
  if (!Number.isInteger(maxFlows) || maxFlows < 1) {
    throw new OrchestratorError('CONFIG_INVALID', `Expected a whole number of flows to keep in memory, found ${maxFlows}.`)
  }
  const conversations = createMemoryConversations({ maxThreads })
  const { webhooks, addDeliveries } = createMemoryWebhooks({ maxDeliveries, flowOf: (flowId) => memory.namesOf(flowId) })
  const memory = createMemoryFlows({
    maxFlows,
    maxWaitingFlows,
    recentFlows,
    now,
    hasThread: conversations.hasThread,
    addMessages: conversations.addFlowMessages,
    addDeliveries,
    rightsOf: conversations.findRights,
  })
  const { files, removeOfThread } = createMemoryFiles({ maxBytes: maxFileBytes })
  const { owners, findDead } = createMemoryOwners(memory.interruptFlowsOf, now)

  return {
    kind: 'memory',
    flows: memory.flows,
    updates: memory.updates,
    journal: memory.journal,
    usage: memory.usage,
    waits: memory.waits,
    threads: {
      ...conversations.threads,
      delete: (threadId) => {
        memory.deleteFlowsOfThread(threadId)
        removeOfThread(threadId)
        return conversations.threads.delete(threadId)
      },
    },
    permissions: conversations.permissions,
    dataSharing: conversations.dataSharing,
    files,
    owners,
    webhooks,
    schedules: createMemorySchedules(),
    queue: memory.queue(findDead),
    budgets: createMemoryBudgets((ownerId, staleMs) => !findDead({ staleMs, isDead: () => false })(ownerId)),
    events: createMemoryEvents({ maxEvents }),
    ...createMemoryCallers({ maxTickets, maxAnswerCharacters }),
    expectClose: () => {},
    close: () => Promise.resolve(),
  }
}

function createMemoryOwners(
  interrupt: MemoryFlows['interruptFlowsOf'],
  now: () => number,
): { readonly owners: OwnerRepository; readonly findDead: FindDead } {
  const beats = new Map<string, { readonly owner: Owner; readonly beatAtMs: number }>()
  const findLiving = ({ staleMs, isDead }: OrphanOptions): ReadonlySet<string> => {
    const living = new Set<string>()
    for (const { owner, beatAtMs } of beats.values()) {
      if (now() - beatAtMs <= staleMs && !isDead(owner)) living.add(owner.id)
    }
    return living
  }
  const owners: OwnerRepository = {
    heartbeat: async (owner) => {
      beats.set(owner.id, { owner, beatAtMs: now() })
    },
    unregister: async (ownerId) => {
      beats.delete(ownerId)
    },
    expire: async (ownerId) => {
      const lastHeartbeat = beats.get(ownerId)
      if (lastHeartbeat) beats.set(ownerId, { ...lastHeartbeat, beatAtMs: Number.NEGATIVE_INFINITY })
    },
    interruptOrphanedFlows: async ({ deliverTo = [], ...options }) => {
      const living = findLiving(options)
      for (const ownerId of beats.keys()) if (!living.has(ownerId)) beats.delete(ownerId)
      return interrupt((ownerId) => ownerId === undefined || !living.has(ownerId), deliverTo)
    },
  }
  const findDead: FindDead = (options) => {
    const living = findLiving(options)
    return (ownerId) => !living.has(ownerId)
  }
  return { owners, findDead }
}

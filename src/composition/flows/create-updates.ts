import type { PolyphonyConfig } from '../../config/config.ts'
import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import { createLocalBus } from '../../notifications/local-bus.ts'
import type { NotificationBus } from '../../notifications/notification.ts'
import { createNotificationBus } from '../../notifications/notification-bus.ts'
import { createRedisTransport } from '../../notifications/redis-transport.ts'
import { createCompaction } from '../../orchestrator/updates/compaction.ts'
import { createLiveUpdates } from '../../orchestrator/updates/live-updates.ts'
import { createReadUpdates } from '../../orchestrator/updates/read-updates.ts'
import { createUpdateLog } from '../../orchestrator/updates/update-log.ts'
import type { Store } from '../../repositories/repository.ts'

type StoredListener = (flowId: string, updates: readonly FlowUpdate[]) => void

const POLL_MS = 200
const CONNECTED_POLL_MS = 1_000

export interface CreateUpdatesDeps {
  readonly config: Pick<PolyphonyConfig, 'engine' | 'redisUrl'>
  readonly store: Store
  readonly ownerId: string
  readonly now: () => Date
}

/**
 * Builds the updates of flows: `log` numbers and stores them, `live` streams the stored ones to subscribers, `bus`
 * carries their numbers to other processes, `compaction` joins the texts of ended flows.
 */
export function createUpdates({ config, store, ownerId, now }: CreateUpdatesDeps) {
  const bus = createBus(config, store, ownerId)
  const live = createLiveUpdates({
    read: createReadUpdates(store),
    heads: store.updates.heads,
    bus,
    pollMs: POLL_MS,
    connectedPollMs: CONNECTED_POLL_MS,
  })
  const compaction = createCompaction({ compact: store.updates.compact })
  const listeners: StoredListener[] = [live.publish]
  const log = createUpdateLog({
    journal: store.journal,
    onStored(flowId, updates) {
      for (const listener of listeners) listener(flowId, updates)
    },
    onStreamedFlowEnd: compaction.add,
    now,
  })
  return {
    live,
    log,
    bus,
    compaction,
    /** Calls back with updates of flows that this process has stored, in order. */
    onStored: (listener: StoredListener) => void listeners.push(listener),
  }
}

/** Redis carries messages where it is the engine's store, so that they cost the database nothing. */
function createBus({ engine, redisUrl }: CreateUpdatesDeps['config'], { broadcast }: Store, id: string): NotificationBus {
  if (engine === 'bullmq' && redisUrl !== undefined) {
    return createNotificationBus({ transport: createRedisTransport({ url: redisUrl }), id })
  }
  return broadcast ? createNotificationBus({ transport: broadcast, id }) : createLocalBus()
}

export type Updates = ReturnType<typeof createUpdates>

import { createLiveUpdates, createReadUpdates } from '../orchestrator/updates/live-updates.ts'
import { createUpdateLog } from '../orchestrator/updates/update-log.ts'
import type { Store } from '../repositories/repository.ts'

const POLL_OTHER_PROCESSES_MS = 200

/** Builds the updates of flows: `log` numbers and stores them, `live` streams the stored ones to subscribers. */
export function createUpdates({ store, now }: { readonly store: Store; readonly now: () => Date }) {
  const live = createLiveUpdates({
    read: createReadUpdates(store),
    heads: store.updates.heads,
    pollMs: POLL_OTHER_PROCESSES_MS,
  })
  return { live, log: createUpdateLog({ journal: store.journal, onStored: live.publish, now }) }
}

export type Updates = ReturnType<typeof createUpdates>

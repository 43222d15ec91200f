import type { PolyphonyConfig } from '../../config/config.ts'
import {
  startPruning,
  startPruningCallers,
  startPruningDeliveries,
  startPruningFiles,
} from '../../orchestrator/ownership/retention.ts'
import type { Store } from '../../repositories/repository.ts'

/** Removes stored data when its time is over, until the returned function is called. */
export function startAllPruning(config: PolyphonyConfig, store: Store): () => void {
  const pruning = [
    startPruning(store.updates, config.updates.retentionMs),
    startPruningCallers(store),
    startPruningFiles(store.files, config.files.retentionMs),
  ]
  if (config.webhooks.length > 0) pruning.push(startPruningDeliveries(store.webhooks))
  return () => {
    for (const stop of pruning) stop()
  }
}

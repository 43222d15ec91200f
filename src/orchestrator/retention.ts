import type { UpdateRepository } from '../repositories/repository.ts'

const PRUNE_EVERY_MS = 60_000

/** Removes updates of flows that settled longer ago than `retentionMs`, now and then. Returns what stops it. */
export function startPruning(updates: UpdateRepository, retentionMs: number | undefined): () => void {
  if (retentionMs === undefined) return () => {}
  // A database that is away for a moment is asked again at the next turn.
  const prune = () => void updates.prune(new Date(Date.now() - retentionMs)).catch(() => {})
  const timer = setInterval(prune, Math.min(retentionMs, PRUNE_EVERY_MS))
  timer.unref()
  return () => clearInterval(timer)
}

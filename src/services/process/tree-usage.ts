import type { ProcessTable } from '../../system/process-table.ts'
import type { ServiceRun } from '../service-driver.ts'
import { findTree, type TreeIdentity } from './run-tree.ts'

/** Age in milliseconds that a snapshot may have which several services share. */
const SHARED_MS = 500

/** Sums what the processes of a run use. Every call measures processor time since the one before. */
export function createTreeUsage(tree: TreeIdentity, table: ProcessTable): NonNullable<ServiceRun['usage']> {
  // Nothing is known of the time that an adopted process used before.
  let before: ReadonlyMap<string, number> | undefined = tree.isChild ? new Map() : undefined
  let beforeMs = performance.now()
  let cpuPercent = 0
  return async (maxAgeMs = SHARED_MS) => {
    const entries = findTree(await table.recent(maxAgeMs), tree)
    if (entries.length === 0) return undefined
    const nowMs = performance.now()
    const now = new Map(entries.map(({ pid, started, cpuMs }) => [`${pid}/${started}`, cpuMs]))
    // Two calls on one snapshot would measure nothing.
    if (nowMs - beforeMs > SHARED_MS) {
      const usedMs = [...now].reduce((sum, [key, cpuMs]) => sum + cpuMs - (before?.get(key) ?? 0), 0)
      cpuPercent = before ? Math.max(0, (usedMs / (nowMs - beforeMs)) * 100) : 0
      before = now
      beforeMs = nowMs
    }
    return {
      processes: entries.length,
      memoryBytes: entries.reduce((sum, { residentBytes }) => sum + residentBytes, 0),
      cpuPercent,
    }
  }
}

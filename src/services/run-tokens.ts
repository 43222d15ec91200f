import { createHash, timingSafeEqual } from 'node:crypto'
import type { ServiceEntry } from './service-entry.ts'

const hashOf = (text: string): Buffer => createHash('sha256').update(text).digest()

/**
 * The service with a process whose run has this id. The id is a random UUID that only the processes of the run know,
 * so it is their token, and it is worth nothing after the run.
 */
export function findServiceOfRun(entries: Iterable<ServiceEntry>, token: string): string | undefined {
  const hash = hashOf(token)
  let found: string | undefined
  for (const { id, life } of entries) {
    const { run } = life.snapshot()
    if (run?.process !== undefined && timingSafeEqual(hashOf(run.runId), hash)) found = id
  }
  return found
}

import { join } from 'node:path'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type FileLock, type HeldLock, lockFile } from '../../system/locks/file-lock.ts'

/**
 * Makes this process the only supervisor of the folder. Rejects within milliseconds with SERVICES_OWNED_ELSEWHERE, and
 * `details.pid`, while another one lives; the lock of a dead one is taken over.
 */
export const lockSupervisor = (dataDir: string): Promise<FileLock> =>
  lockFile(join(dataDir, 'supervisor.lock'), (held) => ownedElsewhere(dataDir, held))

function ownedElsewhere(dataDir: string, { path, holder, isHere }: HeldLock): OrchestratorError {
  const owner = !holder
    ? 'another process'
    : isHere
      ? `this process (pid ${holder.pid})`
      : `process ${holder.pid} on ${holder.host}`
  return new OrchestratorError('SERVICES_OWNED_ELSEWHERE', `The services of ${dataDir} are supervised by ${owner}.`, {
    details: { dataDir, lockFile: path, ...(holder && { pid: holder.pid, host: holder.host }) },
  })
}

import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { type FileLock, type HeldLock, lockFile } from '../../../system/locks/file-lock.ts'

/**
 * Creates `<directory>.lock`, so that no other process opens the directory. Rejects within milliseconds with
 * DATABASE_LOCKED when a living process holds the lock. See docs/decisions/0002-pglite-and-its-lock.md for the limits.
 */
export const lockDirectory = (directory: string): Promise<FileLock> =>
  lockFile(`${directory}.lock`, (held) => locked(directory, held))

function locked(directory: string, { path, holder, isHere }: HeldLock): OrchestratorError {
  const who = !holder
    ? 'another process'
    : isHere
      ? `this process (pid ${holder.pid})`
      : `process ${holder.pid} on ${holder.host}`
  const remedy = isHere
    ? 'close the first instance, or share it'
    : `end that process, use another directory, or use Postgres (DATABASE_URL=postgres://…). If no such process runs, delete ${path}`
  return new OrchestratorError('DATABASE_LOCKED', `The database directory ${directory} is in use by ${who}: ${remedy}`, {
    details: { directory, lockFile: path, pid: holder?.pid, host: holder?.host },
    retryable: !isHere,
  })
}

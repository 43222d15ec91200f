import { mkdir, realpath } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { PoolConfig } from 'pg'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { type DirectoryLock, lockDirectory } from './directory-lock.ts'

export interface EmbeddedDatabase {
  readonly pool: PoolConfig
  close(): Promise<void>
}

/** Opens Postgres inside this process, in a directory that is locked for as long, or in memory. */
export async function openPglite(location: string): Promise<EmbeddedDatabase> {
  if (location === 'memory') return start('memory://', undefined)
  const directory = await createParent(resolve(location))
  const lock = await lockDirectory(directory).catch((error: unknown) => {
    throw unavailable(directory, error)
  })
  try {
    return await start(directory, lock)
  } catch (error) {
    await lock.release()
    throw unavailable(directory, error)
  }
}

/** Two paths to one directory must meet in one lock file, so links are resolved as far as there is something. */
async function createParent(directory: string): Promise<string> {
  try {
    await mkdir(directory, { recursive: true })
    return await realpath(directory)
  } catch (error) {
    throw unavailable(directory, error)
  }
}

async function start(dataDir: string, lock: DirectoryLock | undefined): Promise<EmbeddedDatabase> {
  const [{ PGlite }, { createPgConfig }] = await Promise.all([
    import('@electric-sql/pglite'),
    import('@electric-sql/pglite/node-postgres'),
  ])
  const pglite = await PGlite.create(dataDir)
  return {
    // More than one connection would read each other's rows; a client that idles out would take the only connection with it.
    pool: { ...createPgConfig(pglite), max: 1, idleTimeoutMillis: 0 },
    async close() {
      await pglite.close()
      await lock?.release()
    },
  }
}

function unavailable(directory: string, error: unknown): OrchestratorError {
  if (OrchestratorError.is(error)) return error
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const why =
    code === 'ENOSPC' ? 'the disk is full' : code === 'EACCES' || code === 'EROFS' ? 'it is not writable' : 'it cannot be opened'
  return new OrchestratorError('DATABASE_UNAVAILABLE', `The database directory ${directory} cannot be used: ${why}`, {
    details: { directory, reason: code },
    cause: error,
  })
}

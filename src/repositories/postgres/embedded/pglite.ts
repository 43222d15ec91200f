import { existsSync } from 'node:fs'
import { mkdir, readdir, realpath, rm, statfs, writeFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import type { Pool, PoolConfig, QueryConfig } from 'pg'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { takeClient } from '../transaction.ts'
import { restoreMarks } from './byte-order-marks.ts'
import { readDatabaseSeed, warnOfDamage } from './database-seed.ts'
import { lockDirectory } from './directory-lock.ts'

export interface EmbeddedDatabase {
  readonly pool: PoolConfig
  close(): Promise<void>
}

/** Less free space than this counts as a full disk: a new database takes 40 MB. */
const FULL_DISK_BYTES = 60_000_000

type ReadSeed = () => Promise<Blob | undefined>

/**
 * Opens Postgres inside this process: in memory, or in a directory, which stays locked until it is closed. Rejects with
 * DATABASE_LOCKED or DATABASE_UNAVAILABLE.
 */
export async function openPglite(location: string, readSeed: ReadSeed = readDatabaseSeed): Promise<EmbeddedDatabase> {
  if (location === 'memory') return startNew('memory://', readSeed, async () => undefined)
  const directory = await createDirectory(resolve(location))
  const lock = await lockDirectory(directory).catch(async (error: unknown) => {
    throw await unavailable(directory, error)
  })
  try {
    const { pool, close } = await startIn(directory, readSeed)
    return { pool, close: () => close().finally(lock.release) }
  } catch (error) {
    await lock.release()
    throw await unavailable(directory, error)
  }
}

/**
 * The folder of the default database. It gets a `.gitignore`, so that prompts and answers are not committed by
 * accident.
 */
const OWN_FOLDER = '.polyphony'

/** Creates the directory and resolves with its real path, so that two paths to one directory share one lock file. */
async function createDirectory(directory: string): Promise<string> {
  try {
    // The database writes its files so that every user may read and write them: the directory keeps others out.
    const created = await mkdir(directory, { recursive: true, mode: 0o700 })
    if (created !== undefined && basename(created) === OWN_FOLDER) await writeFile(join(created, '.gitignore'), '*\n')
    return await realpath(directory)
  } catch (error) {
    throw await unavailable(directory, error)
  }
}

/**
 * A database whose creation was interrupted, by a kill or a full disk, cannot be opened and is empty: it is created
 * again.
 */
async function startIn(directory: string, readSeed: ReadSeed): Promise<EmbeddedDatabase> {
  const mark = `${directory}.unfinished`
  const isUnfinished = existsSync(mark)
  if (isUnfinished) await empty(directory)
  else if ((await readdir(directory)).length > 0) return start(directory)
  await writeFile(mark, '')
  const database = await startNew(directory, readSeed, () => empty(directory))
  await rm(mark)
  return database
}

async function empty(directory: string): Promise<void> {
  const entries = await readdir(directory)
  await Promise.all(entries.map((entry) => rm(join(directory, entry), { recursive: true, force: true })))
}

/**
 * Creates a database from the prepared one, or from scratch if that is missing or unusable. `clear` removes the files
 * of a failed attempt.
 */
async function startNew(dataDir: string, readSeed: ReadSeed, clear: () => Promise<void>): Promise<EmbeddedDatabase> {
  const seed = await readSeed()
  if (seed) {
    try {
      return await start(dataDir, seed)
    } catch (error) {
      await clear()
      const database = await start(dataDir)
      // Reported only after a success, because on a full or read-only disk creating it from scratch fails as well and
      // the seed is intact.
      warnOfDamage(error)
      return database
    }
  }
  return start(dataDir)
}

/**
 * A database that was not closed, the prepared one among them, recovers when it starts. Postgres would report the
 * progress by a repeating timer, which keeps a program from ending.
 */
const WITHOUT_STARTUP_TIMER = ['-c', 'log_startup_progress_interval=0']

async function start(dataDir: string, loadDataDir?: Blob): Promise<EmbeddedDatabase> {
  const [{ PGlite }, { createPgConfig }] = await Promise.all([
    import('@electric-sql/pglite'),
    import('@electric-sql/pglite/node-postgres'),
  ])
  const startParams = [...PGlite.defaultStartParams, ...WITHOUT_STARTUP_TIMER]
  const pglite = new PGlite(dataDir, { loadDataDir, startParams })
  const execProtocolRawSync = pglite.execProtocolRawSync.bind(pglite)
  pglite.execProtocolRawSync = (...given) => withIdleTimers(() => execProtocolRawSync(...given))
  await pglite.waitReady
  // The pool calls no other function of the database.
  pglite.execProtocolStream = async (message, options) => {
    const { messages, data } = await pglite.execProtocol(message, options)
    restoreMarks(messages, data)
    return messages
  }
  return {
    // Two connections would read each other's rows; a client that is closed when idle would close the only connection.
    pool: { ...createPgConfig(pglite), max: 1, idleTimeoutMillis: 0 },
    close: () => pglite.close(),
  }
}

/**
 * Runs a synchronous call of the WebAssembly, with timers that do not keep a program alive if it forgot to close its
 * store. Postgres starts such timers for work in idle time. The WebAssembly uses the global `setTimeout`, and no other
 * code runs during the call.
 */
function withIdleTimers<Value>(call: () => Value): Value {
  const { setTimeout } = globalThis
  const idle = (callback: () => void, ms?: number) => setTimeout(() => withIdleTimers(callback), ms).unref()
  globalThis.setTimeout = Object.assign(idle, setTimeout)
  try {
    return call()
  } finally {
    globalThis.setTimeout = setTimeout
  }
}

/**
 * Makes the pool keep its client when a statement fails. `pg` would discard the client; over an embedded database the
 * next client shares the connection and would read the rest of the failed statement's reply as its own.
 */
export function keepClientAfterErrors(pool: Pool): void {
  const query = async (statement: string | QueryConfig, values?: unknown[]) => {
    const { client, release } = await takeClient(pool)
    try {
      return await client.query(statement, values)
    } finally {
      release()
    }
  }
  Object.assign(pool, { query })
}

async function unavailable(directory: string, error: unknown): Promise<OrchestratorError> {
  if (OrchestratorError.is(error)) return error
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const disk = await statfs(directory).catch(() => undefined)
  const isFull = code === 'ENOSPC' || (disk !== undefined && disk.bavail * disk.bsize < FULL_DISK_BYTES)
  const reason = isFull
    ? 'the disk is full'
    : code === 'EACCES' || code === 'EROFS'
      ? 'it is not writable'
      : 'it cannot be opened'
  return new OrchestratorError('DATABASE_UNAVAILABLE', `The database directory ${directory} cannot be used: ${reason}`, {
    details: { directory, reason: isFull ? 'ENOSPC' : code },
    cause: error,
  })
}

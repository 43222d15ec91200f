import { existsSync } from 'node:fs'
import { mkdir, readdir, realpath, rm, statfs, writeFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import type { Pool, PoolConfig, QueryConfig } from 'pg'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { restoreMarks } from './byte-order-marks.ts'
import { readDatabaseSeed, warnOfDamage } from './database-seed.ts'
import { lockDirectory } from './directory-lock.ts'

export interface EmbeddedDatabase {
  readonly pool: PoolConfig
  close(): Promise<void>
}

/** A new database takes 40 MB. */
const FULL_DISK_BYTES = 60_000_000

type ReadSeed = () => Promise<Blob | undefined>

/** Opens Postgres inside this process: in a directory, which is locked for as long, or in memory. */
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

/** The folder of the default database: what users asked and models answered must not be committed by accident. */
const OWN_FOLDER = '.polyphony'

/** Two paths to one directory must meet in one lock file. */
async function createDirectory(directory: string): Promise<string> {
  try {
    const created = await mkdir(directory, { recursive: true })
    if (created !== undefined && basename(created) === OWN_FOLDER) await writeFile(join(created, '.gitignore'), '*\n')
    return await realpath(directory)
  } catch (error) {
    throw await unavailable(directory, error)
  }
}

/**
 * A database whose making was cut off, by a kill or a full disk, cannot be opened and holds nothing: it is made anew.
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
 * Makes a database of the prepared one, or from scratch where there is none that can be used; `clear` takes away what
 * an attempt left.
 */
async function startNew(dataDir: string, readSeed: ReadSeed, clear: () => Promise<void>): Promise<EmbeddedDatabase> {
  const seed = await readSeed()
  if (seed) {
    try {
      return await start(dataDir, seed)
    } catch (error) {
      await clear()
      const database = await start(dataDir)
      // Where the disk is full or cannot be written to, making it from scratch fails too, and the seed is not to blame.
      warnOfDamage(error)
      return database
    }
  }
  return start(dataDir)
}

/**
 * A database that was not closed, the prepared one among them, recovers when it starts. Postgres would report the
 * progress of that by a timer, which keeps a program from ending and is armed again and again.
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
  // The one way by which the pool reaches the database.
  pglite.execProtocolStream = async (message, options) => {
    const { messages, data } = await pglite.execProtocol(message, options)
    restoreMarks(messages, data)
    return messages
  }
  return {
    // More than one connection would read each other's rows; a client that idles out would take the only connection
    // with it.
    pool: { ...createPgConfig(pglite), max: 1, idleTimeoutMillis: 0 },
    close: () => pglite.close(),
  }
}

/**
 * Runs a synchronous call of the WebAssembly. Postgres arms timers in it for work of its idle time, and again whenever
 * one has fired: they must not keep a program from ending that forgot to close. The WebAssembly knows no other
 * `setTimeout` than the global one, and nothing else runs during the call.
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
 * Makes the pool keep its client when a statement fails. `pg` throws the client away then; over an embedded database
 * its successor shares the connection and would take the rest of the failed statement's answer for its own.
 */
export function keepClientAfterErrors(pool: Pool): void {
  // Whoever waits for an answer of a lost connection is told by the query itself.
  const ignore = () => undefined
  const query = async (statement: string | QueryConfig, values?: unknown[]) => {
    const client = await pool.connect()
    client.on('error', ignore)
    try {
      return await client.query(statement, values)
    } finally {
      client.off('error', ignore)
      client.release()
    }
  }
  Object.assign(pool, { query })
}

async function unavailable(directory: string, error: unknown): Promise<OrchestratorError> {
  if (OrchestratorError.is(error)) return error
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const disk = await statfs(directory).catch(() => undefined)
  const isFull = code === 'ENOSPC' || (disk !== undefined && disk.bavail * disk.bsize < FULL_DISK_BYTES)
  const why = isFull ? 'the disk is full' : code === 'EACCES' || code === 'EROFS' ? 'it is not writable' : 'it cannot be opened'
  return new OrchestratorError('DATABASE_UNAVAILABLE', `The database directory ${directory} cannot be used: ${why}`, {
    details: { directory, reason: isFull ? 'ENOSPC' : code },
    cause: error,
  })
}

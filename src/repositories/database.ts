import type { PluggedDataSource } from '../config/config-schema.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { TypeormStoreOptions } from './postgres/typeorm-store.ts'
import type { Store } from './repository.ts'

export interface OpenStoreOptions {
  /**
   * `pglite://<directory>` (relative to the working directory, or absolute), `pglite://memory`, `postgres://…`,
   * `postgresql://…`, or an initialized DataSource of a backend. Its pool is shared and never closed here; Polyphony's
   * tables, prefixed `polyphony_`, are created beside those of the backend.
   */
  readonly url: string | PluggedDataSource
  /** Milliseconds for which writes are kept and repeated while Postgres does not answer. Default: 30 seconds. */
  readonly retryForMs?: number
  /** SQL expression that adds a job for a queued flow. See `JournalOptions`. */
  readonly addJob?: string
}

const RETRY_FOR_MS = 30_000

/**
 * Opens the database, brings its schema up to date and resolves with the store. Composition calls it once per process;
 * TypeORM and the driver are loaded then. Rejects with DATABASE_LOCKED, DATABASE_UNAVAILABLE or CONFIG_INVALID.
 */
export async function openStore({ url, retryForMs = RETRY_FOR_MS, addJob }: OpenStoreOptions): Promise<Store> {
  const database = toDatabase(url)
  const { createTypeormStore } = await import('./postgres/typeorm-store.ts')
  return createTypeormStore({ database, retryForMs, addJob })
}

/**
 * Brings the schema up to date and releases the database; resolves with the names of the migrations that were applied.
 * Rejects as `openStore` does.
 */
export async function migrate(url: string | PluggedDataSource): Promise<readonly string[]> {
  const database = toDatabase(url)
  const { migrateDatabase } = await import('./postgres/typeorm-store.ts')
  return migrateDatabase(database)
}

function toDatabase(url: string | PluggedDataSource): TypeormStoreOptions['database'] {
  if (typeof url !== 'string') {
    if (url.isInitialized) return { dataSource: url }
    throw new OrchestratorError('CONFIG_INVALID', '`database`: expected an initialized DataSource: call its initialize() first')
  }
  const pglite = /^pglite:\/\/(.+)$/.exec(url)?.[1]
  if (pglite !== undefined) return { pglite }
  if (/^postgres(ql)?:\/\//.test(url)) return { postgres: url }
  // Only the scheme is shown: the rest may hold a password.
  const scheme = /^[a-z]+:(\/\/)?/i.exec(url)?.[0] ?? 'no scheme'
  throw new OrchestratorError(
    'CONFIG_INVALID',
    `DATABASE_URL: expected pglite://<directory>, pglite://memory, postgres://… or memory://, found ${scheme}`,
  )
}

import type { PluggedDataSource } from '../config/config-schema.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { MigrateOptions, MigrationMode } from './migration-options.ts'
import type { DatabaseLocation } from './postgres/open-database.ts'
import type { Store } from './repository.ts'
import type { ExportOptions, ImportCount } from './transfer-options.ts'

export interface OpenStoreOptions {
  /**
   * `pglite://<directory>` (relative to the working directory, or absolute), `pglite://memory`, `postgres://…`,
   * `postgresql://…`, or an initialized DataSource of a backend. Its pool is shared and never closed here; Polyphony's
   * tables, prefixed `polyphony_`, are created beside those of the backend.
   */
  readonly url: string | PluggedDataSource
  /**
   * Milliseconds for which creations and claims of flows are repeated while Postgres does not answer. Results of
   * running flows are kept until the store is closed. Default: 30 seconds.
   */
  readonly retryForMs?: number
  /** Called once per outage when results are rejected because more than 256 MiB of them wait. */
  readonly onOverflow?: (keptBytes: number) => void
  /** What happens when the schema of Postgres is behind. Default: `auto`. The embedded database is always migrated. */
  readonly migrations?: MigrationMode
  /** SQL expression that adds a job for a queued flow. See `JournalOptions`. */
  readonly addJob?: string
}

const RETRY_FOR_MS = 30_000

/**
 * Opens the database, brings its schema up to date as `migrations` says and resolves with the store. Composition calls
 * it once per process; TypeORM and the driver are loaded then. Rejects with DATABASE_LOCKED, DATABASE_UNAVAILABLE,
 * DATABASE_SCHEMA_MISMATCH or CONFIG_INVALID.
 */
export async function openStore(options: OpenStoreOptions): Promise<Store> {
  const { url, retryForMs = RETRY_FOR_MS, migrations = 'auto', addJob, onOverflow } = options
  const database = toDatabase(url)
  const { createTypeormStore } = await import('./postgres/typeorm-store.ts')
  return createTypeormStore({ database, retryForMs, migrations, addJob, onOverflow })
}

/**
 * Brings the schema up to date and releases the database; resolves with the names of the migrations that were applied,
 * or with those that are missing if `check` is set. Rejects as `openStore` does.
 */
export async function migrate(url: string | PluggedDataSource, options: MigrateOptions = {}): Promise<readonly string[]> {
  const database = toDatabase(url)
  const { migrateDatabase } = await import('./postgres/open-database.ts')
  return migrateDatabase(database, options)
}

/**
 * Writes all data of the database to the sink as JSON Lines and resolves with the number of rows by kind. Memory is
 * bounded by the largest row. Rejects as `openStore` does, with FLOW_ALREADY_RUNNING while other processes run flows,
 * and with the error of the sink.
 */
export async function exportDatabase(
  url: string | PluggedDataSource,
  sink: (chunks: AsyncIterable<string>) => Promise<void>,
  options: ExportOptions,
): Promise<Readonly<Record<string, number>>> {
  const database = toDatabase(url)
  const { exportFrom } = await import('./postgres/transfer/export-database.ts')
  return exportFrom(database, sink, options)
}

/**
 * Reads what `exportDatabase` has written into the database, all of it or nothing, and resolves with the counts by
 * kind. Rows that exist are skipped. Rejects as `openStore` does, and with INPUT_INVALID, naming the line, for any
 * other content.
 */
export async function importDatabase(
  url: string | PluggedDataSource,
  chunks: AsyncIterable<Uint8Array>,
): Promise<Readonly<Record<string, ImportCount>>> {
  const database = toDatabase(url)
  const { importInto } = await import('./postgres/transfer/import-database.ts')
  return importInto(database, chunks)
}

function toDatabase(url: string | PluggedDataSource): DatabaseLocation {
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

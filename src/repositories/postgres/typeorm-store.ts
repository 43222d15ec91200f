import type { DataSource } from 'typeorm'
import type { PluggedDataSource } from '../../config/config-schema.ts'
import type { Store } from '../repository.ts'
import { createBroadcast } from './broadcast.ts'
import { dataSourceOptions, openDataSource, poolOf, runMigrations, sharedDataSourceOptions } from './data-source.ts'
import { toDatabaseError } from './database-errors.ts'
import { keepClientAfterErrors, openPglite } from './embedded/pglite.ts'
import { createJournal, createSequence } from './journal/journal.ts'
import { createApiKeyRepository } from './tables/api-key-repository.ts'
import { createDataSharingRepository } from './tables/data-sharing-repository.ts'
import { createFlowRepository } from './tables/flow-repository.ts'
import { createIdempotencyRepository } from './tables/idempotency-repository.ts'
import { createOwnerRepository } from './tables/owner-repository.ts'
import { createPermissionRepository } from './tables/permission-repository.ts'
import { createQueueRepository } from './tables/queue-repository.ts'
import { createThreadRepository } from './tables/thread-repository.ts'
import { createTicketRepository } from './tables/ticket-repository.ts'
import { createUpdateRepository } from './tables/update-repository.ts'
import { createUsageRepository } from './tables/usage-repository.ts'

export interface TypeormStoreOptions {
  readonly database: { readonly pglite: string } | { readonly postgres: string } | { readonly dataSource: PluggedDataSource }
  /** Milliseconds for which writes are kept and repeated while Postgres does not answer. */
  readonly retryForMs: number
  /** SQL expression that adds a job for a queued flow. See `JournalOptions`. */
  readonly addJob?: string
}

const STATEMENTS_AT_ONCE = 4

interface OpenedDatabase {
  readonly kind: 'pglite' | 'postgres'
  readonly dataSource: DataSource
  readonly applied: readonly string[]
  close(): Promise<void>
}

/** A store in PGlite or Postgres, with its schema up to date. */
export async function createTypeormStore(options: TypeormStoreOptions): Promise<Store> {
  const { kind, dataSource, close } = await openDatabase(options.database)
  const pool = poolOf(dataSource)
  if (kind === 'pglite') keepClientAfterErrors(pool)
  const nextRecorded = createSequence(Date.now)
  const journal = createJournal({
    pool,
    nextRecorded,
    addJob: options.addJob,
    // Writes to an embedded database are not repeated: it has one connection, which does not recover once it stops
    // answering.
    ...(kind === 'pglite'
      ? { retryForMs: 0, statementsAtOnce: 1 }
      : { retryForMs: options.retryForMs, statementsAtOnce: STATEMENTS_AT_ONCE }),
  })
  return {
    kind,
    journal,
    flows: createFlowRepository(pool),
    threads: createThreadRepository(dataSource, nextRecorded),
    permissions: createPermissionRepository(dataSource, pool),
    dataSharing: createDataSharingRepository(dataSource, pool),
    updates: createUpdateRepository(pool),
    owners: createOwnerRepository(pool),
    queue: createQueueRepository(pool),
    apiKeys: createApiKeyRepository(dataSource, pool),
    tickets: createTicketRepository(pool),
    idempotency: createIdempotencyRepository(pool),
    usage: createUsageRepository(pool),
    broadcast: kind === 'postgres' ? createBroadcast(pool) : undefined,
    async close() {
      await journal.close()
      await close()
    },
  }
}

/**
 * Brings the schema up to date, closes the database and resolves with the names of the migrations that were applied.
 */
export async function migrateDatabase(database: TypeormStoreOptions['database']): Promise<readonly string[]> {
  const { applied, close } = await openDatabase(database)
  await close()
  return applied
}

async function openDatabase(database: TypeormStoreOptions['database']): Promise<OpenedDatabase> {
  if ('pglite' in database) {
    const embedded = await openPglite(database.pglite)
    return openMigrated('pglite', dataSourceOptions({ pool: embedded.pool }), embedded.close)
  }
  const options =
    'postgres' in database ? dataSourceOptions({ url: database.postgres }) : sharedDataSourceOptions(poolOf(database.dataSource))
  return openMigrated('postgres', options, async () => undefined)
}

async function openMigrated(
  kind: OpenedDatabase['kind'],
  options: Parameters<typeof openDataSource>[0],
  release: () => Promise<void>,
): Promise<OpenedDatabase> {
  let dataSource: DataSource | undefined
  try {
    dataSource = await openDataSource(options)
    const opened = dataSource
    const applied = await runMigrations(opened)
    let closing: Promise<void> | undefined
    const close = () => (closing ??= opened.destroy().then(release))
    return { kind, dataSource: opened, applied, close }
  } catch (error) {
    await dataSource?.destroy()
    await release()
    throw toDatabaseError(error)
  }
}

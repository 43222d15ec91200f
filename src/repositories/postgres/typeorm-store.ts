import type { MigrationMode } from '../migration-options.ts'
import type { Store } from '../repository.ts'
import { createBroadcast } from './broadcast.ts'
import { poolOf } from './data-source.ts'
import { keepClientAfterErrors } from './embedded/pglite.ts'
import { createJournal, createSequence } from './journal/journal.ts'
import { type DatabaseLocation, openMigrated } from './open-database.ts'
import { createQueueRepository } from './queue/queue-repository.ts'
import { createWaitRepository } from './queue/wait-repository.ts'
import { createServiceRepository } from './services/service-repository.ts'
import { createBudgetRepository } from './spending/budget-repository.ts'
import { createProviderRateRepository } from './spending/provider-rate-repository.ts'
import { createRequestCountRepository } from './spending/request-count-repository.ts'
import { createApiKeyRepository } from './tables/api-key-repository.ts'
import { createDataSharingRepository } from './tables/data-sharing-repository.ts'
import { createEventRepository } from './tables/event-repository.ts'
import { createFileRepository } from './tables/file-repository.ts'
import { createFlowRepository } from './tables/flow-repository.ts'
import { createIdempotencyRepository } from './tables/idempotency-repository.ts'
import { createOwnerRepository } from './tables/owner-repository.ts'
import { createPermissionRepository } from './tables/permission-repository.ts'
import { createScheduleRepository } from './tables/schedule-repository.ts'
import { createThreadRepository } from './tables/thread-repository.ts'
import { createTicketRepository } from './tables/ticket-repository.ts'
import { createUpdateRepository } from './tables/update-repository.ts'
import { createUsageRepository } from './tables/usage-repository.ts'
import { createWebhookRepository } from './tables/webhook-repository.ts'

export interface TypeormStoreOptions {
  readonly database: DatabaseLocation
  /** Milliseconds for which creations and claims are repeated while Postgres does not answer. */
  readonly retryForMs: number
  /** Called once per outage when results are rejected because too many wait. */
  readonly onOverflow?: (keptBytes: number) => void
  readonly migrations: MigrationMode
  /** SQL expression that adds a job for a queued flow. See `JournalOptions`. */
  readonly addJob?: string
}

const STATEMENTS_AT_ONCE = 4

/** A store in PGlite or Postgres, with its schema up to date. */
export async function createTypeormStore(options: TypeormStoreOptions): Promise<Store> {
  const { kind, dataSource, close } = await openMigrated(options.database, options.migrations)
  const pool = poolOf(dataSource)
  if (kind === 'pglite') keepClientAfterErrors(pool)
  const nextRecorded = createSequence(Date.now)
  const journal = createJournal({
    pool,
    nextRecorded,
    addJob: options.addJob,
    onOverflow: options.onOverflow,
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
    files: createFileRepository(pool),
    updates: createUpdateRepository(pool),
    owners: createOwnerRepository(pool),
    queue: createQueueRepository(pool),
    apiKeys: createApiKeyRepository(dataSource, pool),
    tickets: createTicketRepository(pool),
    idempotency: createIdempotencyRepository(pool),
    usage: createUsageRepository(pool),
    broadcast: kind === 'postgres' ? createBroadcast(pool) : undefined,
    webhooks: createWebhookRepository(pool),
    schedules: createScheduleRepository(pool),
    waits: createWaitRepository(pool),
    budgets: createBudgetRepository(pool),
    events: createEventRepository(pool),
    providerRates: createProviderRateRepository(pool),
    requestCounts: createRequestCountRepository(pool),
    services: createServiceRepository(pool),
    expectClose: journal.expectClose,
    async close() {
      await journal.close()
      await close()
    },
  }
}

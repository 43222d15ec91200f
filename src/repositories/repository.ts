import type { ScheduleRepository, WebhookRepository } from './background-repositories.ts'
import type { ApiKeyRepository, IdempotencyRepository, TicketRepository, UsageRepository } from './caller-repositories.ts'
import type {
  DataSharingRepository,
  FileRepository,
  PermissionRepository,
  ThreadRepository,
} from './conversation-repositories.ts'
import type { EventRepository } from './events.ts'
import type { QueueRepository } from './queued-flows.ts'
import type { Journal, OwnerRepository, UpdateRepository } from './running-flows.ts'
import type { ServiceRepository } from './services.ts'
import type { BudgetRepository, ProviderRateRepository, RequestCountRepository } from './spending-repositories.ts'
import type { FlowRepository } from './stored-flows.ts'
import type { WaitRepository } from './waits.ts'

export type {
  ClaimedDelivery,
  DeliveryAttempt,
  DeliveryCounts,
  DeliveryKey,
  NewDelivery,
  ScheduledRun,
  ScheduleRepository,
  StoredSchedule,
  StoredWebhook,
  WebhookRepository,
} from './background-repositories.ts'
export type { ApiKeyRepository, IdempotencyRepository, TicketRepository, UsageRepository } from './caller-repositories.ts'
export type {
  DataSharingRepository,
  FileAddition,
  FileRepository,
  PermissionRepository,
  ThreadRepository,
} from './conversation-repositories.ts'
export type { EventRepository, UnnumberedEvent } from './events.ts'
export type {
  ClaimNext,
  ClaimNextAnswer,
  OrphanOptions,
  QueueCounts,
  QueuedFlow,
  QueueRepository,
  UnrunnableDefinition,
} from './queued-flows.ts'
export type {
  Claim,
  ClaimAnswer,
  FlowHead,
  FlowInsert,
  FlowOutcome,
  Journal,
  JournalEntry,
  Owner,
  OwnerRepository,
  StoredUpdate,
  UpdateRepository,
} from './running-flows.ts'
export type { AdvertisedService, RunningService, ServiceRepository } from './services.ts'
export type {
  BudgetCap,
  BudgetKey,
  BudgetRepository,
  BudgetReservation,
  BudgetSettlement,
  BudgetUsage,
  ProviderRateRepository,
  RateSlots,
  RequestCountRepository,
  SharedRateLimits,
} from './spending-repositories.ts'
export {
  type FlowCursor,
  type FlowRepository,
  INPUT_START_CHARACTERS,
  type ListedFlow,
  type ListFlowsQuery,
  type NamedFlow,
  type StepState,
  type StoredDefinition,
  type StoredFlow,
  type StoredFlowResult,
} from './stored-flows.ts'

export type { WaitAnswer, WaitCursor, WaitEvent, WaitRepository } from './waits.ts'

/**
 * All data of one database. Composition opens one store per process: `createMemoryStore` implements it in memory and
 * `createTypeormStore` on PGlite and Postgres. Every implementation passes the suite `test/contracts/repository.ts`.
 *
 * A promise of a write resolves when the write is durable; in memory that is at once. Ids that were never stored are no
 * error: reads find nothing, writes change nothing, except where a method says otherwise. No method can be aborted.
 *
 * Every method rejects with DATABASE_UNAVAILABLE when the database does not answer, and with INTERNAL when it refuses a
 * statement.
 */
export interface Store {
  readonly kind: 'memory' | 'pglite' | 'postgres'
  readonly flows: FlowRepository
  readonly threads: ThreadRepository
  readonly permissions: PermissionRepository
  readonly dataSharing: DataSharingRepository
  readonly files: FileRepository
  readonly updates: UpdateRepository
  readonly owners: OwnerRepository
  readonly queue: QueueRepository
  readonly journal: Journal
  readonly apiKeys: ApiKeyRepository
  readonly tickets: TicketRepository
  readonly idempotency: IdempotencyRepository
  readonly usage: UsageRepository
  /** Carries notifications between the processes over this database; only on Postgres. */
  readonly broadcast?: Broadcast
  readonly webhooks: WebhookRepository
  readonly schedules: ScheduleRepository
  readonly waits: WaitRepository
  readonly budgets: BudgetRepository
  readonly events: EventRepository
  /** Absent in memory, which no other process shares. */
  readonly providerRates?: ProviderRateRepository
  /** Absent in memory, which no other process shares. */
  readonly requestCounts?: RequestCountRepository
  /** Absent in memory, which no other process shares. */
  readonly services?: ServiceRepository
  /**
   * From now on, writes wait for at most 10 seconds for a database that does not answer, so that flows can end before
   * the store is closed. Composition calls it once, when a process ends.
   */
  expectClose(): void
  /** Completes all accepted writes, then releases the database. Composition calls it once, when a process ends. */
  close(): Promise<void>
}

/** Sends texts from each process that has opened the database to all of them. Nothing of it is stored. */
export interface Broadcast {
  /** Bytes of UTF-8 that one text may have. */
  readonly maxFrameBytes: number
  /** Opens a connection outside the pool. `onLost` is called once when it is lost; never after `close`. */
  connect(handlers: { onFrame(frame: string): void; onLost(): void }): Promise<{
    send(frames: readonly string[]): Promise<void>
    close(): Promise<void>
  }>
}

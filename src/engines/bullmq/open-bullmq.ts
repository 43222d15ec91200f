import type { PoolConfig } from 'pg'
import { systemClock } from '../../async/clock.ts'
import type { Engine, EngineDeps } from '../engine.ts'
import { addSlotSql } from './add-slot-sql.ts'
import { createBullmqEngine, type EngineLog } from './bullmq-engine.ts'
import { openBullmqPool, prepareBullmqSchema } from './postgres-schema.ts'
import { createPostgresSlots } from './postgres-slots.ts'
import { createRedisSlots } from './redis-slots.ts'
import type { SlotSettings } from './slot-queue.ts'

export interface OpenBullmqOptions {
  /** Settings of a pool on the database of the flows. */
  readonly database: PoolConfig
  /** Whether a missing schema is created; otherwise that is left to `polyphony migrate`. */
  readonly mayCreateSchema: boolean
  /** If given, slots are kept in Redis. */
  readonly redisUrl?: string
  readonly settings: SlotSettings & {
    /** Name of the queue, and first part of the keys in Redis. */
    readonly queue: string
  }
  readonly logger?: EngineLog
}

export interface OpenedBullmq {
  /** SQL expression for the store that adds a slot; absent if slots are not in the database. */
  readonly addJob?: string
  /** Called once. The engine closes everything that was opened. */
  create(deps: EngineDeps): Engine
  /** Releases everything if no engine is created. */
  close(): Promise<void>
}

/**
 * Opens the queue of slots for one process. Loaded only for this engine, because BullMQ and its drivers take longer to
 * load than everything else. Rejects with DATABASE_SCHEMA_MISMATCH if the schema of BullMQ is
 * behind.
 */
export async function openBullmq({
  database,
  mayCreateSchema,
  redisUrl,
  settings,
  logger,
}: OpenBullmqOptions): Promise<OpenedBullmq> {
  const { queue: queueName } = settings
  const onError = (error: Error) => logger?.warn('the queue of slots reported an error', { error: error.message })
  const shared = { settings, clock: systemClock, logger }
  if (redisUrl !== undefined) {
    const slots = createRedisSlots({ queueName, url: redisUrl, prefix: queueName, onError })
    return {
      create: (deps) => createBullmqEngine({ ...deps, ...shared, slots, enqueueAddsSlot: false, locksByWorkerClock: false }),
      close: slots.close,
    }
  }
  const pool = openBullmqPool(database)
  try {
    await prepareBullmqSchema(pool, mayCreateSchema)
  } catch (error) {
    await pool.end()
    throw error
  }
  const slots = createPostgresSlots({ queueName, pool, onError })
  return {
    addJob: addSlotSql(queueName),
    create: (deps) => createBullmqEngine({ ...deps, ...shared, slots, enqueueAddsSlot: true, locksByWorkerClock: true }),
    close: slots.close,
  }
}

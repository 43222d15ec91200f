import { createPostgresBackend, Queue, Worker } from 'bullmq'
import type { Pool } from 'pg'
import { createBullmqSlots, queueStreams } from './bullmq-slots.ts'
import type { SlotQueue } from './slot-queue.ts'

export interface PostgresSlotsOptions {
  readonly queueName: string
  /** A pool whose connections find BullMQ's schema first (`search_path`). It ends with the queue. */
  readonly pool: Pool
  readonly onError: (error: Error) => void
}

/**
 * Seconds after which an idle worker searches for slots although it was not notified. Postgres notifies it of every
 * slot, so this bounds only what a silently lost connection costs.
 */
const IDLE_POLL_S = 10

/** Slots in the database of the flows. */
export function createPostgresSlots({ queueName, pool, onError }: PostgresSlotsOptions): SlotQueue {
  const queue = new Queue(queueName, { connection: pool, streams: queueStreams }, createPostgresBackend)
  queue.on('error', onError)
  return createBullmqSlots({
    queue,
    createWorker: (process, options) =>
      new Worker(queueName, process, { ...options, connection: pool, drainDelay: IDLE_POLL_S }, createPostgresBackend),
    onError,
    release: () => pool.end(),
  })
}

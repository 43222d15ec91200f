import { Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { createBullmqSlots, queueStreams } from './bullmq-slots.ts'
import type { SlotQueue } from './slot-queue.ts'

export interface RedisSlotsOptions {
  readonly queueName: string
  /** `redis://` or `rediss://` */
  readonly url: string
  /** First part of every key. */
  readonly prefix: string
  readonly onError: (error: Error) => void
}

/** Slots in Redis. */
export function createRedisSlots({ queueName, url, prefix, onError }: RedisSlotsOptions): SlotQueue {
  // Commands wait while Redis is away; BullMQ demands it of connections that block.
  const connection = new Redis(url, { maxRetriesPerRequest: null })
  connection.on('error', onError)
  const queue = new Queue(queueName, { connection, prefix, streams: queueStreams })
  queue.on('error', onError)
  return createBullmqSlots({
    queue,
    createWorker: (process, options) => new Worker(queueName, process, { ...options, connection, prefix }),
    onError,
    async release() {
      connection.disconnect()
    },
  })
}

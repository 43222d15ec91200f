import { randomUUID } from 'node:crypto'
import { type Job, type Queue, WaitingError, type Worker } from 'bullmq'
import {
  type FillSlot,
  SLOT_JOB,
  type SlotEnd,
  type SlotQueue,
  type SlotSettings,
  type SlotWorker,
  slotJobOptions,
} from './slot-queue.ts'

/**
 * How often a slot may lose its worker before BullMQ fails it. A slot is never at fault for the death of a process.
 */
const MAX_STALLED_COUNT = 1_000_000
/**
 * Number of events that BullMQ keeps of the queue. Nothing here reads them; 0 would mean that all of them are kept.
 */
const KEPT_EVENTS = 100

/** Milliseconds after which a worker repeats a command that the store did not answer. */
const RETRY_MS = 1_000

/** The part of a queue of BullMQ that slots use, on Postgres and Redis alike. */
type BullQueue = Pick<Queue, 'add' | 'addBulk' | 'getJob' | 'getJobCounts' | 'close'>
interface BullWorker extends Pick<Worker, 'cancelJob' | 'pause' | 'resume' | 'close'> {
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'lockRenewalFailed', listener: (jobIds: string[]) => void): unknown
  on(event: 'active' | 'drained', listener: () => void): unknown
}

export interface BullmqSlotsDeps {
  readonly queue: BullQueue
  /** Builds the worker of BullMQ on the same store. */
  readonly createWorker: (
    process: (job: Job, token: string | undefined, signal: AbortSignal | undefined) => Promise<void>,
    options: BullWorkerOptions,
  ) => BullWorker
  /** Receives errors of connections and of finished jobs that BullMQ does not pass to anyone else. */
  readonly onError: (error: Error) => void
  /** Releases the connections, after the queue is closed. */
  readonly release: () => Promise<void>
}

export interface BullWorkerOptions {
  readonly concurrency: number
  readonly lockDuration: number
  readonly stalledInterval: number
  readonly maxStalledCount: number
  readonly runRetryDelay: number
  readonly removeOnComplete: { readonly count: number }
  readonly removeOnFail: { readonly count: number }
}

/** Events that are kept of the queue, for its constructor. */
export const queueStreams = { events: { maxLen: KEPT_EVENTS } } as const

/** Slots over BullMQ's public classes. */
export function createBullmqSlots({ queue, createWorker, onError, release }: BullmqSlotsDeps): SlotQueue {
  return {
    async add() {
      const jobId = randomUUID()
      await queue.add(SLOT_JOB, {}, { ...slotJobOptions, jobId })
      return jobId
    },
    async addMany(count) {
      const jobs = Array.from({ length: count }, () => ({
        name: SLOT_JOB,
        data: {},
        opts: { ...slotJobOptions, jobId: randomUUID() },
      }))
      await queue.addBulk(jobs)
    },
    async exists(jobId) {
      return (await queue.getJob(jobId)) !== undefined
    },
    async countWaiting() {
      const counts = await queue.getJobCounts('wait', 'delayed', 'prioritized')
      return Object.values(counts).reduce((sum, count) => sum + count, 0)
    },
    work: (fill, settings) => startWorker(fill, settings, { queue, createWorker, onError }),
    async close() {
      await queue.close()
      await release()
    },
  }
}

function startWorker(
  fill: FillSlot,
  settings: SlotSettings,
  { queue, createWorker, onError }: Omit<BullmqSlotsDeps, 'release'>,
): SlotWorker {
  let paused = false
  let isDrained = false
  /** By the id of the job of each slot that is held. */
  const locks = new Map<string, AbortController>()

  async function fillLocked(jobId: string, lost: AbortSignal): Promise<SlotEnd> {
    const lock = new AbortController()
    locks.set(jobId, lock)
    try {
      return await fill({ jobId, lost, unlocked: lock.signal })
    } finally {
      // A slot that was lost may have come back to this process meanwhile.
      if (locks.get(jobId) === lock) locks.delete(jobId)
    }
  }

  const worker = createWorker(
    // BullMQ gives a signal only to functions that declare three parameters.
    async (job, token, signal) => {
      const { id } = job
      if (id === undefined) return
      // A paused worker may still be given the slot that it was waiting for.
      const end = paused ? 'handed over' : await fillLocked(id, signal ?? new AbortController().signal)
      if (end === 'ended') return
      await job.moveToWait(token)
      throw new WaitingError()
    },
    {
      concurrency: settings.concurrency,
      lockDuration: settings.lockMs,
      stalledInterval: settings.stalledMs,
      maxStalledCount: MAX_STALLED_COUNT,
      runRetryDelay: RETRY_MS,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
    },
  )
  worker.on('error', onError)
  worker.on('active', () => {
    isDrained = false
  })
  worker.on('drained', () => {
    isDrained = true
  })
  // BullMQ itself continues a job whose lock it lost. A job that no longer exists can be given to no process else, so
  // the flow of a slot whose queue was emptied runs on; its owner is alive by its heartbeat.
  worker.on('lockRenewalFailed', (jobIds) => {
    for (const jobId of jobIds) {
      locks.get(jobId)?.abort()
      queue.getJob(jobId).then((job) => {
        if (job) worker.cancelJob(jobId, 'lock lost')
      }, onError)
    }
  })
  return {
    async pause() {
      paused = true
      await worker.pause(true)
    },
    async resume() {
      paused = false
      await worker.resume()
    },
    isDrained: () => isDrained,
    close: () => worker.close(),
  }
}

import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Slot, SlotEnd, SlotQueue, SlotWorker } from '../../src/engines/bullmq/slot-queue.ts'

export interface SlotQueueSuite {
  readonly name: string
  /** A handle on one queue, as a further process would have it. */
  open(): SlotQueue
  /** Makes every job of the queue disappear. */
  empty(): Promise<void>
}

const SETTINGS = { concurrency: 4, lockMs: 1_000, stalledMs: 300 }

/** The promises of `SlotQueue`, wherever the slots are stored. */
export function describeSlotQueue({ name, open, empty }: SlotQueueSuite): void {
  describe(`${name} as a queue of slots`, () => {
    const queues: SlotQueue[] = []
    const workers: SlotWorker[] = []
    const held: { readonly slot: Slot; readonly by: string; end(how: SlotEnd): void }[] = []
    let onHeld: () => void

    beforeEach(async () => {
      onHeld = () => {}
      held.length = 0
      await empty()
    })
    afterEach(async () => {
      for (const { end } of held) end('ended')
      await Promise.all(workers.splice(0).map((worker) => worker.close()))
      await Promise.all(queues.splice(0).map((queue) => queue.close()))
    })

    const openQueue = () => {
      const queue = open()
      queues.push(queue)
      return queue
    }
    const work = (by: string) => {
      const worker = openQueue().work(
        (slot) =>
          new Promise((end) => {
            held.push({ slot, by, end })
            onHeld()
          }),
        SETTINGS,
      )
      workers.push(worker)
      return worker
    }
    const untilHeld = async (count: number) => {
      while (held.length < count) {
        await new Promise<void>((resolve) => {
          onHeld = resolve
        })
      }
      const last = held.at(count - 1)
      if (!last) throw new Error(`Expected ${count} held slots.`)
      return last
    }
    const until = async (condition: () => Promise<boolean>) => {
      while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5))
    }

    test('a slot is given to one worker, under the id of its job', async () => {
      const queue = openQueue()
      work('a')
      work('b')
      const jobId = await queue.add()
      const { slot } = await untilHeld(1)
      expect(slot.jobId).toBe(jobId)
      expect(held).toHaveLength(1)
    })

    test('a slot that ended exists no more', async () => {
      const queue = openQueue()
      work('a')
      const jobId = await queue.add()
      const { end } = await untilHeld(1)
      expect(await queue.exists(jobId)).toBe(true)
      end('ended')
      await until(async () => !(await queue.exists(jobId)))
    })

    test('slots that wait are counted', async () => {
      const queue = openQueue()
      await queue.add()
      await queue.addMany(2)
      expect(await queue.countWaiting()).toBe(3)
    })

    test('a slot that is handed over is given to another worker while its own is paused', async () => {
      const queue = openQueue()
      const first = work('a')
      const jobId = await queue.add()
      const { end } = await untilHeld(1)
      await first.pause()
      work('b')
      end('handed over')
      const taken = await untilHeld(2)
      expect(taken.slot.jobId).toBe(jobId)
      expect(taken.by).toBe('b')
    })

    test('a resumed worker takes slots again', async () => {
      const queue = openQueue()
      const worker = work('a')
      await worker.pause()
      await worker.resume()
      await queue.add()
      expect((await untilHeld(1)).by).toBe('a')
    })

    test('the filling of a slot that failed is repeated', async () => {
      const queue = openQueue()
      let failures = 0
      workers.push(
        openQueue().work(async () => {
          failures++
          if (failures === 1) throw new Error('the database is away')
          return 'ended'
        }, SETTINGS),
      )
      const jobId = await queue.add()
      await until(async () => !(await queue.exists(jobId)))
      expect(failures).toBe(2)
    })

    test('a worker goes on with a slot whose queue was emptied, and takes later ones', async () => {
      const queue = openQueue()
      work('a')
      await queue.add()
      const { slot, end } = await untilHeld(1)
      await empty()
      const next = await queue.add()
      await untilHeld(2)
      expect(slot.lost.aborted).toBe(false)
      end('ended')
      held.at(1)?.end('ended')
      await until(async () => !(await queue.exists(next)))
    })
  })
}

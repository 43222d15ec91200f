import type { Clock } from '../../async/clock.ts'
import type { Slot, SlotEnd } from './slot-queue.ts'

export interface IdleSlotsDeps {
  readonly clock: Clock
  /** Number of slots that this process holds at most, idle ones included. */
  readonly concurrency: number
  /** Milliseconds for which a slot waits for the next flow; far below the time of its lock. */
  readonly idleMs: number
  /** Whether slots may wait. False while flows wait in the queue, or while this process takes none. */
  readonly mayWait: () => boolean
}

/**
 * What ended the waiting of a slot: a flow that it drives, that the flow was `refused`, that it is `unknown`
 * whether it was claimed, or that the slot must end (`over`).
 */
export type AfterIdle =
  | { readonly kind: 'flow'; readonly end: Promise<SlotEnd> }
  | { readonly kind: 'refused' }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'over' }

/** An idle slot for which a flow is being claimed. */
export interface TakenSlot {
  readonly slot: Slot
  /** Must be called once. */
  settle(after: AfterIdle): void
}

interface IdleSlot extends TakenSlot {
  readonly untilMs: number
  stopWaiting(): void
}

export interface IdleSlots {
  /** Counts a slot that BullMQ gave to this process. If no further one could be taken, the longest idle one ends. */
  hold(): void
  /** A slot is held no longer. */
  release(): void
  /** Lets a slot wait whose flow has ended. Resolves at once with `over` if it may not. */
  wait(slot: Slot): Promise<AfterIdle>
  /** Takes the slot that has waited the shortest; undefined without one, or if the queue must be used. */
  take(): TakenSlot | undefined
  /** Ends all idle slots. */
  endAll(): void
}

const OVER: AfterIdle = { kind: 'over' }

/**
 * Slots whose flow has ended and that wait for the next flow of this process, which then needs no job of its own. They
 * count for the concurrency of the process: at most half of it waits, and none while all of it is held, so that jobs of
 * the queue can always be taken.
 */
export function createIdleSlots({ clock, concurrency, idleMs, mayWait }: IdleSlotsDeps): IdleSlots {
  /** The one that has waited the longest first. */
  const idle: IdleSlot[] = []
  const mostIdle = Math.floor(concurrency / 2)
  let held = 0

  const isFull = () => held >= concurrency

  return {
    hold() {
      held++
      if (!isFull()) return
      const [oldest] = idle
      oldest?.stopWaiting()
      oldest?.settle(OVER)
    },
    release() {
      held--
    },
    async wait(slot) {
      if (!mayWait() || isFull() || idle.length >= mostIdle || slot.unlocked.aborted) return OVER
      return new Promise<AfterIdle>((resolve) => {
        const end = () => {
          waiting.stopWaiting()
          resolve(OVER)
        }
        const stopTimer = clock.startTimer(idleMs, end)
        slot.unlocked.addEventListener('abort', end, { once: true })
        const waiting: IdleSlot = {
          slot,
          untilMs: clock.now() + idleMs,
          settle: resolve,
          stopWaiting() {
            stopTimer()
            slot.unlocked.removeEventListener('abort', end)
            idle.splice(idle.indexOf(waiting), 1)
          },
        }
        idle.push(waiting)
      })
    },
    take() {
      const newest = idle.at(-1)
      // After its time the process stood still, and the lock may have run out.
      if (!newest || !mayWait() || clock.now() > newest.untilMs) return undefined
      newest.stopWaiting()
      return newest
    },
    endAll() {
      for (const waiting of [...idle]) {
        waiting.stopWaiting()
        waiting.settle(OVER)
      }
    },
  }
}

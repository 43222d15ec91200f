import type { Clock, StopTimer } from '../../async/clock.ts'
import type { OverdueFlow } from '../engine.ts'
import type { SlotQueue } from './slot-queue.ts'

/** The part of the queue of flows that the reconciler uses. Implemented by QueueRepository. */
export interface ReconciledFlows {
  /** Puts paused flows into the queue whose time to wake has come. */
  wakeDue(limit: number): Promise<readonly string[]>
  findQueued(olderThanMs: number, limit: number): Promise<readonly OverdueFlow[]>
}

export interface ReconcilerDeps {
  readonly clock: Clock
  readonly flows: ReconciledFlows
  readonly slots: Pick<SlotQueue, 'addMany' | 'countWaiting'>
  /** Definitions with functions that this process can run. */
  readonly registered: () => readonly string[]
  /** Whether this process may take slots; a process with a wrong clock repairs nothing either. */
  readonly isEnabled: () => boolean
  readonly onError: (error: unknown) => void
}

/**
 * Milliseconds between two passes, on average: each pass is up to half of it early or late, so that processes
 * alternate.
 */
const PASS_MS = 2_000
/** Queued flows that are younger have a slot on its way. */
const OVERDUE_MS = 2_000
/** Flows that one pass reads. */
const PASS_FLOWS = 1_000
/** As `PASS_MS`, while flows wait that this process can run. */
const OWN_PASS_MS = 500
/** Slots that one pass adds at most so that one of them reaches this process. */
const MAX_EXTRA_SLOTS = 16

export interface Reconciler {
  /** Runs a pass now. Passes of one process never overlap. */
  pass(): Promise<void>
  /** Runs a pass now that adds slots for flows which no process could run before. */
  recheck(): Promise<void>
  stop(): Promise<void>
}

/**
 * Makes the queue of slots agree with the table of active flows, which is the truth: every queued flow has a slot on
 * its way. Losing all slots costs a few seconds and no flow. Several processes may do so at the same time: a slot too
 * many finds no flow and ends.
 */
export function startReconciler({ clock, flows, slots, registered, isEnabled, onError }: ReconcilerDeps): Reconciler {
  let stopTimer: StopTimer = () => {}
  let stopped = false
  let running: Promise<void> | undefined
  let overdue: ReadonlySet<string> = new Set()
  /** Slots that the last pass added for flows which this process can run, and others cannot. */
  let extraSlots = 0

  async function reconcile(): Promise<void> {
    if (!isEnabled()) return
    const woken = await flows.wakeDue(PASS_FLOWS)
    const queued = await flows.findQueued(OVERDUE_MS, PASS_FLOWS)
    const missing = await countMissing(queued)
    const count = woken.length + missing
    if (count > 0) await slots.addMany(count)
  }

  /** Number of slots that overdue flows lack. */
  async function countMissing(queued: readonly OverdueFlow[]): Promise<number> {
    const before = overdue
    overdue = new Set(queued.map(({ flowId }) => flowId))
    const lastExtra = extraSlots
    extraSlots = 0
    if (queued.length === 0) return 0
    const missing = queued.length - (await slots.countWaiting())
    if (missing <= 0) return 0
    // If no flow left the queue since the last pass, the workers that were given slots found nothing that they may run.
    const stuck = before.size > 0 && [...before].every((flowId) => overdue.has(flowId))
    if (!stuck) return missing
    // Any worker may be given a slot, so that the flows which this process can run, and others cannot, need several.
    const own = registered()
    if (queued.some(({ requires }) => requires !== undefined && own.includes(requires))) {
      extraSlots = Math.min(Math.max(1, lastExtra * 2), MAX_EXTRA_SLOTS)
      return extraSlots
    }
    // The flows are of users at their limit, or need functions that no process has. One slot shows when that changes.
    return 1
  }

  const pass = () => {
    running ??= reconcile()
      .catch(onError)
      .finally(() => {
        running = undefined
      })
    return running
  }
  const schedule = () => {
    if (stopped) return
    const passMs = extraSlots > 0 ? OWN_PASS_MS : PASS_MS
    stopTimer = clock.startTimer(passMs * (0.5 + clock.random()), () => {
      pass().then(schedule, schedule)
    })
  }

  schedule()
  return {
    pass,
    recheck() {
      overdue = new Set()
      return pass()
    },
    async stop() {
      stopped = true
      stopTimer()
      await running
    },
  }
}

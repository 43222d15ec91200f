import { type Clock, wait } from '../../async/clock.ts'
import type { FlowStart } from '../../domain/execution/flow.ts'
import { notStartable } from '../../domain/execution/flow-errors.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Advance, Engine, EngineDeps, EngineHealth, FlowJob } from '../engine.ts'
import { type ClockGuard, type ClockState, startClockGuard } from './clock-guard.ts'
import { createIdleSlots, type TakenSlot } from './idle-slots.ts'
import { type Reconciler, startReconciler } from './reconciler.ts'
import type { Slot, SlotEnd, SlotQueue, SlotSettings, SlotWorker } from './slot-queue.ts'

export interface BullmqEngineDeps extends EngineDeps {
  readonly slots: SlotQueue
  readonly settings: SlotSettings
  /** Whether `flows.enqueue` adds the slot of the flow itself, in the transaction that marks the flow. */
  readonly enqueueAddsSlot: boolean
  /** Whether locks are checked by the clocks of the workers, which must then agree with that of the database. */
  readonly locksByWorkerClock: boolean
  readonly clock: Clock
  readonly logger?: EngineLog
}

/** Implemented by the configured logger. */
export interface EngineLog {
  warn(message: string, facts: Readonly<Record<string, unknown>>): void
  info(message: string, facts: Readonly<Record<string, unknown>>): void
}

const CLOCK_CHECK_MS = 60_000
/** Milliseconds between two attempts to compare the clock for the first time. */
const CLOCK_RETRY_MS = 1_000
const CLOCK_UNKNOWN = 'the clock could not be compared with that of the database yet'
/** Milliseconds that closing waits for slots which are being added. */
const ADD_AT_CLOSE_MS = 1_000
/** Milliseconds for which a slot waits for the next flow of its process. */
const IDLE_MS = 1_500
/** Part of the lock that an idle slot waits at most. It is renewed twice in that time, so it does not run out. */
const IDLE_SHARE = 1 / 4
/** Part of the lock by which the clock of a worker may differ from that of the database. */
const CLOCK_SHARE = 1 / 5

/**
 * Drives flows in any number of processes. A flow is queued in the table of active flows together with a slot in
 * BullMQ. The worker that is given a slot claims the flow that is next in fair order, drives it and gives the slot
 * back. A slot whose worker died or handed over is given to another worker, which continues the same flow under its
 * next epoch.
 */
export function createBullmqEngine(deps: BullmqEngineDeps): Engine {
  const { runs, flows, slots, ownerId, registered, limits, now, clock, logger } = deps
  const settings = {
    ...deps.settings,
    concurrency: Math.min(deps.settings.concurrency, limits.perProcess ?? Number.POSITIVE_INFINITY),
  }
  const allowedMs = settings.lockMs * CLOCK_SHARE
  let advance: Advance | undefined
  let draining: { readonly handOver: boolean } | undefined
  let closing: { readonly reason: unknown } | undefined
  let closed: Promise<void> | undefined
  let worker: SlotWorker | undefined
  let reconciler: Reconciler | undefined
  let guard: ClockGuard | undefined
  let taking: Promise<void> | undefined
  /** Only flows that are started in this process can use an idle slot. */
  let startsFlows = false

  const idle = createIdleSlots({
    clock,
    concurrency: settings.concurrency,
    idleMs: Math.min(IDLE_MS, settings.lockMs * IDLE_SHARE),
    // A limit per user is checked where flows leave the queue.
    mayWait: () =>
      startsFlows && limits.perUser === undefined && !draining && guard?.state().ok !== false && worker?.isDrained() === true,
  })

  const report = (error: unknown) =>
    logger?.warn('the queue of slots reported an error', { error: error instanceof Error ? error.message : String(error) })

  const ready = (flowId: string): Advance => {
    if (!advance) throw new OrchestratorError('INTERNAL', 'The engine was started before work() was called')
    if (closing) throw new OrchestratorError('FLOW_INTERRUPTED', 'The engine is closed', { details: { flowId } })
    return advance
  }

  /** Slots that are being added. */
  const adding = new Set<Promise<unknown>>()

  /** A slot that is lost with its store is replaced by the reconciler, so no caller waits for it. */
  function addSlot(): void {
    const added = slots.add().catch(report)
    adding.add(added)
    void added.then(() => adding.delete(added))
  }

  /** A store that does not answer must not keep the process. */
  async function untilAdded(): Promise<void> {
    const added = new AbortController()
    await Promise.race([Promise.all(adding), wait(clock, ADD_AT_CLOSE_MS, added.signal).catch(() => undefined)])
    added.abort()
  }

  async function fill(slot: Slot): Promise<SlotEnd> {
    idle.hold()
    try {
      return await driveNext(slot)
    } finally {
      idle.release()
    }
  }

  async function driveNext(slot: Slot): Promise<SlotEnd> {
    for (;;) {
      if (draining || !advance) return 'handed over'
      const next = await flows.claimNext({
        ownerId,
        startedAt: now(),
        registered: registered(),
        perUser: limits.perUser,
        jobId: slot.jobId,
      })
      if (!('flowId' in next)) return 'ended'
      const end = await drive(next, slot, advance)
      if (end !== 'ended' || slot.lost.aborted) return end
      // The end of a flow lets the next flow of its user run, whose own slot may have ended while the user was at the
      // limit.
      if (limits.perUser !== undefined) continue
      const last = await driveStarted(slot)
      if (last !== 'unknown') return last
    }
  }

  /**
   * Drives flows that this process starts, until none has been started for a while. `unknown`: the job may hold a flow,
   * because the answer to a claim was lost.
   */
  async function driveStarted(slot: Slot): Promise<SlotEnd | 'unknown'> {
    for (;;) {
      const after = await idle.wait(slot)
      if (after.kind === 'over') return 'ended'
      if (after.kind === 'unknown') return 'unknown'
      if (after.kind === 'refused') continue
      const end = await after.end
      if (end !== 'ended' || slot.lost.aborted) return end
    }
  }

  /** Claims a flow that is being started for the job of an idle slot, in one statement. */
  async function claimFor({ slot, settle }: TakenSlot, start: FlowStart, how: Advance): Promise<void> {
    const claimed = await flows.claim({ ...start, ownerId, jobId: slot.jobId }).catch((error: unknown) => {
      settle({ kind: 'unknown' })
      throw error
    })
    if ('epoch' in claimed) {
      settle({ kind: 'flow', end: drive({ flowId: start.flowId, epoch: claimed.epoch }, slot, how) })
      return
    }
    settle({ kind: 'refused' })
    throw notStartable(start.flowId, claimed)
  }

  const isRunnable = ({ requires }: FlowStart) => requires === undefined || registered().includes(requires)

  async function drive(job: FlowJob, slot: Slot, how: Advance): Promise<SlotEnd> {
    const interrupted = (message: string) =>
      new OrchestratorError('FLOW_INTERRUPTED', message, { details: { flowId: job.flowId } })
    // A slot that was taken from this process may come back to it, before the execution under the last epoch has ended.
    if (runs.driven().some(({ flowId }) => flowId === job.flowId)) {
      await runs.cancel(job.flowId, interrupted('The flow was claimed again'))
    }
    const stop = new AbortController()
    const lose = () => stop.abort(interrupted('Another process may have been given the flow: its lock was lost'))
    const ended = runs.drive(job, (claimed, cancellation) => {
      stop.signal.addEventListener('abort', () => cancellation.cancel(stop.signal.reason), { once: true })
      if (closing) cancellation.cancel(closing.reason)
      return how(claimed, cancellation)
    })
    if (slot.lost.aborted) lose()
    else slot.lost.addEventListener('abort', lose, { once: true })
    const end = await ended
    slot.lost.removeEventListener('abort', lose)
    if (slot.lost.aborted) {
      if (await flows.release(job)) addSlot()
      return 'ended'
    }
    // The repeated slot finds the same flow.
    if (end === 'unsettled' && !draining) {
      throw new OrchestratorError('DATABASE_UNAVAILABLE', 'The outcome of a flow could not be stored', {
        details: { flowId: job.flowId },
      })
    }
    // Only a flow that has not ended can be released.
    return draining?.handOver && (await flows.release(job)) ? 'handed over' : 'ended'
  }

  async function takeQueued(): Promise<void> {
    if (deps.locksByWorkerClock) {
      guard = await startClockGuard({
        clock,
        readOffsetMs: flows.clockOffsetMs,
        allowedMs,
        checkEveryMs: CLOCK_CHECK_MS,
        firstRetryMs: CLOCK_RETRY_MS,
        onChange({ ok, offsetMs }) {
          if (draining) return
          if (!ok) idle.endAll()
          if (ok) logger?.info('the clock agrees with that of the database: flows are taken', { offsetMs })
          else logger?.warn('the clock differs from that of the database: no flows are taken', { offsetMs, allowedMs })
          void (ok ? worker?.resume() : worker?.pause())?.catch(report)
        },
      })
    }
    if (draining) return guard?.stop()
    if (guard && guard.state().offsetMs === undefined) logger?.warn(`${CLOCK_UNKNOWN}: no flows are taken until then`, {})
    worker = slots.work(fill, settings)
    if (guard && !guard.state().ok) await worker.pause()
    reconciler = startReconciler({
      clock,
      flows,
      slots,
      registered,
      isEnabled: () => !draining && guard?.state().ok !== false,
      onError: report,
    })
  }

  function drain(handOver: boolean): void {
    draining = { handOver: handOver || draining?.handOver === true }
    idle.endAll()
    void worker?.pause().catch(report)
  }

  async function close(reason: unknown, handOver: boolean): Promise<void> {
    drain(handOver)
    closing = { reason }
    await taking?.catch(() => undefined)
    guard?.stop()
    await reconciler?.stop()
    await worker?.pause()
    await runs.cancelAll(reason)
    await worker?.close()
    await untilAdded()
    await slots.close()
  }

  function health(): EngineHealth {
    const problem = guard && clockProblem(guard.state())
    return { engine: 'bullmq', running: runs.countDriven(), ok: !closing, ...(problem !== undefined && { problem }) }
  }

  function clockProblem({ ok, offsetMs }: ClockState): string | undefined {
    if (ok) return undefined
    if (offsetMs === undefined) return CLOCK_UNKNOWN
    return `the clock differs from that of the database by ${Math.round(offsetMs)} ms, at most ${allowedMs} ms are allowed`
  }

  return {
    work(given) {
      advance = given
    },
    async start(start) {
      const how = ready(start.flowId)
      startsFlows = true
      const taken = isRunnable(start) ? idle.take() : undefined
      if (taken) {
        await claimFor(taken, start, how)
        return 'running'
      }
      const queued = await flows.enqueue(start)
      if (!('epoch' in queued)) throw notStartable(start.flowId, queued)
      if (!deps.enqueueAddsSlot) addSlot()
      return 'queued'
    },
    async takeQueued() {
      if (!deps.takesFlows) return
      taking ??= takeQueued()
      await taking
    },
    cancel: runs.cancel,
    async signal(flowId) {
      if (await flows.wake(flowId)) addSlot()
    },
    recheckQueue() {
      void reconciler?.recheck()
    },
    health: async () => health(),
    drain: ({ handOver }) => drain(handOver),
    close(reason, { handOver } = { handOver: false }) {
      closed ??= close(reason, handOver)
      return closed
    },
  }
}

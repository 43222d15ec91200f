import type { FlowStart } from '../domain/execution/flow.ts'
import { notStartable } from '../domain/execution/flow-errors.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { Advance, Engine, EngineDeps, FlowJob } from './engine.ts'

/** Other processes over the same database queue flows as well, and flows become due. */
const TAKE_INTERVAL_MS = 1_000
const MAX_WOKEN_AT_ONCE = 500

/**
 * Drives every started flow in this process: at once, or when the limits on running flows allow it. Without
 * limits no flow is queued, and nothing reads the queue on the way of a flow.
 */
export function createLocalEngine({ runs, flows, ownerId, registered, limits, takesFlows, now }: EngineDeps): Engine {
  const { perProcess = Number.POSITIVE_INFINITY, perUser } = limits
  const isLimited = limits.perProcess !== undefined || perUser !== undefined
  let advance: Advance | undefined
  let closed = false
  let isDraining = false
  let handsOver = false
  /** Flows that go back into the queue. */
  const releasing = new Set<Promise<boolean>>()
  /** Flows that are being claimed and will run. */
  let claiming = 0
  /** Whether the queue may hold a flow that this process can run. */
  let mayBeQueued = false
  let filling: Promise<void> | undefined
  let timer: NodeJS.Timeout | undefined

  /** From then on this process takes flows from the queue. Until then it must not, even if it is idle. */
  function startTaking(): void {
    if (timer || closed || !takesFlows) return
    const take = async () => {
      await flows.wakeDue(MAX_WOKEN_AT_ONCE)
      recheckQueue()
    }
    timer = setInterval(() => void take().catch(() => {}), TAKE_INTERVAL_MS)
    timer.unref()
  }

  const ready = (flowId: string): Advance => {
    if (!advance) throw new OrchestratorError('INTERNAL', 'The engine was started before work() was called')
    if (closed) throw new OrchestratorError('FLOW_INTERRUPTED', 'The engine is closed', { details: { flowId } })
    return advance
  }

  const isBelowLimit = () => !isLimited || runs.countDriven() + claiming < perProcess

  function drive(job: FlowJob, how: Advance): void {
    const ended = runs.drive(job, how)
    void ended.then(() => {
      // Only a flow that was interrupted can be released.
      if (handsOver) releasing.add(flows.release(job).catch(() => false))
      else if (perUser !== undefined) recheckQueue()
      else if (isLimited) void fill()
    })
  }

  async function claimAndDrive(start: FlowStart, how: Advance): Promise<void> {
    claiming++
    try {
      const claimed = await flows.claim({ ...start, ownerId })
      if (!('epoch' in claimed)) throw notStartable(start.flowId, claimed)
      drive({ flowId: start.flowId, epoch: claimed.epoch }, how)
    } finally {
      claiming--
    }
  }

  /** Takes flows from the queue while the limits allow it. Several calls at once share one pass. */
  function fill(): Promise<void> {
    filling ??= takeAll().finally(() => {
      filling = undefined
    })
    return filling
  }

  async function takeAll(): Promise<void> {
    while (advance && !isDraining && mayBeQueued && isBelowLimit()) {
      mayBeQueued = false
      claiming++
      try {
        const next = await flows.claimNext({ ownerId, startedAt: now(), registered: registered(), perUser })
        if (!('flowId' in next)) continue
        mayBeQueued = true
        if (isDraining) await flows.release(next)
        else drive(next, advance)
      } catch {
        // The queue is read again at the next interval, or at the end of the next flow.
        return
      } finally {
        claiming--
      }
    }
  }

  function recheckQueue(): void {
    if (!timer) return
    mayBeQueued = true
    void fill()
  }

  function drain(handOver: boolean): void {
    isDraining = true
    // Without limits no process may be taking flows from the queue: an interrupted flow is left to the recovery.
    handsOver ||= handOver && isLimited
    clearInterval(timer)
  }

  return {
    work(given) {
      advance = given
    },
    async start(start) {
      const how = ready(start.flowId)
      const mayRunAtOnce = !isLimited || (perUser === undefined && !mayBeQueued && isBelowLimit())
      if (takesFlows && mayRunAtOnce) {
        await claimAndDrive(start, how)
        return 'running'
      }
      const queued = await flows.enqueue(start)
      if (!('epoch' in queued)) throw notStartable(start.flowId, queued)
      startTaking()
      recheckQueue()
      return 'queued'
    },
    async takeQueued() {
      startTaking()
      recheckQueue()
    },
    cancel: runs.cancel,
    async signal(flowId) {
      if (!(await flows.wake(flowId))) return
      startTaking()
      recheckQueue()
    },
    recheckQueue,
    async health() {
      return { engine: 'local', running: runs.countDriven(), ok: !closed }
    },
    drain: ({ handOver }) => drain(handOver),
    async close(reason, options) {
      closed = true
      drain(options?.handOver ?? false)
      await filling
      await runs.cancelAll(reason)
      await Promise.all(releasing)
    },
  }
}

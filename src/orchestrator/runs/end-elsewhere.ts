import { callListener } from '../../async/call-listener.ts'
import { onAbort } from '../../async/on-abort.ts'
import { flowNotFound } from '../../domain/execution/flow-errors.ts'
import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import { SETTLED } from '../../domain/vocabulary.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Store } from '../../repositories/repository.ts'
import { joinSampleRows, toExecutionResult } from '../flows/flow-view.ts'
import { repeatRead } from '../repeat-read.ts'
import type { LiveUpdates } from '../updates/live-updates.ts'
import type { ExecutionEnd } from './flow-runner.ts'

const DEFAULT_POLL_MS = 100

export interface EndElsewhereDeps {
  readonly store: Store
  readonly live: Pick<LiveUpdates, 'stream'>
  /** Milliseconds between polls of the database; default 100. */
  readonly pollMs?: number
}

export interface AwaitEndOptions {
  /** The newest update that the caller knows. */
  readonly afterSeq: number
  readonly onUpdate?: (update: FlowUpdate) => unknown
  /** Stops the waiting; the promise then never settles. */
  readonly signal: AbortSignal
}

/** An execution that has ended in this process with FLOW_INTERRUPTED. */
export interface Interruption {
  readonly error: OrchestratorError
  readonly epoch: number
  /** Whether the flow is put back into the queue, if no other process has it yet. */
  readonly isRequeued: boolean
}

/** Waits for the end of flows that other processes drive, or that are queued or paused. */
export interface EndElsewhere {
  /** Resolves with the stored outcome when the flow is settled, after every update was passed on. */
  wait(flowId: string, options: AwaitEndOptions): Promise<ExecutionEnd>
  /**
   * Waits for the end of a flow whose execution was interrupted. Resolves at once with its error if no other process
   * has the flow or will get it, and while this process closes.
   */
  waitAfter(interruption: Interruption, flowId: string, options: AwaitEndOptions): Promise<ExecutionEnd>
  /** From now on `waitAfter` does not wait. */
  beginClosing(): void
  /** Something has ended the flow: it is read now instead of at the next poll. */
  check(flowId: string): void
  /** Ends all waiting with the error; the flows continue. */
  close(error: OrchestratorError): void
}

export function createEndElsewhere({ store, live, pollMs = DEFAULT_POLL_MS }: EndElsewhereDeps): EndElsewhere {
  const closing = new AbortController()
  const waiting = new Map<string, Set<() => void>>()
  let timer: NodeJS.Timeout | undefined
  let isClosing = false

  /** One statement for all flows that are awaited. */
  async function poll(flowIds: readonly string[]): Promise<void> {
    // An unreachable database is queried again at the next poll.
    const heads = await store.updates.heads(flowIds).catch(() => undefined)
    for (const flowId of heads ? flowIds : []) {
      const status = heads?.get(flowId)?.status
      if (status !== undefined && !SETTLED.includes(status)) continue
      for (const settle of waiting.get(flowId) ?? []) settle()
      waiting.delete(flowId)
    }
  }

  const pollSoon = () => {
    if (waiting.size === 0) return
    timer ??= setTimeout(() => {
      // Most flows that are started here are driven here, so that none is awaited any more.
      const polled = waiting.size === 0 ? Promise.resolve() : poll([...waiting.keys()])
      void polled.then(() => {
        timer = undefined
        pollSoon()
      })
    }, pollMs)
  }

  /** Resolves also when the waiting is stopped. */
  function untilSettled(flowId: string, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const settlers = waiting.get(flowId) ?? new Set()
      settlers.add(resolve)
      waiting.set(flowId, settlers)
      onAbort(signal, () => {
        settlers.delete(resolve)
        if (settlers.size === 0 && waiting.get(flowId) === settlers) waiting.delete(flowId)
        resolve()
      })
      pollSoon()
    })
  }

  /** Passes on every update once, also when the database does not answer for a while. */
  async function passOn(flowId: string, { afterSeq, onUpdate }: AwaitEndOptions, signal: AbortSignal): Promise<void> {
    const isSettled = async () => {
      const flow = await store.flows.find(flowId)
      return flow === undefined || SETTLED.includes(flow.status)
    }
    let seq = afterSeq
    await repeatRead(async () => {
      if (signal.aborted) return
      for await (const update of live.stream(flowId, { afterSeq: seq, signal, isSettled })) {
        seq = update.seq
        callListener(() => onUpdate?.(update))
      }
    }, [])
  }

  async function readEnd(flowId: string): Promise<ExecutionEnd> {
    const flow = await store.flows.find(flowId)
    if (!flow) return { error: flowNotFound(flowId) }
    const result = toExecutionResult(flow, joinSampleRows(await store.flows.stepResults(flowId, { samples: true })))
    if (result) return { result }
    const { code = 'INTERNAL', message = `Flow "${flowId}" ended without a result`, details, retryable } = flow.error ?? {}
    return { error: new OrchestratorError(code, message, { details, retryable }) }
  }

  const closed = (flowId: string): ExecutionEnd => ({ error: OrchestratorError.from(closing.signal.reason).with({ flowId }) })

  async function wait(flowId: string, options: AwaitEndOptions): Promise<ExecutionEnd> {
    const stop = new AbortController()
    const unlink = [options.signal, closing.signal].map((signal) => {
      if (signal.aborted) stop.abort()
      return onAbort(signal, () => stop.abort())
    })
    try {
      if (!stop.signal.aborted)
        await (options.onUpdate ? passOn(flowId, options, stop.signal) : untilSettled(flowId, stop.signal))
      if (closing.signal.aborted) return closed(flowId)
      if (options.signal.aborted) return new Promise(() => {})
      return await repeatRead(async () => (closing.signal.aborted ? closed(flowId) : readEnd(flowId)), [])
    } finally {
      for (const remove of unlink) remove()
    }
  }

  /** Whether the flow has another epoch than the one under which this process had it. */
  const isTaken = (flowId: string, epoch: number) =>
    repeatRead(async () => !isClosing && (await store.flows.find(flowId))?.ownerEpoch !== epoch, [])

  return {
    wait,
    async waitAfter({ error, epoch, isRequeued }, flowId, options) {
      if (isClosing || !(isRequeued || (await isTaken(flowId, epoch)))) return { error }
      return wait(flowId, options)
    },
    beginClosing() {
      isClosing = true
    },
    check(flowId) {
      if (waiting.has(flowId)) void poll([flowId])
    },
    close(error) {
      isClosing = true
      closing.abort(error)
      clearTimeout(timer)
    },
  }
}

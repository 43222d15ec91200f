import { callListener } from '../../async/call-listener.ts'
import type { CancellationToken } from '../../async/cancellation-token.ts'
import { FINAL_UPDATES, type FlowUpdate, type FlowUpdateData, type FlowUpdateType } from '../../domain/execution/flow-update.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { Message } from '../../domain/users/thread.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { FlowOutcome, Journal, StoredUpdate } from '../../repositories/repository.ts'

const FLUSH_AFTER_MS = 50
const FLUSH_AT_BYTES = 4_096
const REWRITE_EVERY_MS = 5_000

export interface FlowLogOptions {
  readonly flowId: string
  readonly epoch: number
  /** Number of the newest stored update. */
  readonly lastSeq: number
  readonly onUpdate?: (update: FlowUpdate) => unknown
  /** Ended with the error when the database refuses a write: the flow must stop. */
  readonly stop: CancellationToken
}

export interface UpdateLogDeps {
  readonly journal: Journal
  readonly now: () => Date
  /** Told of updates that became durable, in order. */
  readonly onStored: (flowId: string, updates: readonly FlowUpdate[]) => void
  /** Milliseconds between two tries to write an end that the database could not take; default 5,000. */
  readonly rewriteMs?: number
}

/** What all logs of a process share. */
interface SharedPorts extends UpdateLogDeps {
  readonly flushSoon: (log: FlowLog) => void
  /** Writes the end of a flow when the database is back: no flow may stay RUNNING that nobody runs. A later end of the same flow takes its place. */
  readonly writeLater: (flowId: string, write: () => Promise<void>) => void
}

/** Numbers, stores and hands out the updates of one running flow. One stands beside every flow that waits: a class, so that its functions are shared. */
export class FlowLog {
  readonly #deps: SharedPorts
  readonly #options: FlowLogOptions
  #seq: number
  #bytes = 0
  #pending: FlowUpdate[] = []
  #durable: Promise<void> | undefined

  constructor(deps: SharedPorts, options: FlowLogOptions) {
    this.#deps = deps
    this.#options = options
    this.#seq = options.lastSeq
  }

  /** Numbers the update, tells `onUpdate` at once, and stores it within 50 ms or 4 KB, unless only those who listen now are to have it. */
  emit<Type extends FlowUpdateType>(
    type: Type,
    data: FlowUpdateData[Type],
    stepId?: string,
    iteration?: number,
    isStored = true,
  ): void {
    const { flowId, onUpdate } = this.#options
    // The union of update types is closed over by `type`, which the compiler cannot follow through a generic.
    const update = { seq: ++this.#seq, flowId, type, stepId, iteration, data, timestamp: this.#deps.now() } as FlowUpdate
    if (isStored) this.#pending.push(update)
    if (onUpdate) callListener(() => onUpdate(update))
    if (!isStored) return
    this.#bytes += update.type === 'step_progress' ? update.data.delta.length + 20 : 100
    if (this.#bytes >= FLUSH_AT_BYTES) this.flush()
    else if (this.#pending.length === 1) this.#deps.flushSoon(this)
  }

  /** Stores results and the messages made of them in one write, with the updates that wait, at once; see `durable`. */
  record(results: readonly StepResult[], messages?: readonly Message[]): void {
    this.#append(results, messages)
  }

  /** The write under way; resolves when everything recorded so far is durable. Absent: nothing waits. */
  get durable(): Promise<void> | undefined {
    return this.#durable
  }

  /** Stores the updates that wait. */
  flush(): void {
    if (this.#pending.length > 0) this.#append(undefined)
  }

  /** Stores the outcome with the last updates. After it nothing more may be logged. */
  async finish(outcome: FlowOutcome): Promise<void> {
    const { flowId, epoch } = this.#options
    const updates = this.#take()
    const write = async () => {
      await this.#deps.journal.finish({ flowId, epoch, outcome, updates: updates.map(toStoredUpdate) })
      this.#deps.onStored(flowId, updates)
    }
    try {
      await write()
    } catch (error) {
      if (OrchestratorError.is(error) && error.code === 'DATABASE_UNAVAILABLE') this.#deps.writeLater(flowId, write)
      throw error
    }
  }

  /** Drops what waits: the flow belongs to another owner. */
  discard(): void {
    this.#take()
  }

  #take(): readonly FlowUpdate[] {
    const updates = this.#pending
    this.#pending = []
    this.#bytes = 0
    return updates
  }

  #append(results: readonly StepResult[] | undefined, messages?: readonly Message[]): void {
    const { flowId, epoch, stop } = this.#options
    const updates = this.#take()
    const write = this.#deps.journal.append({ flowId, epoch, results, messages, updates: updates.map(toStoredUpdate) })
    const settled: Promise<void> = write.then(
      () => {
        if (this.#durable === settled) this.#durable = undefined
        if (updates.length > 0) this.#deps.onStored(flowId, updates)
      },
      (error: unknown) => {
        if (this.#durable === settled) this.#durable = undefined
        stop.cancel(error)
      },
    )
    this.#durable = settled
  }
}

/** Opens logs; one per process: all flows share one timer. */
export function createUpdateLog(deps: UpdateLogDeps) {
  const waiting = new Set<FlowLog>()
  let timer: NodeJS.Timeout | undefined

  const flushAll = () => {
    timer = undefined
    const logs = [...waiting]
    waiting.clear()
    for (const log of logs) log.flush()
  }
  const unwritten = new Map<string, () => Promise<void>>()
  let rewriting: NodeJS.Timeout | undefined

  const rewrite = async () => {
    for (const [flowId, write] of unwritten) {
      try {
        await write()
      } catch (error) {
        if (OrchestratorError.is(error) && error.code === 'DATABASE_UNAVAILABLE') continue
      }
      if (unwritten.get(flowId) === write) unwritten.delete(flowId)
    }
    rewriting = unwritten.size > 0 ? startRewriting() : undefined
  }
  const startRewriting = () => setTimeout(() => void rewrite(), deps.rewriteMs ?? REWRITE_EVERY_MS).unref()

  const shared: SharedPorts = {
    ...deps,
    writeLater: (flowId, write) => {
      unwritten.set(flowId, write)
      rewriting ??= startRewriting()
    },
    flushSoon: (log: FlowLog) => {
      waiting.add(log)
      timer ??= setTimeout(flushAll, FLUSH_AFTER_MS)
    },
  }
  const stop = () => {
    clearTimeout(timer)
    clearTimeout(rewriting)
  }
  return { open: (options: FlowLogOptions) => new FlowLog(shared, options), close: stop }
}

export type UpdateLog = ReturnType<typeof createUpdateLog>

/** What a result or the flow's outcome already holds is not stored a second time. */
function toStoredUpdate(update: FlowUpdate): StoredUpdate {
  const { seq, type, stepId, iteration, timestamp } = update
  const isKept = type === 'flow_complete' || (type === 'step_complete' && update.data.status === 'SUCCESS')
  if (isKept) return { seq, type, stepId, iteration, timestamp }
  // The result itself holds the reasoning, where it is kept at all.
  const data = type === 'step_complete' ? { ...update.data, reasoning: undefined } : update.data
  return { seq, type, stepId, iteration, data, timestamp }
}

export const isFinal = (update: FlowUpdate): boolean => FINAL_UPDATES.has(update.type)

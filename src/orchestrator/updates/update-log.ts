import { callListener } from '../../async/call-listener.ts'
import type { CancellationToken } from '../../async/cancellation-token.ts'
import type { CallIntent } from '../../domain/execution/call-intent.ts'
import { FINAL_UPDATES, type FlowUpdate, type FlowUpdateData, type FlowUpdateType } from '../../domain/execution/flow-update.ts'
import { stepIdOf } from '../../domain/execution/step-path.ts'
import { isSameResult, type StepResult } from '../../domain/execution/step-result.ts'
import { settles } from '../../domain/tools/turns.ts'
import type { StepWait } from '../../domain/waiting/wait.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { FlowOutcome, Journal, JournalEntry, StoredUpdate } from '../../repositories/repository.ts'

const FLUSH_AFTER_MS = 50
const FLUSH_AT_BYTES = 4_096
/** Rows with text chunks from which it pays to join them after the end of the flow. */
const COMPACTED_ROWS = 4
const NO_INTENTS: readonly CallIntent[] = []

export interface FlowLogOptions {
  readonly flowId: string
  readonly epoch: number
  /** Sequence number of the newest stored update. */
  readonly lastSeq: number
  readonly onUpdate?: (update: FlowUpdate) => unknown
  /** Cancelled with the error if the database refuses a write, because the flow must then end. */
  readonly cancellation: CancellationToken
}

export interface UpdateLogDeps {
  readonly journal: Journal
  readonly now: () => Date
  /** Called with updates that became durable, in order. Implemented by LiveUpdates.publish. */
  readonly onStored: (flowId: string, updates: readonly FlowUpdate[]) => void
  /** Called after the end of a flow whose text was stored in several rows. Implemented by Compaction.add. */
  readonly onStreamedFlowEnd: (flowId: string) => void
}

/** What is stored in one write with results. */
export type RecordedWith = Pick<JournalEntry, 'messages' | 'intents' | 'turns' | 'closedTurns'>

/** Collaborators that all logs of a process share. */
interface FlowLogDeps extends UpdateLogDeps {
  /** Flushes the log within 50 ms. */
  readonly flushSoon: (log: FlowLog) => void
}

/**
 * Numbers, stores and publishes the updates of one running flow. It is a class so that its functions are shared: every
 * waiting flow has one.
 */
export class FlowLog {
  readonly #deps: FlowLogDeps
  readonly #options: FlowLogOptions
  #seq: number
  #storedSeq: number
  /** Number of the first update that `onUpdate` gets only when it is stored. */
  #withheldFrom = Number.POSITIVE_INFINITY
  #isReleased = false
  #bytes = 0
  /** Rows with text chunks. */
  #textRows = 0
  #pending: FlowUpdate[] = []
  #intents: readonly CallIntent[] = NO_INTENTS
  #durable: Promise<void> | undefined

  constructor(deps: FlowLogDeps, options: FlowLogOptions) {
    this.#deps = deps
    this.#options = options
    this.#seq = options.lastSeq
    this.#storedSeq = options.lastSeq
  }

  /**
   * Numbers the update, calls `onUpdate` at once, and stores it within 50 ms or 4 KB. Without `isStored` only
   * `onUpdate` receives it. Of an interrupted execution `onUpdate` gets stored updates only: the process that continues
   * the flow gives the numbers of others again.
   */
  emit<Type extends FlowUpdateType>(
    type: Type,
    data: FlowUpdateData[Type],
    path?: string,
    iteration?: number,
    isStored = true,
  ): void {
    const { flowId, onUpdate, cancellation } = this.#options
    const isInterrupted = OrchestratorError.is(cancellation.reason) && cancellation.reason.code === 'FLOW_INTERRUPTED'
    const stepId = path === undefined ? undefined : stepIdOf(path)
    // `type` determines the member of the union, which the compiler cannot derive through a generic.
    const update = { seq: ++this.#seq, flowId, type, stepId, path, iteration, data, timestamp: this.#deps.now() } as FlowUpdate
    if (isStored) this.#pending.push(update)
    if (isInterrupted) this.#withheldFrom = Math.min(this.#withheldFrom, update.seq)
    else if (onUpdate) callListener(() => onUpdate(update))
    if (!isStored) return
    this.#bytes += update.type === 'step_progress' ? update.data.delta.length + 20 : 100
    if (this.#bytes >= FLUSH_AT_BYTES) this.flush()
    else if (this.#pending.length === 1) this.#deps.flushSoon(this)
  }

  /**
   * Stores results at once, with what belongs to them, in one write with the pending updates and intents; see
   * `durable`. The intents of these results, and of the attempts of these turns, that are not stored yet are dropped.
   */
  record(results: readonly StepResult[], { messages, intents = NO_INTENTS, turns, closedTurns }: RecordedWith = {}): void {
    if (this.#intents.length > 0) {
      this.#intents = this.#intents.filter(
        (intent) => !results.some((result) => isSameResult(intent, result)) && !turns?.some((turn) => settles(turn, intent)),
      )
    }
    if (intents.length > 0) this.#intents = [...this.#intents, ...intents]
    this.#append({ results: results.length > 0 ? results : undefined, messages, turns, closedTurns })
  }

  /** Stores the intent of a call with the next write, within 50 ms. */
  intend(intent: CallIntent): void {
    this.#intents = [...this.#intents, intent]
    if (this.#pending.length === 0) this.#deps.flushSoon(this)
  }

  /** Resolves when everything recorded so far is durable; `undefined` if no write is pending. */
  get durable(): Promise<void> | undefined {
    return this.#durable
  }

  /** Stores the pending updates and intents. */
  flush(): void {
    if (this.#pending.length > 0 || this.#intents.length > 0) this.#append({})
  }

  /** Stores waits at once, so that users can decide about them while the flow still runs. */
  recordWaits(waits: readonly StepWait[]): void {
    this.#append({ waits })
  }

  /** Number of the newest update. */
  get lastSeq(): number {
    return this.#seq
  }

  /** Number of the newest update that is stored. After `release` it stays: `onUpdate` has got those up to it. */
  get storedSeq(): number {
    return this.#storedSeq
  }

  /**
   * Stores the outcome with the last updates, and the waits of a paused flow; it waits while the
   * database does not answer. Must be the last call.
   */
  async finish(outcome: FlowOutcome, more: Pick<JournalEntry, 'waits' | 'closedTurns'> = {}): Promise<void> {
    const { flowId, epoch } = this.#options
    const updates = this.#takePending()
    await this.#deps.journal.finish({ flowId, epoch, outcome, updates: updates.map(toStoredUpdate), ...more })
    this.#deps.onStored(flowId, updates)
    if (this.#textRows >= COMPACTED_ROWS) this.#deps.onStreamedFlowEnd(flowId)
  }

  /**
   * Ends the log of an interrupted execution. Pending updates are stored, unless the flow belongs to another owner
   * already. `onUpdate` is not called any more.
   */
  async release(): Promise<void> {
    this.flush()
    await this.#durable
    this.#isReleased = true
  }

  /** Updates that are stored after `release` are read from the database by the caller that keeps waiting. */
  #passStored(updates: readonly FlowUpdate[]): void {
    const { onUpdate } = this.#options
    if (this.#isReleased) return
    this.#storedSeq = updates.at(-1)?.seq ?? this.#storedSeq
    for (const update of updates) if (onUpdate && update.seq >= this.#withheldFrom) callListener(() => onUpdate(update))
  }

  #takePending(): readonly FlowUpdate[] {
    const updates = this.#pending
    this.#pending = []
    this.#bytes = 0
    if (updates.at(-1)?.type === 'step_progress') this.#textRows++
    return updates
  }

  #append(parts: Pick<JournalEntry, 'results' | 'messages' | 'waits' | 'turns' | 'closedTurns'>): void {
    const { flowId, epoch, cancellation } = this.#options
    const updates = this.#takePending()
    const intents = this.#intents.length > 0 ? this.#intents : undefined
    this.#intents = NO_INTENTS
    const { results, messages, waits, turns, closedTurns } = parts
    const stored = updates.map(toStoredUpdate)
    const entry = { flowId, epoch, results, messages, intents, waits, turns, closedTurns, updates: stored }
    const write = this.#deps.journal.append(entry)
    const settled: Promise<void> = write.then(
      () => {
        if (this.#durable === settled) this.#durable = undefined
        this.#passStored(updates)
        if (updates.length > 0) this.#deps.onStored(flowId, updates)
      },
      (error: unknown) => {
        if (this.#durable === settled) this.#durable = undefined
        cancellation.cancel(error)
      },
    )
    this.#durable = settled
  }
}

/** Opens the logs of flows. One per process, because all flows share its timers. */
export function createUpdateLog(deps: UpdateLogDeps) {
  const waiting = new Set<FlowLog>()
  let timer: NodeJS.Timeout | undefined

  const flushAll = () => {
    timer = undefined
    const logs = [...waiting]
    waiting.clear()
    for (const log of logs) log.flush()
  }

  const shared: FlowLogDeps = {
    ...deps,
    flushSoon: (log: FlowLog) => {
      waiting.add(log)
      timer ??= setTimeout(flushAll, FLUSH_AFTER_MS)
    },
  }
  return { open: (options: FlowLogOptions) => new FlowLog(shared, options), close: () => clearTimeout(timer) }
}

export type UpdateLog = ReturnType<typeof createUpdateLog>

/** Data that a result or the flow's outcome already stores is omitted. */
export function toStoredUpdate(update: FlowUpdate): StoredUpdate {
  const { seq, type, path, iteration, timestamp } = update
  const isStoredElsewhere = type === 'flow_complete' || (type === 'step_complete' && update.data.status === 'SUCCESS')
  if (isStoredElsewhere) return { seq, type, path, iteration, timestamp }
  // Reasoning is stored with the result, where the step keeps it.
  const data = type === 'step_complete' ? { ...update.data, reasoning: undefined } : update.data
  return { seq, type, path, iteration, data, timestamp }
}

/** Whether no update comes after this one. */
export const isFinal = (update: FlowUpdate): boolean => FINAL_UPDATES.has(update.type)

import { FINAL_UPDATES, type FlowUpdate, type FlowUpdateData, type FlowUpdateType } from '../domain/flow-update.ts'
import type { StepResult } from '../domain/step-result.ts'
import type { FlowOutcome, Journal, StoredUpdate } from '../repositories/repository.ts'

const FLUSH_AFTER_MS = 50
const FLUSH_AT_BYTES = 4_096

/** Numbers, stores and hands out the updates of one running flow. */
export interface FlowLog {
  /** Numbers the update, tells `onUpdate` at once, and stores it within 50 ms or 4 KB. */
  emit<Type extends FlowUpdateType>(type: Type, data: FlowUpdateData[Type], stepId?: string, iteration?: number): void
  /** Stores a result, with the updates that wait, at once; see `durable`. */
  record(results: readonly StepResult[]): void
  /** The write under way; resolves when everything recorded so far is durable. Absent: nothing waits. */
  readonly durable: Promise<void> | undefined
  /** Stores the outcome with the last updates. After it the log is closed. */
  finish(outcome: FlowOutcome): Promise<void>
  /** Drops what waits: the flow belongs to another owner. */
  discard(): void
}

export interface FlowLogOptions {
  readonly flowId: string
  readonly epoch: number
  /** Number of the newest stored update. */
  readonly lastSeq: number
  readonly onUpdate?: (update: FlowUpdate) => unknown
  /** Told when the database refuses a write: the flow must stop. */
  readonly onRefused: (error: unknown) => void
  /** Told of updates that became durable, in order. */
  readonly onStored?: (updates: readonly FlowUpdate[]) => void
}

export interface UpdateLogPorts {
  readonly journal: Journal
  readonly now: () => Date
}

/** One per process: all flows share one timer. */
export function createUpdateLog({ journal, now }: UpdateLogPorts) {
  const waiting = new Set<() => void>()
  let timer: NodeJS.Timeout | undefined

  const flushAll = () => {
    timer = undefined
    const flushes = [...waiting]
    waiting.clear()
    for (const flush of flushes) flush()
  }
  const flushSoon = (flush: () => void) => {
    waiting.add(flush)
    timer ??= setTimeout(flushAll, FLUSH_AFTER_MS)
  }

  function open(options: FlowLogOptions): FlowLog {
    const { flowId, epoch, onUpdate, onStored } = options
    let seq = options.lastSeq
    let bytes = 0
    let pending: FlowUpdate[] = []
    let durable: Promise<void> | undefined

    const take = () => {
      const updates = pending
      pending = []
      bytes = 0
      waiting.delete(flush)
      return updates
    }
    const watch = (write: Promise<void>, updates: readonly FlowUpdate[]): Promise<void> => {
      const watched = write.then(
        () => {
          if (durable === watched) durable = undefined
          if (updates.length > 0) onStored?.(updates)
        },
        (error: unknown) => {
          if (durable === watched) durable = undefined
          options.onRefused(error)
        },
      )
      durable = watched
      return watched
    }
    const append = (results?: readonly StepResult[]) => {
      const updates = take()
      void watch(journal.append({ flowId, epoch, results, updates: updates.map(toStoredUpdate) }), updates)
    }
    const flush = () => {
      if (pending.length > 0) append()
    }

    return {
      emit(type, data, stepId, iteration) {
        // The union of update types is closed over by `type`, which the compiler cannot follow through a generic.
        const update = { seq: ++seq, flowId, type, stepId, iteration, data, timestamp: now() } as FlowUpdate
        pending.push(update)
        if (onUpdate) tell(onUpdate, update)
        bytes += update.type === 'step_progress' ? update.data.delta.length + 20 : 100
        if (bytes >= FLUSH_AT_BYTES) append()
        else if (pending.length === 1) flushSoon(flush)
      },
      record: append,
      get durable() {
        return durable
      },
      async finish(outcome) {
        const updates = take()
        await journal.finish({ flowId, epoch, outcome, updates: updates.map(toStoredUpdate) })
        onStored?.(updates)
      },
      discard() {
        take()
      },
    }
  }

  return { open, close: () => clearTimeout(timer) }
}

export type UpdateLog = ReturnType<typeof createUpdateLog>

/** What a result or the flow's outcome already holds is not stored a second time. */
function toStoredUpdate(update: FlowUpdate): StoredUpdate {
  const { seq, type, stepId, iteration, timestamp } = update
  const isKept = type === 'flow_complete' || (type === 'step_complete' && update.data.status === 'SUCCESS')
  return isKept ? { seq, type, stepId, iteration, timestamp } : { seq, type, stepId, iteration, data: update.data, timestamp }
}

export const isFinal = (update: FlowUpdate): boolean => FINAL_UPDATES.has(update.type)

// A listener is the caller's code: whatever it does, the flow goes on.
function tell(listener: (update: FlowUpdate) => unknown, update: FlowUpdate): void {
  try {
    const outcome = listener(update)
    if (outcome instanceof Promise) outcome.catch(() => {})
  } catch {}
}

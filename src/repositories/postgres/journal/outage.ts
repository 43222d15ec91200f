import type { Operation } from './journal-batch.ts'

export interface OutageOptions {
  /** Milliseconds after which creations and claims fail, for which callers wait. With 0 nothing is kept. */
  readonly retryForMs: number
  /** Bytes of waiting entries above which further ones are refused. */
  readonly maxKeptBytes: number
  /** Called once per outage when an entry is refused. */
  readonly onOverflow?: (keptBytes: number) => void
}

/** Milliseconds for which a closing process still repeats its writes. It must end before an orchestrator kills it. */
const CLOSE_PATIENCE_MS = 10_000

export type Outage = ReturnType<typeof createOutage>

/**
 * Decides how long a write waits for a database that does not answer. Creations and claims have a caller who waits, so
 * they fail after `retryForMs`. Entries of running flows are kept until the process closes: their answers are paid for.
 */
export function createOutage({ retryForMs, maxKeptBytes, onOverflow }: OutageOptions) {
  /** Sizes are computed only during an outage, because measuring an entry costs as much as writing it. */
  const sizes = new WeakMap<Operation, number>()
  let since: number | undefined
  let closingSince: number | undefined
  let keptBytes = 0
  let isReported = false

  const sizeOf = (operation: Operation): number => {
    if (operation.kind !== 'entry') return 0
    const known = sizes.get(operation)
    if (known !== undefined) return known
    const { results, updates, messages } = operation.entry
    const size = sizeOfJson({ results, updates, messages })
    sizes.set(operation, size)
    return size
  }

  return {
    /** Called at every failed attempt, with the writes that wait. */
    failed(queue: readonly Operation[]): void {
      if (since !== undefined) return
      since = performance.now()
      isReported = false
      keptBytes = queue.reduce((sum, operation) => sum + sizeOf(operation), 0)
    },
    /** Called at every successful attempt. */
    ended(): void {
      since = undefined
    },
    /** Whether the write may wait. An outcome with an error always may: the flow would stay RUNNING without it. */
    accepts(operation: Operation): boolean {
      if (since === undefined || operation.kind !== 'entry' || operation.outcome?.error) return true
      const size = sizeOf(operation)
      if (keptBytes + size <= maxKeptBytes) {
        keptBytes += size
        return true
      }
      if (!isReported) onOverflow?.(keptBytes)
      isReported = true
      return false
    },
    /** Whether the write has waited long enough and must be rejected. */
    isOver(operation: Operation): boolean {
      const now = performance.now()
      if (closingSince !== undefined && now - closingSince >= Math.min(retryForMs, CLOSE_PATIENCE_MS)) return true
      if (operation.kind === 'entry' && retryForMs > 0) return false
      return since !== undefined && now - since >= retryForMs
    },
    /** From now on every write waits for at most 10 seconds. */
    expectClose(): void {
      closingSince ??= performance.now()
    },
  }
}

/** A value that cannot be expressed as JSON is refused when it is written. */
function sizeOfJson(value: object): number {
  try {
    return JSON.stringify(value).length
  } catch {
    return 0
  }
}

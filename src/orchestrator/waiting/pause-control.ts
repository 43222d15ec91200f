import type { CancellationToken } from '../../async/cancellation-token.ts'
import { untilCancelled } from '../../async/until-cancelled.ts'
import { type StepWait, type StoredWait, waitKey } from '../../domain/waiting/wait.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

interface OpenWait {
  readonly wait: StepWait
  isStored: boolean
  readonly resolve: (ended: StoredWait) => void
}

/** What earlier executions did, as far as pauses are concerned. */
export interface FlowCourse {
  /** Whether the last execution paused the flow. */
  readonly wasPaused: boolean
  /** Milliseconds that earlier executions ran, since the flow was last started by a caller. */
  readonly activeMs: number
}

/** What happens with the steps that wait. */
export interface PauseHandlers {
  /** Makes waits visible to users while other steps of the flow still run. */
  store(waits: readonly StepWait[]): void
  /**
   * Nothing else of the flow can continue. Called once. From then on no decision resolves a wait and no operation
   * starts: the flow continues in another execution, which may already run while the pause is being stored.
   */
  pause(waits: readonly StepWait[]): void
}

/**
 * Finds the moment in which a flow can only wait: steps wait and no operation of the executor is active. An executor
 * continues in microtasks between two operations, so the moment is checked in the next turn of the event loop.
 */
export class PauseControl {
  /** Waits that earlier executions stored, by `waitKey`. */
  readonly stored: ReadonlyMap<string, StoredWait>
  readonly course: FlowCourse
  readonly #open = new Map<string, OpenWait>()
  #handlers: PauseHandlers | undefined
  #active = 0
  #isScheduled = false
  #isPaused = false

  constructor(stored: readonly StoredWait[], course: FlowCourse) {
    this.course = course
    this.stored = new Map(stored.map((wait) => [waitKey(wait), wait]))
  }

  /** Must be called before the first operation. */
  onPause(handlers: PauseHandlers): void {
    this.#handlers = handlers
  }

  /** Number of steps that wait. */
  get waiting(): number {
    return this.#open.size
  }

  /** Counts an operation of the executor as active until it settles. Rejects with FLOW_INTERRUPTED after the pause. */
  during<Result>(operation: () => Promise<Result>): Promise<Result> {
    if (this.#isPaused) return Promise.reject(new OrchestratorError('FLOW_INTERRUPTED', 'The execution has paused the flow'))
    this.#active++
    return operation().finally(() => this.#leave())
  }

  /**
   * Resolves with the end of a wait that is decided while the flow runs in this process; rejects with the reason of a
   * cancelled token. Must be called within an operation, which does not count as active meanwhile.
   */
  async waitFor(wait: StepWait, tokens: readonly (CancellationToken | undefined)[]): Promise<StoredWait> {
    const key = waitKey(wait)
    const ended = new Promise<StoredWait>((resolve) => {
      this.#open.set(key, { wait, resolve, isStored: this.stored.get(key)?.hash === wait.hash })
    })
    this.#leave()
    try {
      return await untilCancelled(ended, tokens)
    } finally {
      this.#open.delete(key)
      this.#active++
    }
  }

  /**
   * Runs parts of the current operation side by side, each of which may wait by itself. Resolves when all have settled;
   * rejects with the first of their errors. Must be called within an operation, which counts as active only through its
   * parts.
   */
  async together(parts: readonly (() => Promise<void>)[]): Promise<void> {
    const running = parts.map((part) => this.during(part))
    this.#leave()
    try {
      const settled = await Promise.allSettled(running)
      for (const part of settled) if (part.status === 'rejected') throw part.reason
    } finally {
      this.#active++
    }
  }

  /**
   * Passes on a decision that was made in this process; false if the wait is not open here, or no longer because the
   * execution pauses the flow. The stored decision then wakes the flow.
   */
  decided(ended: StoredWait): boolean {
    const open = this.#open.get(waitKey(ended))
    if (open?.wait.hash !== ended.hash) return false
    open.resolve(ended)
    return true
  }

  #leave(): void {
    this.#active--
    if (this.#open.size === 0 || this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => this.#check())
  }

  #check(): void {
    this.#isScheduled = false
    if (this.#open.size === 0) return
    const open = [...this.#open.values()]
    if (this.#active > 0) {
      const unknown = open.filter(({ isStored }) => !isStored)
      for (const entry of unknown) entry.isStored = true
      if (unknown.length > 0) this.#handlers?.store(unknown.map(({ wait }) => wait))
      return
    }
    this.#isPaused = true
    this.#open.clear()
    this.#handlers?.pause(open.map(({ wait }) => wait))
    this.#handlers = undefined
  }
}

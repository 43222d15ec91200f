import type { Clock } from '../../async/clock.ts'
import type { BudgetRepository, BudgetSettlement } from '../../repositories/repository.ts'

/** Implemented by the configured logger. */
export interface SettlementLog {
  warn(message: string, facts: Readonly<Record<string, unknown>>): void
}

const REPEAT_AFTER_MS = 1_000
/** Attempts of a process whose database is away for hours must not fill its memory. */
const MAX_PENDING = 100_000

interface Pending {
  readonly settlement: BudgetSettlement
  readonly stored: () => void
}

/**
 * Writes settlements, those that wait together in one statement. While the database does not answer they are kept and
 * repeated; attempts do not wait for that, because the answer of a call must not depend on it.
 */
export function createSettlements(repository: Pick<BudgetRepository, 'settle'>, clock: Clock, logger: SettlementLog) {
  let pending: Pending[] = []
  let writing: Promise<void> | undefined
  let stopTimer: (() => void) | undefined
  let isClosed = false
  let notify: (() => void)[] = []

  async function write(): Promise<void> {
    while (pending.length > 0) {
      const batch = pending
      pending = []
      try {
        await repository.settle(batch.map(({ settlement }) => settlement))
      } catch (error) {
        logger.warn('settlements of budgets could not be stored; they are kept and repeated', {
          count: batch.length,
          code: error instanceof Error && 'code' in error ? error.code : undefined,
        })
        pending = [...batch, ...pending].slice(-MAX_PENDING)
        if (!isClosed) stopTimer ??= clock.startTimer(REPEAT_AFTER_MS, repeat)
        return
      } finally {
        for (const { stored } of batch) stored()
      }
      for (const run of notify) run()
      notify = []
    }
  }

  function start(): void {
    writing ??= write().finally(() => {
      writing = undefined
    })
  }

  function repeat(): void {
    stopTimer = undefined
    start()
  }

  return {
    /** Resolves when the settlement is stored, or when its first statement has failed. */
    add: (settlement: BudgetSettlement): Promise<void> =>
      new Promise((stored) => {
        pending.push({ settlement, stored })
        if (!stopTimer) start()
        else stored()
      }),
    /** Resolves after the next settlements of this process are stored. */
    next: (): Promise<void> => new Promise((resolve) => notify.push(resolve)),
    async close(): Promise<void> {
      isClosed = true
      stopTimer?.()
      repeat()
      await writing
    },
  }
}

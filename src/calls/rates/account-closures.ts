import type { Clock } from '../../async/clock.ts'
import type { SharedRates } from './shared-rates.ts'

/**
 * A closure by another process is noticed after at most so many milliseconds by calls to accounts without rates. Calls
 * to accounts with rates see it at once, in the statement that takes their slot.
 */
const FRESH_MS = 200

/** Accounts that a 429 has closed, as all processes see them. One statement serves all calls of its time. */
export function createAccountClosures(
  shared: Pick<SharedRates, 'close' | 'closures'>,
  clock: Clock,
  warn: (message: string, facts: Readonly<Record<string, unknown>>) => void,
) {
  let openAt: ReadonlyMap<string, number> = new Map()
  let readAt = Number.NEGATIVE_INFINITY
  let reading: Promise<void> | undefined

  async function read(): Promise<void> {
    try {
      const closures = await shared.closures()
      const now = clock.now()
      openAt = new Map([...closures].map(([account, leftMs]) => [account, now + leftMs]))
    } catch (error) {
      warn('closed provider accounts could not be read', { code: error instanceof Error && 'code' in error ? error.code : '' })
    } finally {
      readAt = clock.now()
      reading = undefined
    }
  }

  const leftMs = (account: string): number => Math.max(0, (openAt.get(account) ?? 0) - clock.now())

  return {
    /** Milliseconds for which the account is closed; 0 if it is open. A promise where the store must be read first. */
    leftMs(account: string): number | Promise<number> {
      if (clock.now() - readAt < FRESH_MS) return leftMs(account)
      reading ??= read()
      return reading.then(() => leftMs(account))
    },
    /** Closes the account for all processes. Resolves when it is stored; never rejects. */
    async close(account: string, forMs: number): Promise<void> {
      openAt = new Map(openAt).set(account, Math.max(openAt.get(account) ?? 0, clock.now() + forMs))
      await shared.close(account, forMs).catch((error) => {
        warn('a provider account could not be closed for other processes', { account, code: error?.code })
      })
    },
  }
}

export type AccountClosures = ReturnType<typeof createAccountClosures>

import { type Clock, systemClock, wait } from '../async/clock.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { Provider, ProviderOperation } from './provider.ts'

export interface OperationListsOptions {
  /** Upper bound on the first wait, doubled for each later one, in milliseconds. */
  readonly baseDelayMs: number
  readonly clock?: Clock
}

const MAX_RETRIES = 2
/** Milliseconds after which a failure is not repeated: a server that is silent has used up the time of its step. */
const RETRY_WITHIN_MS = 10_000

/**
 * Lists the operations of a provider, `undefined` for one that answers with models. A failure that may pass by itself,
 * such as that of an MCP server which starts again, is repeated as those of calls are: the layers around calls come
 * only after the list. Rejects as `ProviderService.get` and `Provider.operations` do.
 */
export const createOperationLists =
  (get: (id: string) => Promise<Pick<Provider, 'operations'>>, { baseDelayMs, clock = systemClock }: OperationListsOptions) =>
  async (id: string, signal: AbortSignal = NEVER): Promise<readonly ProviderOperation[] | undefined> => {
    const provider = await get(id)
    const startedMs = clock.now()
    for (let retries = 0; ; retries++) {
      try {
        return await provider.operations?.(signal)
      } catch (error) {
        const mayPass = OrchestratorError.is(error) && error.retryable && clock.now() - startedMs < RETRY_WITHIN_MS
        if (signal.aborted || retries >= MAX_RETRIES || !mayPass) throw error
        await wait(clock, Math.round(clock.random() * baseDelayMs * 2 ** retries), signal)
      }
    }
  }

const NEVER = new AbortController().signal

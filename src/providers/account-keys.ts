import { callFactsOf, withCallFacts } from '../domain/execution/call-facts.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { Provider } from './provider.ts'

/** One provider over several keys of it: a request names the key by its number in `account`. */
export async function createKeyedProvider(
  keys: readonly [string, ...string[]],
  load: (apiKey: string) => Promise<Provider>,
): Promise<Provider> {
  const [firstKey, ...others] = keys
  const first = await load(firstKey)
  if (others.length === 0) return first
  const accounts = [first, ...(await Promise.all(others.map(load)))]
  return {
    id: first.id,
    kind: first.kind,
    vendor: first.vendor,
    simulated: first.simulated,
    generate: (request, options) => (accounts[options.account ?? 0] ?? first).generate(request, options),
    async ping(signal) {
      await Promise.all(
        accounts.map((account, index) =>
          account.ping?.(signal).catch((error) => {
            throw OrchestratorError.is(error) && !signal.aborted ? ofKey(error, index + 1, accounts.length) : error
          }),
        ),
      )
    },
  }
}

/** Names the key by its number, because it must not be shown. */
const ofKey = (error: OrchestratorError, number: number, count: number): OrchestratorError =>
  withCallFacts(
    new OrchestratorError(error.code, `Key ${number} of ${count}: ${error.message}`, {
      details: { ...error.details, account: number },
      cause: error.cause,
      retryable: error.retryable,
    }),
    callFactsOf(error),
  )

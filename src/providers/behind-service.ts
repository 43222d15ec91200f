import { onAbort } from '../async/on-abort.ts'
import { findSuggestion, quoted, withSuggestion } from '../domain/definition/suggestion.ts'
import { callFactsOf, withCallFacts } from '../domain/execution/call-facts.ts'
import type { ErrorCode } from '../errors/error-codes.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { GenerateOptions, Provider, ProviderOperation } from './provider.ts'
import { createRelaySignal } from './transport/relay-signal.ts'

/** A call to a service, from its permission to its end. */
export interface ServiceVisit {
  /** Address of the present run of the service. */
  readonly endpoint: string
  /** Aborts when the run ends, which calls must not outlive. */
  readonly ended: AbortSignal
  /** Ends the call; `succeeded`: whether it showed that the service works. Must be called once. */
  leave(succeeded: boolean): void
}

/** The calls of steps to services. Implemented by createProviderCalls. */
export interface ServiceCalls {
  /**
   * Permits a call to a service that runs, and counts it until it leaves. One that starts with its first call is
   * started first, unless `start` is false. Rejects with PROVIDER_UNAVAILABLE and the time to wait for a service that
   * will run by itself, with SERVICE_NOT_RUNNING for another one, with SERVICE_ADDRESS_REFUSED for an endpoint that is
   * not allowed, and with the reason of the abort.
   */
  enter(id: string, signal: AbortSignal, options?: { readonly start?: boolean }): Promise<ServiceVisit>
}

export interface BehindServiceOptions {
  /** Id of the service, and of its provider. */
  readonly id: string
  readonly kind: string
  readonly vendor: string
  /** Whether what the service receives stays with the operator. */
  readonly inHouse: boolean
  /** Models that the service has; absent: every model is passed on. */
  readonly models?: readonly string[]
  readonly calls: ServiceCalls
  /** Builds the adapter for the address of a run. */
  readonly load: (endpoint: string) => Promise<Provider>
  /** The operations of the service, which do not depend on its address. */
  readonly operations?: () => Promise<readonly ProviderOperation[]>
}

/** Errors with which a service that works answers a request that is at fault itself. */
const SIGNS_OF_LIFE: ReadonlySet<ErrorCode> = new Set(['PROVIDER_REJECTED', 'CONTENT_FILTERED', 'OUTPUT_INVALID'])

/**
 * A provider whose requests go to the present run of a service. Its port may be another one after every start, so the
 * adapter is built for each address and kept as long as the address stays.
 */
export function createProviderBehindService(options: BehindServiceOptions): Provider {
  const { id, kind, vendor, inHouse, models, calls, load, operations } = options
  let current: { readonly endpoint: string; readonly provider: Promise<Provider> } | undefined

  function providerAt(endpoint: string): Promise<Provider> {
    if (current?.endpoint === endpoint) return current.provider
    const before = current
    const own = { endpoint, provider: load(endpoint) }
    current = own
    // A failed load must not stay: the next call loads again.
    own.provider.catch(() => {
      if (current === own) current = undefined
    })
    // Calls to the address before it have ended with their run.
    void before?.provider.then((provider) => provider.close?.()).catch(() => undefined)
    return own.provider
  }

  async function visit<T>(
    signal: AbortSignal,
    send: (provider: Provider, signal: AbortSignal) => Promise<T>,
    start?: { readonly start: boolean },
  ): Promise<T> {
    signal.throwIfAborted()
    const call = await calls.enter(id, signal, start)
    const relay = createRelaySignal(signal)
    const stopListening = onAbort(call.ended, () => relay.abort())
    let succeeded = false
    try {
      const provider = await providerAt(call.endpoint)
      const answer = await send(provider, relay)
      succeeded = true
      return answer
    } catch (error) {
      if (signal.aborted) {
        withCallFacts(signal, callFactsOf(relay))
        throw signal.reason
      }
      if (relay.aborted) throw withCallFacts(endedMeanwhile(id, call.ended.reason), callFactsOf(relay))
      succeeded = OrchestratorError.is(error) && SIGNS_OF_LIFE.has(error.code)
      throw error
    } finally {
      stopListening()
      relay.release()
      call.leave(succeeded)
    }
  }

  return {
    id,
    kind,
    vendor,
    simulated: false,
    ...(inHouse && { inHouse }),
    async generate(request, options: GenerateOptions) {
      if (models && !models.includes(request.model)) throw unknownModel(id, request.model, models)
      return visit(options.signal, (provider, signal) => provider.generate(request, { ...options, signal }))
    },
    /** A check must start nothing. */
    ping: (signal) => visit(signal, async (provider, linked) => provider.ping?.(linked), { start: false }),
    ...(operations && { operations }),
    close: async () => (await current?.provider)?.close?.(),
  }
}

function endedMeanwhile(id: string, cause: unknown): OrchestratorError {
  const message = `Expected the service "${id}" to answer; it ended before its answer was complete`
  return new OrchestratorError('PROVIDER_UNAVAILABLE', message, { details: { provider: id, service: id }, cause })
}

function unknownModel(id: string, model: string, models: readonly string[]): OrchestratorError {
  const suggestion = findSuggestion(model, models)
  const message = withSuggestion(`The service "${id}" has no model ${quoted(model)}`, suggestion)
  return new OrchestratorError('PROVIDER_REJECTED', `${message} (its models: ${models.join(', ')})`, {
    details: { provider: id, model, ...(suggestion !== undefined && { suggestion }) },
  })
}

import { systemClock } from '../async/clock.ts'
import { untilAborted } from '../async/until-aborted.ts'
import type { LedgerDeps } from '../calls/attempt-ledger.ts'
import type { PreparedRequest } from '../calls/call.ts'
import { createCallEstimate } from '../calls/call-estimate.ts'
import { createCall } from '../calls/create-call.ts'
import { createGates, isLimited } from '../calls/rates/gates.ts'
import type { SharedRates } from '../calls/rates/shared-rates.ts'
import { RETRY_DEFAULTS } from '../calls/retry.ts'
import { createRatesOf } from '../config/provider-rates.ts'
import type { ModelRequest } from '../domain/execution/model-call.ts'
import type { FindOperations } from '../orchestrator/operations/find-operation.ts'
import { createSharingRules } from '../policies/shared-context.ts'
import { createTokenCounter } from '../prompts/token-count.ts'
import { createLazySimulator } from '../providers/lazy-simulator.ts'
import { createMinCachedTokens } from '../providers/models/min-cached-tokens.ts'
import { createModelNames } from '../providers/models/model-names.ts'
import { createPriceBook, createPricingLookup } from '../providers/models/prices.ts'
import { createProviderLookup } from '../providers/models/provider-lookup.ts'
import { createOperationLists } from '../providers/operation-lists.ts'
import { createProviderService } from '../providers/registry.ts'
import type { ProviderCalls } from '../services/provider-calls.ts'
import { createAnswerCache } from './answers/create-answer-cache.ts'
import type { OpenRecording } from './answers/open-recording.ts'
import { createAccounts, createCallPrices } from './operations/create-accounts.ts'
import type { LoadedConfig } from './operations/load-functions.ts'
import { createPools } from './pools/create-pools.ts'
import { createBackingServices } from './services/create-backing-services.ts'

/** Providers that the simulator stands in for if none is configured. */
const SIMULATED_PROVIDERS = { openai: { active: true }, anthropic: { active: true }, google: { active: true } }

export interface SharedRatesOptions {
  /** Present where the rates of providers hold over all processes. */
  readonly sharedRates?: SharedRates
  readonly warn: (message: string, facts: Readonly<Record<string, unknown>>) => void
  /** Present where requests are recorded or replayed. */
  readonly recording?: OpenRecording
  /** Calls to services that stand behind providers; the services are built at its first use. */
  readonly serviceCalls: () => ProviderCalls
}

/** The providers of a configuration with their prices and token counts, and the function that calls them. */
export function createModels(config: LoadedConfig, { sharedRates, warn, recording, serviceCalls }: SharedRatesOptions) {
  const simulator = createLazySimulator()
  const given = config.simulator ? { ...SIMULATED_PROVIDERS, ...config.providers } : config.providers
  const operating = { ...config, providers: given }
  const accounts = createAccounts(operating)
  const configured = createProviderService({ providers: accounts, simulator: config.simulator ? simulator.endpoint : undefined })
  const providers = recording ? recording.wrapProviders(configured) : configured
  const backing = createBackingServices({ config, registry: configured, calls: serviceCalls })
  const { directory: pools, chosen, assert } = createPools({ pools: config.pools, providers: given }, providers)
  const perCall = createCallPrices(operating)
  const prices = createPriceBook({
    overrides: config.prices,
    perCall: (...call) => backing.priceOf(...call) ?? perCall(...call),
  })
  const find = createProviderLookup(providers)
  const pricingOf = createPricingLookup(find)

  const price: LedgerDeps['price'] = (provider, answer, usage) => prices.price(pricingOf(provider), answer, usage)
  const isSimulated = (provider: string) => pricingOf(provider).simulated

  const ratesOf = createRatesOf(accounts)

  const retry = recording?.isReplay ? { ...config.retry, baseDelayMs: 0, maxDelayMs: 0 } : config.retry
  const { baseDelayMs: jitterMs } = { ...RETRY_DEFAULTS, ...retry }
  const gates = createGates({ loadProvider: providers.get, sharedRates, warn, jitterMs, clock: systemClock })

  const call = createCall({
    attempt: (request, attempt) =>
      providers.get(request.provider).then((provider) => provider.generate(toModelRequest(request), attempt)),
    price: recording ? recording.wrapPrice(price) : price,
    worstCaseUsd: (provider, ...request) => prices.worstCase(pricingOf(provider), ...request),
    isSimulated,
    answers: createAnswerCache(config, (provider) => pricingOf(provider).origin ?? ''),
    ratesOf: recording?.isReplay ? () => ({}) : (id) => backing.ratesOf(id) ?? ratesOf(id),
    // A replay asks no service.
    ...(!recording?.isReplay && { standing: backing.standing }),
    gates,
    sharedRates,
    warn,
    retry,
    ...chosen,
  })

  const { baseDelayMs } = { ...config.retry, ...(recording?.isReplay && { baseDelayMs: 0 }) }
  const operationsOf: FindOperations = createOperationLists(providers.get, { baseDelayMs })

  return {
    operationsOf,
    providers,
    pools,
    assertPools: assert,
    backing,
    simulator,
    sharing: createSharingRules({
      isInProcess: (id) => find(id)?.inProcess === true,
      // Only `backing` knows about a service, which may be registered again under its id with other terms.
      isInHouse: (id) => backing.isInHouse(id) || (find(id)?.inHouse === true && find(id)?.service !== true),
    }),
    prices,
    pricingOf,
    minCachedTokens: createMinCachedTokens(find),
    modelNames: createModelNames({ prices: config.prices }),
    tokens: createTokenCounter(),
    call,
    /** Waits until the rates of a provider allow a request besides the steps of flows, and returns what ends it. */
    async enterRates(provider: string, signal: AbortSignal): Promise<() => void> {
      const rates = backing.ratesOf(provider) ?? ratesOf(provider)
      if (!isLimited(rates)) return () => {}
      const gate = await untilAborted(gates.of(provider, provider, rates), signal)
      const pass = await gate.enter(0, signal)
      return () => pass.leave()
    },
    estimate: createCallEstimate({ price, isSimulated }),
  }
}

export type Models = ReturnType<typeof createModels>

/** The part of a prepared request that a provider receives, without the notes and decisions of its step. */
function toModelRequest(prepared: PreparedRequest): ModelRequest {
  const request: { readonly [Key in keyof Required<ModelRequest>]: ModelRequest[Key] } = {
    model: prepared.model,
    system: prepared.system,
    messages: prepared.messages,
    settings: prepared.settings,
    outputSchema: prepared.outputSchema,
    tools: prepared.tools,
    hostedTools: prepared.hostedTools,
    maxHostedCalls: prepared.maxHostedCalls,
    toolChoice: prepared.toolChoice,
    arguments: prepared.arguments,
    strict: prepared.strict,
    cacheKey: prepared.cacheKey,
  }
  return request
}

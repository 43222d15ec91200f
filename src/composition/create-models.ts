import type { LedgerDeps } from '../calls/attempt-ledger.ts'
import type { PreparedRequest } from '../calls/call.ts'
import { createCallEstimate } from '../calls/call-estimate.ts'
import { createCall } from '../calls/create-call.ts'
import type { SharedRates } from '../calls/rates/shared-rates.ts'
import type { PolyphonyConfig } from '../config/config.ts'
import { createRatesOf } from '../config/provider-rates.ts'
import type { ModelRequest } from '../domain/execution/model-call.ts'
import { createTokenCounter } from '../prompts/token-count.ts'
import { createLazySimulator } from '../providers/lazy-simulator.ts'
import { createModelNames } from '../providers/models/model-names.ts'
import { createPriceBook, createPricingLookup } from '../providers/models/prices.ts'
import { createProviderService } from '../providers/registry.ts'

/** Providers that the simulator stands in for if none is configured. */
const SIMULATED_PROVIDERS = { openai: { active: true }, anthropic: { active: true }, google: { active: true } }

export interface SharedRatesOptions {
  /** Present where the rates of providers hold over all processes. */
  readonly sharedRates?: SharedRates
  readonly warn: (message: string, facts: Readonly<Record<string, unknown>>) => void
}

/** The providers of a configuration with their prices and token counts, and the function that calls them. */
export function createModels(config: PolyphonyConfig, { sharedRates, warn }: SharedRatesOptions) {
  const simulator = createLazySimulator()
  const accounts = config.simulator ? { ...SIMULATED_PROVIDERS, ...config.providers } : config.providers
  const providers = createProviderService({ providers: accounts, simulator: config.simulator ? simulator.endpoint : undefined })
  const prices = createPriceBook({ overrides: config.prices })
  const pricingOf = createPricingLookup(providers)

  const price: LedgerDeps['price'] = (provider, answer, usage) => prices.price(pricingOf(provider), answer, usage)
  const isSimulated = (provider: string) => pricingOf(provider).simulated

  const call = createCall({
    attempt: (request, attempt) =>
      providers.get(request.provider).then((provider) => provider.generate(toModelRequest(request), attempt)),
    price,
    worstCaseUsd: (provider, model, inputTokens, maxOutputTokens) =>
      prices.worstCase(pricingOf(provider), model, inputTokens, maxOutputTokens),
    isSimulated,
    ratesOf: createRatesOf(accounts),
    loadProvider: providers.get,
    sharedRates,
    warn,
    retry: config.retry,
  })

  return {
    providers,
    simulator,
    prices,
    pricingOf,
    modelNames: createModelNames({ prices: config.prices }),
    tokens: createTokenCounter(),
    call,
    estimate: createCallEstimate({ price, isSimulated }),
  }
}

export type Models = ReturnType<typeof createModels>

/** The part of a prepared request that a provider receives. */
const toModelRequest = ({ model, system, messages, settings, outputSchema }: PreparedRequest): ModelRequest => ({
  model,
  system,
  messages,
  settings,
  outputSchema,
})

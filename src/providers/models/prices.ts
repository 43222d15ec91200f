import type { PriceCalculation } from '@pydantic/genai-prices'
import type { ConfiguredPrice } from '../../config/config-schema.ts'
import type { PricedAnswer } from '../../domain/execution/model-call.ts'
import type { Cost, Usage } from '../../domain/execution/usage.ts'
import type { NamedProvider, PriceBook, PricingIdentity } from '../provider.ts'
import { toTierFactor } from '../vendor/service-tiers.ts'
import { hostedToolsUsd } from './hosted-tool-prices.ts'
import type { FindProviderInfo } from './provider-lookup.ts'

/** Day on which the bundled price list (`@pydantic/genai-prices` 0.1.8) was published. */
export const PRICES_DATE = '2026-09-23'

export interface PriceBookOptions {
  /**
   * Prices by `provider/model`, with the id of the provider. They take precedence over the bundled list. A price of 0
   * counts as known.
   */
  readonly overrides?: Readonly<Record<string, ConfiguredPrice>>
  /**
   * US dollars per call of an operation, which has a price without tokens; `undefined` for models and for operations
   * without a known price. Implemented by createCallPrices.
   */
  readonly perCall?: (provider: string, operation: string) => CallPrice | undefined
  /** Milliseconds since the epoch, because prices in the bundled list depend on the date. */
  readonly now?: () => number
}

/** The price of one call of an operation. */
export type CallPrice = Pick<Cost, 'costUsd' | 'source'>

/**
 * Vendors of the list by our names. The list's own search is not used, because it matches parts of names and takes
 * `openai-compatible` for OpenAI. Local servers (ollama, lmstudio, vllm) have no price unless one is configured.
 */
export const LISTED_VENDORS: Readonly<Record<string, string>> = {
  openai: 'openai',
  anthropic: 'anthropic',
  google: 'google',
  groq: 'groq',
  xai: 'x-ai',
  mistral: 'mistral',
  deepseek: 'deepseek',
  openrouter: 'openrouter',
  together: 'together',
  azure: 'azure',
}

const MAX_KNOWN_MODELS = 500
const NOT_LISTED = 'not listed'

/** A usage with known input and output tokens. */
type CountedUsage = Usage & Required<Pick<Usage, 'inputTokens' | 'outputTokens'>>
type ListPrice = (usage: CountedUsage) => number | undefined
type PriceList = (vendor: string, model: string) => ListPrice | undefined

/** Prices from the configuration, otherwise from the bundled list, which is loaded at first use. */
export function createPriceBook({ overrides = {}, perCall, now = Date.now }: PriceBookOptions = {}): PriceBook {
  const configuredPrices = byName(overrides)
  let opening: Promise<PriceList> | undefined
  let opened: PriceList | undefined

  async function open(): Promise<PriceList> {
    opening ??= openPriceList(now)
    opened = await opening
    return opened
  }

  function price(provider: PricingIdentity, answer: PricedAnswer, usage: Usage): Promise<Cost | undefined> | Cost | undefined {
    if (provider.simulated) return undefined
    const call = perCall?.(provider.id, answer.requestedModel)
    // What is free is free however much of it was used.
    if (call?.source === 'free') return { ...call, estimated: false }
    if (!isCounted(usage)) return undefined
    if (call) return { ...call, estimated: false }
    const configured = findConfigured(configuredPrices, provider.id, answer)
    if (configured) {
      return { costUsd: round(configuredCost(configured, usage)), source: 'configured', estimated: usage.source === 'estimated' }
    }
    const vendor = Object.hasOwn(LISTED_VENDORS, provider.vendor) ? LISTED_VENDORS[provider.vendor] : undefined
    if (!vendor) return undefined
    return opened ? toListCost(opened, vendor, answer, usage) : open().then((list) => toListCost(list, vendor, answer, usage))
  }

  return {
    price,
    async load() {
      await open()
    },
    async worstCase(provider, model, inputTokens, maxOutputTokens, hostedTools = []) {
      if (provider.simulated) return 0
      const fees = hostedTools.length > 0 ? hostedFees(provider, model, hostedTools) : 0
      if (fees === undefined) return undefined
      const usage: Usage = { inputTokens, outputTokens: maxOutputTokens, source: 'estimated' }
      const answer: PricedAnswer = { model, requestedModel: model }
      // Cache writes can cost more than plain input, and a vendor may write to its cache without being asked.
      const costs = [
        await price(provider, answer, usage),
        await price(provider, answer, { ...usage, cacheWriteTokens: inputTokens }),
      ]
      const known = costs.flatMap((cost) => (cost ? [cost.costUsd] : []))
      return known.length > 0 ? Math.max(...known) + fees : undefined
    },
  }

  function hostedFees({ id, vendor }: PricingIdentity, model: string, tools: readonly string[]): number | undefined {
    const configured = findConfigured(configuredPrices, id, { model, requestedModel: model })
    return configured?.hostedPerTurn ?? hostedToolsUsd(vendor, model, tools)
  }
}

/**
 * Cost according to the list. If the list lacks the answering model, as with names that gateways make up, the requested
 * model counts.
 */
function toListCost(list: PriceList, vendor: string, answer: PricedAnswer, usage: CountedUsage): Cost | undefined {
  const factor = toTierFactor(vendor, answer.serviceTier)
  if (factor === undefined) return undefined
  const { model, requestedModel } = answer
  const listed = list(vendor, model) ?? (requestedModel === model ? undefined : list(vendor, requestedModel))
  const costUsd = listed?.(usage)
  if (costUsd === undefined) return undefined
  return { costUsd: round(costUsd * factor), source: 'prices', pricesDate: PRICES_DATE, estimated: usage.source === 'estimated' }
}

async function openPriceList(now: () => number): Promise<PriceList> {
  const [{ calcPrice }, { LRUCache }] = await Promise.all([import('@pydantic/genai-prices'), import('lru-cache')])
  // The search for a model compares hundreds of patterns, so each result is cached as a list with that one model.
  const found = new LRUCache<string, Pick<PriceCalculation, 'model' | 'provider'> | typeof NOT_LISTED>({ max: MAX_KNOWN_MODELS })

  function find(providerId: string, model: string) {
    const key = `${providerId}/${model}`
    const known = found.get(key)
    if (known) return known
    const match = calcPrice({}, model, { providerId, timestamp: new Date(now()) })
    const entry = match ? { model: match.model, provider: { ...match.provider, models: [match.model] } } : NOT_LISTED
    found.set(key, entry)
    return entry
  }

  return (vendor, model) => {
    const entry = find(vendor, model)
    if (entry === NOT_LISTED) return undefined
    return (usage) => {
      const priced = calcPrice(toListUsage(usage), model, { provider: entry.provider, timestamp: new Date(now()) })
      return priced && coversText(priced, usage) ? priced.total_price : undefined
    }
  }
}

/** Whether the list has prices for the used tokens. It would compute 0 for models without prices. */
function coversText({ model_price: price }: PriceCalculation, { inputTokens, outputTokens }: CountedUsage): boolean {
  if (price.input_mtok === undefined && price.output_mtok === undefined) return false
  return (inputTokens === 0 || price.input_mtok !== undefined) && (outputTokens === 0 || price.output_mtok !== undefined)
}

/** The usage for the list, with parts bounded by their total, because the list rejects larger ones. */
function toListUsage(usage: CountedUsage) {
  const { cached, cacheWrites } = splitInput(usage)
  const reasoning = Math.min(usage.reasoningTokens ?? 0, usage.outputTokens)
  return {
    input_tokens: usage.inputTokens,
    cache_read_tokens: cached,
    cache_write_tokens: cacheWrites,
    output_tokens: usage.outputTokens,
    ...(reasoning > 0 && { output_reasoning_tokens: reasoning }),
  }
}

function splitInput({ inputTokens, cachedInputTokens = 0, cacheWriteTokens = 0 }: CountedUsage) {
  const cached = Math.min(cachedInputTokens, inputTokens)
  const cacheWrites = Math.min(cacheWriteTokens, inputTokens - cached)
  return { cached, cacheWrites, plain: inputTokens - cached - cacheWrites }
}

function configuredCost(price: ConfiguredPrice, usage: CountedUsage): number {
  const { cached, cacheWrites, plain } = splitInput(usage)
  const {
    inputPerMillion,
    outputPerMillion,
    cachedInputPerMillion = inputPerMillion,
    cacheWritePerMillion = inputPerMillion,
  } = price
  const perMillion =
    plain * inputPerMillion +
    cached * cachedInputPerMillion +
    cacheWrites * cacheWritePerMillion +
    usage.outputTokens * outputPerMillion
  return perMillion / 1_000_000
}

/** Configured prices by name and by name in lower case, because vendors ignore case. */
function byName(overrides: Readonly<Record<string, ConfiguredPrice>>): ReadonlyMap<string, ConfiguredPrice> {
  const entries = Object.entries(overrides)
  return new Map([...entries.map(([name, price]) => [name.toLowerCase(), price] as const), ...entries])
}

/** Suffixes of model names: a date, a version of Vertex or Bedrock, `latest`. */
export const NAME_SUFFIX = /([-@]20\d{2}-?[01]\d-?[0-3]\d(-v\d+(:\d+)?)?|[-:@]latest)$/

/** Searches by the requested model, then by the one that answered, each as given and without its suffix. */
function findConfigured(
  prices: ReadonlyMap<string, ConfiguredPrice>,
  provider: string,
  { requestedModel, model }: PricedAnswer,
): ConfiguredPrice | undefined {
  if (prices.size === 0) return undefined
  for (const name of requestedModel === model ? [model] : [requestedModel, model]) {
    const exact = `${provider}/${name}`
    const plain = `${provider}/${name.replace(/^models\//, '')}`.toLowerCase()
    const price =
      prices.get(exact) ?? prices.get(exact.toLowerCase()) ?? prices.get(plain) ?? prices.get(plain.replace(NAME_SUFFIX, ''))
    if (price) return price
  }
  return undefined
}

function isCounted(usage: Usage): usage is CountedUsage {
  return usage.source !== 'unknown' && usage.inputTokens !== undefined && usage.outputTokens !== undefined
}

/** Rounds to nano-dollars, which removes the error of floating point sums. */
const round = (costUsd: number) => Math.round(costUsd * 1e9) / 1e9

/** Returns the identity by which prices, tokenizers and model names are found, by provider id. */
export const createPricingLookup =
  (find: FindProviderInfo) =>
  (id: string): NamedProvider =>
    find(id) ?? { id, vendor: id, simulated: false }

import type { PriceCalculation } from '@pydantic/genai-prices'
import type { ConfiguredPrice } from '../../config/config-schema.ts'
import type { PricedAnswer } from '../../domain/execution/model-call.ts'
import type { Cost, Usage } from '../../domain/execution/usage.ts'
import type { NamedProvider, PriceBook, PricingIdentity, ProviderService } from '../provider.ts'
import { toTierFactor } from '../vendor/service-tiers.ts'

/** Day on which the bundled list (`@pydantic/genai-prices` 0.1.8) was published. */
export const PRICES_DATE = '2026-09-23'

export interface PriceBookOptions {
  /** By `provider/model`, provider as steps name it. Wins over the bundled list; a price of 0 is known and free. */
  readonly overrides?: Readonly<Record<string, ConfiguredPrice>>
  /** Milliseconds since the epoch: the bundled list knows prices by date. */
  readonly now?: () => number
}

/**
 * Our vendor names in the list. Everything else is unknown, because the list matches by parts of names: it takes
 * `openai-compatible` for OpenAI. Servers at home (ollama, lmstudio, vllm) have no price unless one is configured.
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

/** Tokens of which input and output are known. */
type CountedUsage = Usage & Required<Pick<Usage, 'inputTokens' | 'outputTokens'>>
type ListPrice = (usage: CountedUsage) => number | undefined
type PriceList = (vendor: string, model: string) => ListPrice | undefined

/** Prices from the configuration, then from the bundled list, which is loaded at first use. */
export function createPriceBook({ overrides = {}, now = Date.now }: PriceBookOptions = {}): PriceBook {
  const configuredPrices = byName(overrides)
  let opening: Promise<PriceList> | undefined
  let opened: PriceList | undefined

  async function open(): Promise<PriceList> {
    opening ??= openPriceList(now)
    opened = await opening
    return opened
  }

  function price(provider: PricingIdentity, answer: PricedAnswer, usage: Usage): Promise<Cost | undefined> | Cost | undefined {
    if (provider.simulated || !isCounted(usage)) return undefined
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
    async worstCase(provider, model, inputTokens, maxOutputTokens) {
      if (provider.simulated) return 0
      const usage: Usage = { inputTokens, outputTokens: maxOutputTokens, source: 'estimated' }
      const answer: PricedAnswer = { model, requestedModel: model }
      // Writing to a cache can cost more than plain input, and whether a vendor does so by itself is not known before.
      const costs = [
        await price(provider, answer, usage),
        await price(provider, answer, { ...usage, cacheWriteTokens: inputTokens }),
      ]
      const known = costs.flatMap((cost) => (cost ? [cost.costUsd] : []))
      return known.length > 0 ? Math.max(...known) : undefined
    },
  }
}

/** Gateways answer with names of their own, which the list does not know: then the price is the one of the model that was asked for. */
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
  // Finding a model compares its name with hundreds of patterns; what was found is kept as a list of that one model.
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

/** The list has models without prices, which it would sum up to 0. */
function coversText({ model_price: price }: PriceCalculation, { inputTokens, outputTokens }: CountedUsage): boolean {
  if (price.input_mtok === undefined && price.output_mtok === undefined) return false
  return (inputTokens === 0 || price.input_mtok !== undefined) && (outputTokens === 0 || price.output_mtok !== undefined)
}

/** The list refuses parts that are larger than their whole. */
function toListUsage(usage: CountedUsage) {
  const { cached, written } = toInputParts(usage)
  const reasoning = Math.min(usage.reasoningTokens ?? 0, usage.outputTokens)
  return {
    input_tokens: usage.inputTokens,
    cache_read_tokens: cached,
    cache_write_tokens: written,
    output_tokens: usage.outputTokens,
    ...(reasoning > 0 && { output_reasoning_tokens: reasoning }),
  }
}

function toInputParts({ inputTokens, cachedInputTokens = 0, cacheWriteTokens = 0 }: CountedUsage) {
  const cached = Math.min(cachedInputTokens, inputTokens)
  const written = Math.min(cacheWriteTokens, inputTokens - cached)
  return { cached, written, plain: inputTokens - cached - written }
}

function configuredCost(price: ConfiguredPrice, usage: CountedUsage): number {
  const { cached, written, plain } = toInputParts(usage)
  const {
    inputPerMillion,
    outputPerMillion,
    cachedInputPerMillion = inputPerMillion,
    cacheWritePerMillion = inputPerMillion,
  } = price
  const perMillion =
    plain * inputPerMillion +
    cached * cachedInputPerMillion +
    written * cacheWritePerMillion +
    usage.outputTokens * outputPerMillion
  return perMillion / 1_000_000
}

/** Configured prices by their names, and by those in small letters: the vendors do not tell large ones from small ones. */
function byName(overrides: Readonly<Record<string, ConfiguredPrice>>): ReadonlyMap<string, ConfiguredPrice> {
  const entries = Object.entries(overrides)
  return new Map([...entries.map(([name, price]) => [name.toLowerCase(), price] as const), ...entries])
}

/** What vendors and users add to the name of a model: a date, a version of Vertex or Bedrock, `latest`. */
export const NAME_SUFFIX = /([-@]20\d{2}-?[01]\d-?[0-3]\d(-v\d+(:\d+)?)?|[-:@]latest)$/

/** By the name that steps use, then by the one that answered; each as it is, and without what is added to a name. */
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

/** Sums of floating point prices end in dust; nothing is billed below a billionth of a dollar. */
const round = (costUsd: number) => Math.round(costUsd * 1e9) / 1e9

/** Names that prices, tokenizers and models go by, by the id of the provider. */
export function createPricingLookup(providers: ProviderService): (id: string) => NamedProvider {
  const known = new Map<string, NamedProvider>(providers.list().map((info) => [info.id, info]))
  return (id) => known.get(id) ?? { id, vendor: id, simulated: false }
}

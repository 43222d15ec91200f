import type { MatchLogic, ModelInfo } from '@pydantic/genai-prices'
import { findSuggestion, quoted, withSuggestion } from '../../domain/definition/suggestion.ts'
import type { ModelDoubt, ModelNames } from '../provider.ts'
import { homeOriginOf } from '../registry.ts'
import { LISTED_VENDORS, NAME_SUFFIX, PRICES_DATE } from './prices.ts'
import { findShutdown } from './retired-models.ts'

export interface ModelNamesOptions {
  /** Configured prices by `provider/model`. A model with a configured price counts as known. */
  readonly prices?: Readonly<Record<string, unknown>>
  /** Milliseconds since the epoch, compared with the days of shutdowns. */
  readonly now?: () => number
}

/** Checks model names against the bundled price list and the announced shutdowns. */
export function createModelNames({ prices = {}, now = Date.now }: ModelNamesOptions = {}): ModelNames {
  const configured = new Set(Object.keys(prices).map((name) => name.toLowerCase()))
  return {
    async doubt({ id, vendor, simulated, origin }, model) {
      const isConfigured = configured.has(`${id}/${model}`.toLowerCase())
      const listed = Object.hasOwn(LISTED_VENDORS, vendor) ? LISTED_VENDORS[vendor] : undefined
      // Self-hosted servers, gateways and providers written in code have their own models.
      if (simulated || isConfigured || listed === undefined || origin !== homeOriginOf(vendor)) return undefined
      const name = model.toLowerCase().replace(/^models\//, '')
      // Fine-tuned models have names chosen by the user.
      if (name.startsWith('ft:')) return undefined
      const plain = name.replace(NAME_SUFFIX, '')
      const shutdown = findShutdown(vendor, [name, plain])
      if (shutdown !== undefined) return toShutdownDoubt(vendor, model, shutdown, now())
      const { findProvider } = await import('@pydantic/genai-prices')
      const models = findProvider({ providerId: listed })?.models ?? []
      const known = models.find((one) => isNamed(one, name) || isNamed(one, plain))
      if (known) return known.deprecated ? { message: `model ${quoted(model)} is deprecated by ${vendor}` } : undefined
      const suggestion = findSimilar(vendor, plain, models)
      const message = `model ${quoted(model)} is not in the list of ${vendor} of ${PRICES_DATE}`
      return { message: withSuggestion(message, suggestion), ...(suggestion !== undefined && { suggestion }) }
    },
  }
}

function toShutdownDoubt(vendor: string, model: string, shutdown: string, nowMs: number): ModelDoubt {
  const isOver = shutdown <= new Date(nowMs).toISOString().slice(0, 10)
  const verb = isOver ? 'was shut down' : 'will be shut down'
  return { message: `model ${quoted(model)} ${verb} by ${vendor} on ${shutdown}: choose another one`, shutdown }
}

/**
 * Whether the list names the model. The patterns of the list also match longer names, of which those that continue with
 * a letter are rejected here.
 */
function isNamed({ id, match }: ModelInfo, name: string): boolean {
  return id.toLowerCase() === name || matches(match, name)
}

function matches(match: MatchLogic, name: string): boolean {
  if ('or' in match) return match.or.some((one) => matches(one, name))
  if ('and' in match) return match.and.every((one) => matches(one, name))
  if ('equals' in match) return match.equals.toLowerCase() === name
  if ('starts_with' in match) {
    const start = match.starts_with.toLowerCase()
    return name.startsWith(start) && !/^[a-z]/.test(name.slice(start.length))
  }
  if ('ends_with' in match) return name.endsWith(match.ends_with.toLowerCase())
  if ('contains' in match) return name.includes(match.contains.toLowerCase())
  return new RegExp(match.regex, 'i').test(name)
}

const versionOf = (name: string): string => (name.match(/\d+/g) ?? []).join('.')

/**
 * The model most similar to a mistyped name. Names with other numbers are other versions, which may be newer than the
 * list.
 */
function findSimilar(vendor: string, name: string, models: readonly ModelInfo[]): string | undefined {
  const version = versionOf(name)
  const candidates = models
    .filter(({ id, deprecated }) => !deprecated && versionOf(id) === version && findShutdown(vendor, [id]) === undefined)
    .map(({ id }) => id)
  const similar = findSuggestion(name, candidates)
  // A much longer or shorter name is more often a variant than a typing error.
  return similar !== undefined && Math.abs(similar.length - name.length) <= 3 ? similar : undefined
}

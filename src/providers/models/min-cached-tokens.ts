import type { Target } from '../../domain/definition/flow-definition.ts'
import { anthropicAbilitiesOf } from '../anthropic/anthropic-models.ts'
import type { ProviderInfo } from '../provider.ts'
import type { FindProviderInfo } from './provider-lookup.ts'

/**
 * OpenAI caches the beginning of prompts of this length by itself, and Azure with it
 * (developers.openai.com/api/docs/guides/prompt-caching, November 2026).
 */
const MIN_OF_OPENAI = 1_024

/**
 * Returns a function that finds the number of tokens from which the vendor of a model caches the beginning of a prompt;
 * Infinity for vendors whose caching needs nothing from a request, or is unknown, and for the simulator.
 */
export function createMinCachedTokens(find: FindProviderInfo): (target: Target) => number {
  return ({ provider, model }) => {
    const info = find(provider)
    return info && !info.simulated ? minOf(info, model) : Number.POSITIVE_INFINITY
  }
}

function minOf({ kind, vendor }: ProviderInfo, model: string): number {
  if (kind === 'anthropic') return anthropicAbilitiesOf(model).minCachedTokens
  if (kind === 'openai' || vendor === 'azure') return MIN_OF_OPENAI
  if (vendor !== 'openrouter') return Number.POSITIVE_INFINITY
  return model.startsWith('anthropic/') ? anthropicAbilitiesOf(model).minCachedTokens : MIN_OF_OPENAI
}

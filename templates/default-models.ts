import type { Target } from '../src/domain/definition/flow-definition.ts'

/**
 * The only place with model names. Each is in the price list of @pydantic/genai-prices 0.1.8 under its provider
 * (read 2026-11-20; a test holds it), so that a template run with defaults is always priced.
 */
export const DEFAULT_MODELS = {
  openai: { strong: 'gpt-6-sol', second: 'gpt-5.6-sol', fast: 'gpt-6-luna' },
  anthropic: { strong: 'claude-opus-5-5', second: 'claude-sonnet-5', fast: 'claude-haiku-4-5' },
  google: { strong: 'gemini-3.8-flash', second: 'gemini-3.6-flash', fast: 'gemini-3.5-flash-lite' },
} as const

export type DefaultProvider = keyof typeof DEFAULT_MODELS
export type ModelTier = keyof (typeof DEFAULT_MODELS)[DefaultProvider]

export const defaultModel = (provider: DefaultProvider, tier: ModelTier = 'strong'): Target => ({
  provider,
  model: DEFAULT_MODELS[provider][tier],
})

/** One strong model of each vendor: errors of different families are less alike than errors of one (arXiv 2410.12853). */
export const DEFAULT_PANEL: readonly Target[] = [defaultModel('openai'), defaultModel('anthropic'), defaultModel('google')]

/**
 * Who judges a panel. Judges favour their own text (arXiv 2404.13076), so a model that is not on the panel is taken,
 * of a provider that is: the caller has surely configured that one. Where no such model is known, the first panel member judges.
 */
export function reviewerFor(panel: readonly Target[]): Target {
  const onPanel = (candidate: Target) =>
    panel.some((member) => member.provider === candidate.provider && member.model === candidate.model)
  for (const tier of ['strong', 'second'] as const) {
    for (const provider of JUDGE_PROVIDERS) {
      const candidate = defaultModel(provider, tier)
      if (panel.some((member) => member.provider === provider) && !onPanel(candidate)) return candidate
    }
  }
  return panel[0] ?? defaultModel('anthropic')
}

const JUDGE_PROVIDERS: readonly DefaultProvider[] = ['anthropic', 'openai', 'google']

import type { Target } from '../src/domain/definition/flow-definition.ts'

/**
 * All model names that templates use. Each is in the price list of @pydantic/genai-prices 0.1.8 under its provider
 * (read 2026-11-20, verified by a test), so that a template run with defaults is always priced.
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

/**
 * Strong models of further vendors, for agents and steps that name none where the user has no key of a vendor above. No
 * template uses them. They are in the same price list (read 2026-11-30, verified by a test).
 */
export const FURTHER_MODELS = { xai: 'grok-4.5', mistral: 'mistral-large-2512', deepseek: 'deepseek-chat' } as const

/** An account of the user whose models may be called. */
export interface UsableAccount {
  readonly id: string
  /** The vendor or preset, such as `openai` or `xai`. */
  readonly vendor: string
}

const STRONG_MODELS: readonly (readonly [string, string])[] = [
  ...Object.entries(DEFAULT_MODELS).map(([vendor, { strong }]) => [vendor, strong] as const),
  ...Object.entries(FURTHER_MODELS),
]

/**
 * The default model of a user: the strong model of the first vendor, in the order of the tables above, of which there
 * is an account. `undefined` if all accounts are of vendors whose models are not known to suit every key.
 */
export function defaultTargetOf(accounts: readonly UsableAccount[]): Target | undefined {
  for (const [vendor, model] of STRONG_MODELS) {
    const account = accounts.find(({ id }) => id === vendor) ?? accounts.find((candidate) => candidate.vendor === vendor)
    if (account) return { provider: account.id, model }
  }
  return undefined
}

/** What a user can do where there is no default model. */
export const DEFAULT_TARGET_REMEDY =
  'set OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY, XAI_API_KEY, MISTRAL_API_KEY or DEEPSEEK_API_KEY, or name a model of another provider as "provider/model"'

/** One strong model of each vendor: models of different families make more different errors (arXiv 2410.12853). */
export const DEFAULT_PANEL: readonly Target[] = [defaultModel('openai'), defaultModel('anthropic'), defaultModel('google')]

/**
 * Chooses the reviewer of a panel. Reviewers favour their own text (arXiv 2404.13076), so the reviewer is a model that
 * is not on the panel. Its provider is on the panel, because the caller must have configured that one. If no such model
 * is known, the first member of the panel reviews.
 */
export function reviewerFor(panel: readonly Target[]): Target {
  const onPanel = (candidate: Target) =>
    panel.some((member) => member.provider === candidate.provider && member.model === candidate.model)
  for (const tier of ['strong', 'second'] as const) {
    for (const provider of REVIEWER_PROVIDERS) {
      const candidate = defaultModel(provider, tier)
      if (panel.some((member) => member.provider === provider) && !onPanel(candidate)) return candidate
    }
  }
  return panel[0] ?? defaultModel('anthropic')
}

const REVIEWER_PROVIDERS: readonly DefaultProvider[] = ['anthropic', 'openai', 'google']

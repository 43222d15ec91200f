/**
 * How a model reasons. `budget`: if asked, up to a number of tokens. `budget_or_effort`: if asked, either. `effort`:
 * if asked, by effort. `effort_by_default`: unless it is turned off. `always`: it cannot be turned off.
 */
type Reasoning = 'none' | 'budget' | 'budget_or_effort' | 'effort' | 'effort_by_default' | 'always'

export interface AnthropicAbilities {
  /** Whether temperature and top_p may be sent together, only one of them, or none. */
  readonly sampling: 'both' | 'one' | 'none'
  /** Whether the model accepts a JSON Schema as `output_config.format`. */
  readonly structured: boolean
  /** Maximum number of output tokens for steps without `settings.maxTokens`, because the API requires one. */
  readonly defaultMaxTokens: number
  readonly reasoning: Reasoning
  /** Shortest prompt in tokens that the API caches. Shorter ones are not cached, without an error. */
  readonly minCachedTokens: number
  /** Kinds of files that the model reads besides text. */
  readonly files: readonly ('image' | 'pdf')[]
}

const ALL_FILES = ['image', 'pdf'] as const

/** Unknown models are treated as the newest ones, which always reason. */
const NEWEST: AnthropicAbilities = {
  sampling: 'none',
  structured: true,
  defaultMaxTokens: 8192,
  reasoning: 'always',
  minCachedTokens: 512,
  files: ALL_FILES,
}
const CLAUDE_3: AnthropicAbilities = {
  sampling: 'both',
  structured: false,
  defaultMaxTokens: 4096,
  reasoning: 'none',
  minCachedTokens: 2048,
  files: ['image'],
}
const CLAUDE_3_5: AnthropicAbilities = { ...CLAUDE_3, defaultMaxTokens: 8192, minCachedTokens: 1024, files: ALL_FILES }
const CLAUDE_4: AnthropicAbilities = { ...CLAUDE_3_5, reasoning: 'budget' }
const CLAUDE_4_5: AnthropicAbilities = { ...CLAUDE_4, sampling: 'one', structured: true }
const CLAUDE_4_7: AnthropicAbilities = { ...NEWEST, reasoning: 'effort', minCachedTokens: 2048 }

/** Other vendors implement the older version of this API, and document no caching by marks. */
const OTHER_VENDOR: AnthropicAbilities = {
  ...CLAUDE_3,
  reasoning: 'budget',
  minCachedTokens: Number.POSITIVE_INFINITY,
  files: ALL_FILES,
}

const DATE = '([-@]20\\d{6})?(-v\\d+(:\\d+)?)?(-latest)?$'

/**
 * Model families that differ from the newest models. The first match counts. Sources, all of November 2026:
 * platform.claude.com/docs: models, structured outputs, thinking, effort, prompt caching, version 2026-10-21, and
 * "What's new" of Opus 5 and Sonnet 5; the API's own answers "temperature and top_p cannot both be specified for this
 * model" and "thinking.type.enabled is not supported for this model".
 */
const MODELS: readonly (readonly [pattern: RegExp, abilities: AnthropicAbilities])[] = [
  [/^(?!claude)/, OTHER_VENDOR],
  [/^claude-(2|instant)/, { ...CLAUDE_3, minCachedTokens: Number.POSITIVE_INFINITY, files: [] }],
  [/^claude-3-(opus|sonnet|haiku)/, CLAUDE_3],
  [/^claude-3-5-haiku/, { ...CLAUDE_3_5, minCachedTokens: 2048 }],
  [/^claude-3-5/, CLAUDE_3_5],
  [/^claude-3/, CLAUDE_4],
  [new RegExp(`^claude-(opus|sonnet)-4(-0)?${DATE}`), CLAUDE_4],
  [/^claude-opus-4-1/, { ...CLAUDE_4, sampling: 'one' }],
  [/^claude-sonnet-4-5/, CLAUDE_4_5],
  [/^claude-(opus|haiku)-4-5/, { ...CLAUDE_4_5, minCachedTokens: 4096 }],
  [/^claude-sonnet-4-6/, { ...CLAUDE_4_5, reasoning: 'budget_or_effort' }],
  [/^claude-opus-4-6/, { ...CLAUDE_4_5, reasoning: 'budget_or_effort', minCachedTokens: 4096 }],
  [/^claude-opus-4-7/, CLAUDE_4_7],
  [/^claude-opus-4-8/, { ...CLAUDE_4_7, minCachedTokens: 1024 }],
  [new RegExp(`^claude-sonnet-5${DATE}`), { ...NEWEST, reasoning: 'effort_by_default', minCachedTokens: 1024 }],
  [new RegExp(`^claude-opus-5${DATE}`), { ...NEWEST, reasoning: 'effort_by_default' }],
  [/^claude-(sonnet|haiku)-5-5/, { ...NEWEST, reasoning: 'effort_by_default' }],
]

/**
 * AnthropicAbilities of a model by its name, such as `claude-opus-5`, `anthropic/claude-opus-5`,
 * `us.anthropic.claude-opus-5`.
 */
export function anthropicAbilitiesOf(model: string): AnthropicAbilities {
  const name = model.slice(model.lastIndexOf('/') + 1).replace(/^.*\banthropic\./, '')
  return MODELS.find(([pattern]) => pattern.test(name))?.[1] ?? NEWEST
}

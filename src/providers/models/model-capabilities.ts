import type { FieldNames } from '../../config/provider-settings.ts'
import type { ModelSettings } from '../../domain/execution/model-call.ts'

export interface ModelCapabilities {
  /** Settings that the model rejects or ignores. */
  readonly refuses: readonly (keyof ModelSettings)[]
  /** Whether it is a reasoning model, whose limit of output tokens is `max_completion_tokens`. */
  readonly reasoning: boolean
}

const NO_NOTES: readonly string[] = []
const NO_NAMES: FieldNames = {}
const ANY: ModelCapabilities = { refuses: [], reasoning: false }

/**
 * Settings that models reject, by name without a vendor prefix. The first match counts. Sources:
 * platform.openai.com/docs/guides/reasoning, docs.x.ai/docs/guides/reasoning,
 * api-docs.deepseek.com/guides/reasoning_model; 2026-11.
 */
const MODELS: readonly (readonly [pattern: RegExp, capabilities: ModelCapabilities])[] = [
  [/^gpt-5[^/]*-chat/, ANY],
  [/^(o[1-9](-|$)|gpt-5|codex-|computer-use)/, { refuses: ['temperature', 'topP', 'stopSequences'], reasoning: true }],
  [/-search(-preview|-api)/, { refuses: ['temperature', 'topP'], reasoning: false }],
  [/^grok.*non-reasoning/, ANY],
  [/^grok-(3-mini|[4-9]|code)/, { refuses: ['stopSequences'], reasoning: false }],
  [/^deepseek-reasoner/, { refuses: ['temperature', 'topP'], reasoning: false }],
]

/** Capabilities of a model by its name, such as `o3`, `openai/gpt-5-mini`, `ft:gpt-4o:team`. */
export function capabilitiesOf(model: string): ModelCapabilities {
  const name = model.slice(model.lastIndexOf('/') + 1).replace(/^ft:/, '')
  return MODELS.find(([pattern]) => pattern.test(name))?.[1] ?? ANY
}

/**
 * The settings that the model accepts, and a note for each one left out. `names` are the account's configured field
 * names, which take precedence.
 */
export function fitSettings(
  model: string,
  settings: ModelSettings,
  names: FieldNames = NO_NAMES,
): { readonly settings: ModelSettings; readonly notes: readonly string[] } {
  const isRefusedByName =
    names !== NO_NAMES && SETTING_NAMES.some((name) => names[name] === false && settings[name] !== undefined)
  if (
    !isRefusedByName &&
    settings.temperature === undefined &&
    settings.topP === undefined &&
    settings.stopSequences === undefined
  ) {
    return { settings, notes: NO_NOTES }
  }
  const { refuses } = capabilitiesOf(model)
  const leftOut = SETTING_NAMES.filter(
    (name) => settings[name] !== undefined && (names[name] === undefined ? refuses.includes(name) : names[name] === false),
  )
  if (leftOut.length === 0) return { settings, notes: NO_NOTES }
  const sent = Object.fromEntries(Object.entries(settings).filter(([name]) => !leftOut.some((refused) => refused === name)))
  return { settings: sent, notes: leftOut.map((name) => `${name} was left out: ${model} does not accept it`) }
}

const SETTING_NAMES = ['temperature', 'topP', 'stopSequences', 'maxTokens'] as const

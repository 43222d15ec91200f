import type { FieldNames } from '../../config/provider-settings.ts'
import type { ModelSettings, ReasoningEffort } from '../../domain/execution/model-call.ts'
import type { RequestNotes } from '../vendor/request-notes.ts'

/** A setting that an account may send under another name. */
export type NamedSetting = keyof FieldNames

export interface ModelCapabilities {
  /** Settings that the model rejects or ignores. */
  readonly refuses: readonly NamedSetting[]
  /** Whether it is a reasoning model, whose limit of output tokens is `max_completion_tokens`. */
  readonly reasoning: boolean
  /**
   * Efforts of reasoning that the model takes, in the vendor's words and from least to most. Undefined if nothing is
   * known of the model.
   */
  readonly efforts?: readonly string[]
}

const ANY: ModelCapabilities = { refuses: [], reasoning: false }
/** A model that takes everything but reasoning. */
const PLAIN: ModelCapabilities = { refuses: ['reasoning'], reasoning: false, efforts: [] }
const SAMPLING = ['temperature', 'topP', 'stopSequences'] as const

const reasoner = (...efforts: readonly string[]): ModelCapabilities => ({ refuses: SAMPLING, reasoning: true, efforts })

/**
 * What models accept, by name without a vendor prefix. The first match counts. Sources:
 * developers.openai.com/api/docs/guides/reasoning and the model pages, docs.x.ai/docs/guides/reasoning,
 * api-docs.deepseek.com/guides/thinking_mode, console.groq.com/docs/reasoning; 2026-11.
 */
const MODELS: readonly (readonly [pattern: RegExp, capabilities: ModelCapabilities])[] = [
  [/^(gpt-[56][^/]*-chat|gpt-[34]|chatgpt-4o)(?!.*-search)/, PLAIN],
  [/^o1-(mini|preview)/, { ...reasoner(), refuses: [...SAMPLING, 'reasoning', 'parallelToolCalls'] }],
  [/^o[1-9](-|$)/, { ...reasoner('low', 'medium', 'high'), refuses: [...SAMPLING, 'parallelToolCalls'] }],
  [/^gpt-5-pro/, reasoner('high')],
  [/^gpt-5[^/]*-pro/, reasoner('medium', 'high', 'xhigh')],
  [/^gpt-5-codex|^gpt-5\.1-codex(?!-max)/, reasoner('low', 'medium', 'high')],
  [/^gpt-5\.[1-9][^/]*-codex/, reasoner('low', 'medium', 'high', 'xhigh')],
  [/^gpt-5(-(?!search)|$)/, reasoner('minimal', 'low', 'medium', 'high')],
  [/^gpt-5\.1(-|$)/, reasoner('none', 'low', 'medium', 'high')],
  [/^gpt-5\.[2-5](-|$)/, reasoner('none', 'low', 'medium', 'high', 'xhigh')],
  [/^gpt-(5\.[6-9]|[6-9])(?!.*-search)/, reasoner('none', 'low', 'medium', 'high', 'xhigh', 'max')],
  [/-search(-preview|-api)/, { refuses: ['temperature', 'topP', 'reasoning'], reasoning: false, efforts: [] }],
  [/^(codex-|computer-use)/, reasoner('low', 'medium', 'high')],
  [/^gpt-oss/, { ...ANY, efforts: ['low', 'medium', 'high'] }],
  [/^grok.*non-reasoning/, PLAIN],
  [/^grok-3-mini/, { refuses: ['stopSequences'], reasoning: false, efforts: ['low', 'high'] }],
  [/^grok-(4(?!\.)|code)/, { refuses: ['stopSequences', 'reasoning'], reasoning: false, efforts: [] }],
  [/^grok-[4-9]/, { refuses: ['stopSequences'], reasoning: false }],
  [/^deepseek-reasoner/, { refuses: ['temperature', 'topP'], reasoning: false }],
  [/^gemini-/, { ...ANY, efforts: ['none', 'minimal', 'low', 'medium', 'high'] }],
  [/^claude-/, { ...ANY, efforts: ['none', 'minimal', 'low', 'medium', 'high', 'xhigh'] }],
]

/**
 * Capabilities of a model by its name, such as `o3`, `openai/gpt-5-mini`, `openai.gpt-oss-20b-1:0`, `ft:gpt-4o:team`.
 */
export function capabilitiesOf(model: string): ModelCapabilities {
  const name = model
    .slice(model.lastIndexOf('/') + 1)
    .replace(/^ft:/, '')
    .replace(/^(?:[a-z]+\.)+(?=[a-z])/, '')
  return MODELS.find(([pattern]) => pattern.test(name))?.[1] ?? ANY
}

const NAMED_SETTINGS = [
  'temperature',
  'topP',
  'stopSequences',
  'maxTokens',
  'reasoning',
  'seed',
  'parallelToolCalls',
  'cache',
] as const satisfies readonly NamedSetting[]
const NO_NAMES: FieldNames = {}

/**
 * The settings that the model accepts, with a note for each one left out. `names` are the account's configured field
 * names, which take precedence.
 */
export function fitSettings(
  model: string,
  settings: ModelSettings,
  notes: RequestNotes,
  names: FieldNames = NO_NAMES,
): ModelSettings {
  let refuses: ModelCapabilities['refuses'] | undefined
  let fitted: ModelSettings | undefined
  for (const name of NAMED_SETTINGS) {
    if (settings[name] === undefined) continue
    refuses ??= capabilitiesOf(model).refuses
    if (names[name] === undefined ? !refuses.includes(name) : names[name] !== false) continue
    // A model that cannot reason does what this setting asks for.
    if (!(name === 'reasoning' && settings.reasoning === 'none')) notes.leaveOut(name, `${model} does not accept it`)
    fitted = { ...(fitted ?? settings), [name]: undefined }
  }
  return fitted ?? settings
}

/** From least to most. `xhigh` is OpenAI's own level between ours. */
const EFFORT_ORDER: readonly string[] = ['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max']

/**
 * The effort in the words that a model takes: the same one, else the next lower, else the next higher. `none` is never
 * the lower one, because it would turn reasoning off. Undefined if the model takes none at all.
 */
export function toKnownEffort(effort: ReasoningEffort, taken: readonly string[]): string | undefined {
  if (taken.includes(effort)) return effort
  const wanted = EFFORT_ORDER.indexOf(effort)
  const others = taken.filter((word) => word !== 'none')
  return others.findLast((word) => EFFORT_ORDER.indexOf(word) < wanted) ?? others[0]
}

/**
 * Upper bounds in tokens of the efforts that budgets are mapped to, as Google maps efforts to budgets (Vertex AI,
 * 2026-11).
 */
const LOW_BUDGET = 1_024
const MEDIUM_BUDGET = 8_192

/** The effort for vendors that have no budgets in tokens. */
export const toEffortOfBudget = (maxTokens: number): ReasoningEffort =>
  maxTokens <= LOW_BUDGET ? 'low' : maxTokens <= MEDIUM_BUDGET ? 'medium' : 'high'

export type ThinkingLevel = 'MINIMAL' | 'LOW' | 'MEDIUM' | 'HIGH'

export interface GoogleAbilities {
  /** Whether the model accepts a system instruction. */
  readonly system: boolean
  /** Whether it answers in JSON by a schema, in JSON without one, or in text only. */
  readonly json: 'schema' | 'plain' | 'none'
  /** Whether a schema of the answer may stand beside tools, and tools of Google beside own ones. */
  readonly combines: boolean
  /** Bounds of its budget of thoughts in tokens, or its levels. Absent if the model's thinking cannot be set. */
  readonly thinking?: ThinkingBudget | readonly ThinkingLevel[]
}

export interface ThinkingBudget {
  readonly min: number
  readonly max: number
  /** Whether 0 turns thinking off. */
  readonly canTurnOff: boolean
}

const FOUR_LEVELS: readonly ThinkingLevel[] = ['MINIMAL', 'LOW', 'MEDIUM', 'HIGH']
const THREE_LEVELS: readonly ThinkingLevel[] = ['LOW', 'MEDIUM', 'HIGH']

const NEWEST: GoogleAbilities = { system: true, json: 'schema', combines: true, thinking: THREE_LEVELS }
const GEMINI_1: GoogleAbilities = { system: true, json: 'plain', combines: false }
const GEMINI_2_5: GoogleAbilities = { system: true, json: 'schema', combines: false }
const GEMMA: GoogleAbilities = { system: false, json: 'none', combines: false }

/**
 * Model families that differ from the newest models. The first match counts; other models are treated as newest.
 * Sources: ai.google.dev/gemini-api/docs/thinking, …/structured-output, …/function-calling, …/tool-combination, and
 * the guides of Gemini 3.5 to 3.8; November 2026.
 */
const MODELS: readonly (readonly [pattern: RegExp, abilities: GoogleAbilities])[] = [
  [/^gemma/, GEMMA],
  [/^(gemini-(1|2\.0)|learnlm)/, GEMINI_1],
  [/^gemini-2\.5-[^/]*(image|tts|audio|live)/, GEMINI_2_5],
  [/^gemini-2\.5-pro/, { ...GEMINI_2_5, thinking: { min: 128, max: 32_768, canTurnOff: false } }],
  [/^gemini-2\.5-flash-lite/, { ...GEMINI_2_5, thinking: { min: 512, max: 24_576, canTurnOff: true } }],
  [/^gemini-2\.5/, { ...GEMINI_2_5, thinking: { min: 1, max: 24_576, canTurnOff: true } }],
  [/^gemini-[^/]*(image|tts|audio|live)/, { system: true, json: 'schema', combines: true }],
  [/^gemini-3-pro/, { ...NEWEST, thinking: ['LOW', 'HIGH'] }],
  [/^gemini-(3-flash|3\.1-flash|3\.5-flash)/, { ...NEWEST, thinking: FOUR_LEVELS }],
]

/** GoogleAbilities of a model by its name, such as `gemini-3-flash`, `models/gemini-3-flash`, `tunedModels/x`. */
export function googleAbilitiesOf(model: string): GoogleAbilities {
  const name = model.slice(model.lastIndexOf('/') + 1)
  return MODELS.find(([pattern]) => pattern.test(name))?.[1] ?? NEWEST
}

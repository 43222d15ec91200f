/** What a template or condition can read of one step. */
export interface StepView {
  readonly output?: string
  /** Value of the answer read through the step's schema. */
  readonly parsed?: unknown
  readonly status: string
  readonly samples?: readonly string[]
}

export const STEP_VIEW_FIELDS: readonly string[] = ['output', 'parsed', 'status', 'samples'] satisfies (keyof StepView)[]

/**
 * The names templates and conditions are written over. Built by the conductor once per step.
 * Properties may be accessors: one that throws an OrchestratorError (DATA_SHARING_DENIED, say) ends the render with that very error.
 */
export interface PromptScope {
  /** The user's own prompt. */
  readonly original: string
  /** What `inputFrom` gives. */
  readonly input?: string
  /** Output of the nearest earlier step that succeeded. */
  readonly previous?: string
  /** By step id, latest iteration. Only own properties are seen. */
  readonly steps: Readonly<Record<string, StepView>>
  /** From 1. */
  readonly iteration: number
  readonly metadata: Readonly<Record<string, unknown>>
  /** Oldest first. */
  readonly history?: readonly { readonly role: string; readonly content: string }[]
}

/** Names of a scope, as templates and conditions write them. */
export const SCOPE_NAMES = ['original', 'input', 'previous', 'steps', 'iteration', 'metadata', 'history'] as const

/** What a template or condition reads, found without running it. */
export interface References {
  /** Ids of the steps it names. */
  readonly steps: readonly string[]
  /** Those of `steps` whose output it reads outside of every condition and default: it cannot be rendered without. */
  readonly needed: readonly string[]
  /** It reads `steps` as a whole or by a computed key, so any step may be meant. */
  readonly allSteps: boolean
  readonly original: boolean
  readonly input: boolean
  readonly previous: boolean
  readonly history: boolean
}

export const NO_REFERENCES: References = {
  steps: [],
  needed: [],
  allSteps: false,
  original: false,
  input: false,
  previous: false,
  history: false,
}

import type { Source } from '../execution/model-call.ts'

/** The fields of one step that templates and conditions can read. */
export interface StepView {
  readonly output?: string
  /** The answer as a value, parsed by the step's schema. */
  readonly parsed?: unknown
  readonly status: string
  readonly samples?: readonly string[]
  /** What came with the answer, in the vendor's order; empty if nothing did. */
  readonly sources?: readonly Source[]
}

export const STEP_VIEW_FIELDS: readonly string[] = [
  'output',
  'parsed',
  'status',
  'samples',
  'sources',
] satisfies (keyof StepView)[]

/**
 * The names that templates and conditions read. The step runner builds one scope per target, the flow runner one per
 * condition. Properties may be accessors. An OrchestratorError that one of them throws ends the rendering unchanged.
 *
 * ```
 * prompt:    Review this draft: {{ steps.draft.output | fence }}
 * condition: steps.review.parsed.score < 0.8
 * ```
 */
export interface PromptScope {
  /** The user's own prompt. */
  readonly original: string
  /** The outputs that `inputFrom` selects. */
  readonly input?: string
  /** Output of the nearest earlier step that succeeded. */
  readonly previous?: string
  /** By step id, latest iteration. Only own properties can be read. */
  readonly steps: Readonly<Record<string, StepView>>
  /** From 1. */
  readonly iteration: number
  readonly metadata: Readonly<Record<string, unknown>>
  /** Oldest first. */
  readonly history?: readonly { readonly role: string; readonly content: string }[]
}

/** The names of a scope in templates and conditions. */
export const SCOPE_NAMES = ['original', 'input', 'previous', 'steps', 'iteration', 'metadata', 'history'] as const

/** The names that a template or condition reads, found without running it. */
export interface References {
  /** Ids of the steps it names. */
  readonly steps: readonly string[]
  /**
   * The steps whose output it reads outside of every condition and default, so that it cannot be rendered without them.
   */
  readonly needed: readonly string[]
  /** Whether it reads `steps` as a whole or by a computed key, which may refer to any step. */
  readonly allSteps: boolean
  readonly original: boolean
  readonly input: boolean
  readonly previous: boolean
  readonly history: boolean
  readonly metadata: boolean
  /** Whether it reads metadata outside of every condition and default. */
  readonly needsMetadata: boolean
}

export const NO_REFERENCES: References = {
  steps: [],
  needed: [],
  allSteps: false,
  original: false,
  input: false,
  previous: false,
  history: false,
  metadata: false,
  needsMetadata: false,
}

import type { StepResult } from '../execution/step-result.ts'
import type { Message } from '../users/thread.ts'

/**
 * The argument of prompt and condition functions. An output that the provider may not see throws DATA_SHARING_DENIED
 * when a prompt function reads it.
 */
export interface StepContext {
  readonly flowId: string
  /** The user who runs the flow. */
  readonly userId?: string
  readonly stepId: string
  /** Position in the definition, from 0. */
  readonly stepIndex: number
  readonly iteration: number
  readonly originalPrompt: string
  /** Output of the nearest earlier step that succeeded; a skipped step never changes it. */
  readonly previousStepOutput?: string
  /** By step id, latest iteration. */
  readonly previousStepOutputs: Readonly<Record<string, string>>
  readonly allStepResults: readonly StepResult[]
  readonly threadHistory: readonly Message[]
  readonly metadata: Readonly<Record<string, unknown>>
}

/**
 * Data that users store and read back. It has the unchecked type of `JSON.parse`, so that a prompt function may write
 * `context.metadata.reader.name` without a cast. Only types for users have it; internally, metadata is `unknown`.
 */
type OwnData = ReturnType<typeof JSON.parse>

/**
 * The argument of prompt and condition functions as users see it, exported as `StepContext`. `previousStepOutput` is
 * typed as present, because most steps have a step before them. A function of the first step, or of a step before which
 * no step succeeded, must write `previousStepOutput?.` or `?? ''`. Lists and records are typed as writable, so that
 * they can be passed to functions for plain arrays.
 */
export interface GivenStepContext extends StepContext {
  readonly previousStepOutput: string
  readonly previousStepOutputs: Record<string, string>
  readonly allStepResults: StepResult[]
  readonly threadHistory: Message[]
  /** `metadata` of `executeFlow`. */
  readonly metadata: Record<string, OwnData>
}

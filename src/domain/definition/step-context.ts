import type { StepResult } from '../execution/step-result.ts'
import type { Message } from '../users/thread.ts'

/** What prompts and conditions see (S4-89 to S4-97). Outputs a provider may not see throw DATA_SHARING_DENIED when a prompt reads them. */
export interface StepContext {
  readonly flowId: string
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
 * What a user put in and reads back in the shape of their own. The type is that of `JSON.parse`, the one place where the language itself
 * hands out data that nothing has checked: a prompt may write `context.metadata.reader.name` without a cast. Only types that users read
 * use it; inside, metadata is `unknown`.
 */
type OwnData = ReturnType<typeof JSON.parse>

/**
 * What a prompt or a condition written as a function is given, under the name `StepContext` in the package. `previousStepOutput` is typed
 * as present, since most steps have a step before them; a function of the first step, or of one before which nothing succeeded, must write
 * `previousStepOutput?.` or `?? ''`. Lists and records are typed as writable, so that they go into functions that were written for plain arrays.
 */
export interface GivenStepContext extends StepContext {
  readonly previousStepOutput: string
  readonly previousStepOutputs: Record<string, string>
  readonly allStepResults: StepResult[]
  readonly threadHistory: Message[]
  /** `metadata` of `executeFlow`. */
  readonly metadata: Record<string, OwnData>
}

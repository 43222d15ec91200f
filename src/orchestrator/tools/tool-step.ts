import type { FilePart } from '../../domain/execution/model-call.ts'
import type { StepTask } from '../steps/step-inputs.ts'
import type { StepOutcomeDraft } from '../steps/step-record.ts'
import type { ToolSet } from './tool-set.ts'
import type { TurnRecord } from './turn-record.ts'

/** The step whose model calls tools. */
export interface ToolStep {
  readonly task: StepTask
  readonly sample: number
  readonly draft: StepOutcomeDraft
  readonly abort: AbortController
  readonly set: ToolSet
  readonly record: TurnRecord
  /** Tokens of a text for the model that reads the results. */
  readonly countTokens: (text: string) => Promise<number> | number
  /** Upper estimate of the tokens of a file for that model. */
  readonly fileTokens: (file: Pick<FilePart, 'mediaType' | 'byteLength'>) => number
  /** Milliseconds until the step must have ended. */
  readonly remainingMs: () => number
  /** Does not count the time of the work, in which a user decides, and leaves the slot of the step meanwhile. */
  readonly waiting: (work: () => Promise<void>) => Promise<void>
}

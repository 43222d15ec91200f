import type { FlowStep } from '../../domain/definition/flow-definition.ts'
import type { StepContext } from '../../domain/definition/step-context.ts'
import { callerMetadata } from '../../domain/execution/request-instructions.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { Message } from '../../domain/users/thread.ts'
import type { FlowExecution } from '../flow-run.ts'

export interface StepContextOptions {
  readonly run: FlowExecution
  readonly step: FlowStep
  readonly iteration: number
  /** Results the step may see, in definition order. */
  readonly visible: readonly StepResult[]
  readonly history: readonly Message[]
  /**
   * Returns the result with the output that may be shown; may throw DATA_SHARING_DENIED. Default: the result unchanged.
   */
  readonly reveal?: (result: StepResult) => StepResult
  /** Called before the user's prompt is read. */
  readonly onOriginal?: () => void
  /** Called before metadata is read; may throw DATA_SHARING_DENIED. */
  readonly onMetadata?: () => void
}

/**
 * The argument of prompt and condition functions. Outputs are accessors, so that sharing is decided when one is read.
 */
export function createStepContext(options: StepContextOptions): StepContext {
  const { run, step, iteration, visible, history, reveal, onOriginal, onMetadata } = options
  const shown = reveal ? visible.map((result) => guarded(result, reveal)) : visible
  const previous = shown.findLast((result) => result.status === 'SUCCESS')
  const outputs: Record<string, string> = {}
  for (const result of shown) {
    if (result.status !== 'SUCCESS') continue
    Object.defineProperty(outputs, result.stepId, { enumerable: true, configurable: true, get: () => result.output })
  }
  return {
    flowId: run.flowId,
    userId: run.userId,
    stepId: step.id,
    stepIndex: run.definition.steps.indexOf(step),
    iteration,
    get originalPrompt() {
      onOriginal?.()
      return run.input
    },
    get previousStepOutput() {
      return previous?.output
    },
    previousStepOutputs: outputs,
    allStepResults: shown,
    threadHistory: history,
    get metadata() {
      onMetadata?.()
      return reveal ? callerMetadata(run.options.metadata) : run.options.metadata
    },
  }
}

function guarded(result: StepResult, reveal: (result: StepResult) => StepResult): StepResult {
  const read = <Key extends 'output' | 'parsed' | 'samples' | 'refusal' | 'sources' | 'files' | 'toolCalls'>(key: Key) => ({
    enumerable: true,
    get: () => reveal(result)[key],
  })
  const accessors = {
    output: read('output'),
    parsed: read('parsed'),
    samples: read('samples'),
    refusal: read('refusal'),
    sources: read('sources'),
    files: read('files'),
    toolCalls: read('toolCalls'),
  }
  // Reasoning is never passed to another model.
  return Object.defineProperties({ ...result, reasoning: undefined }, accessors)
}

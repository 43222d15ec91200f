import type * as z from 'zod'
import type { CancellationToken } from '../async/cancellation-token.ts'
import type { AnswerStep } from '../domain/answers/answer-text.ts'
import type { DefinitionProblem, FlowDefinition, FlowStep } from '../domain/definition/flow-definition.ts'
import type { StepResult } from '../domain/execution/step-result.ts'
import type { FlowType, StopReason } from '../domain/vocabulary.ts'

/** Runs work when one of a limited number of slots is free, and settles as the work does. */
export type Limiter = <Result>(work: () => Result | PromiseLike<Result>) => Promise<Result>

/** Options of one run of one step. */
export interface RunStepOptions {
  /** Address of this run within the flow, where the step runs for several items or in a sub-flow; default its id. */
  readonly path?: string
  /** From 1; default 1. */
  readonly iteration?: number
  /** Results whose outputs are the step's input, in place of those that `inputFrom` selects. Set by loops. */
  readonly input?: readonly StepResult[]
  /**
   * Results that the step may see, in definition order, iterations of a loop oldest first. Must not depend on timing,
   * so that a resumed flow sees the same.
   */
  readonly visible: readonly StepResult[]
  /**
   * `ask`: the step requests a typed verdict, with one repair call where it cannot be read. `read`: a verdict is read
   * from the answer if there is one, and nothing is requested. The result holds the verdict as `parsed`, for `scoreOf`
   * and `isApproved`; without a readable verdict `parsed` is undefined and the step still succeeds.
   */
  readonly verdict?: 'ask' | 'read'
  /** Cancels this step alone, as when a sibling failed. The step then ends as CANCELLED. */
  readonly cancellation?: CancellationToken
  /** Limits concurrency: each call of the step, and each of its samples, waits for a slot. */
  readonly limit?: Limiter
}

/** The operations of one execution of one flow that an executor may use. Implemented by createFlowRunner. */
export interface ExecutorContext {
  /**
   * Runs a step, or returns the SUCCESS result of an earlier execution without a call. Resolves with SUCCESS, with
   * FAILED for the step's own failure, or with CANCELLED when `options.cancellation` ended it. Rejects when the flow as
   * a whole must end: FLOW_CANCELLED, FLOW_TIMEOUT, FLOW_INTERRUPTED.
   */
  runStep(step: FlowStep, options: RunStepOptions): Promise<StepResult>
  /** Records a step as SKIPPED in the given iteration, default 1, and resolves with that result. */
  skipStep(step: FlowStep, reason: string, iteration?: number): Promise<StepResult>
  /**
   * Whether the step's condition holds; true for a step without one. Rejects with STEP_FAILED (`details.path`) when the
   * condition itself fails.
   */
  conditionHolds(step: FlowStep, visible: readonly StepResult[], iteration?: number): Promise<boolean>
}

export interface ExecutorResult {
  /** The result whose output is the flow's output. Its text is stored only once. */
  readonly final?: StepResult
  /** The output, where it is joined from several steps. */
  readonly output?: string
  readonly stopReason?: StopReason
}

/** Minimum and maximum number of calls of a step, for the cost range of checkFlow. */
export interface CallRange {
  readonly stepId: string
  /** Minimum number of calls if no step of the flow fails. */
  readonly min: number
  readonly max: number
}

/**
 * Decides which steps of one flow type run, in which order and with which inputs. Must depend only on the definition
 * and the results it gets, without a clock or randomness, so that a resumed flow replays to the point where it stopped.
 *
 * ```ts
 * import type { StepResult } from '../domain/execution/step-result.ts'
 * import type { Executor } from './executor.ts'
 *
 * // The flow type in which every step runs once, in order, and sees all results before it.
 * const executor: Executor = {
 *   type: 'sequential',
 *   calls: ({ steps }) => steps.map(({ id }) => ({ stepId: id, min: 1, max: 1 })),
 *   async run({ steps }, context) {
 *     const visible: StepResult[] = []
 *     for (const step of steps) visible.push(await context.runStep(step, { visible: [...visible] }))
 *     return { final: visible.at(-1) }
 *   },
 * }
 * ```
 */
export interface Executor {
  readonly type: FlowType
  /** Schema of the definition's settings block, which has the name of the type; absent if the type has no settings. */
  readonly settings?: z.ZodType
  /** Name of the settings block, where it differs from the type. */
  readonly settingsKey?: string
  /** Problems of a definition that only this type has. Called by the parser after its general checks. */
  check?(definition: FlowDefinition): readonly DefinitionProblem[]
  /** Whether steps start when the steps that they name have settled, and have no predecessor by position alone. */
  readonly noImplicitPredecessor?: boolean
  /** Whether prompts and conditions may name later steps, because a loop returns to them. */
  readonly forwardReferences?: boolean
  /** One range per step, in definition order. */
  calls(definition: FlowDefinition): readonly CallRange[]
  /**
   * Runs of steps whose output is certainly the flow's output if they succeed, so that their text may be streamed as
   * the answer. Must leave out each run after which another output may still be chosen. Absent if the answer is known
   * only at the end.
   */
  answers?(definition: FlowDefinition): readonly AnswerStep[]
  /**
   * Ids of the steps that run once per iteration of a loop, in definition order; absent if no step runs more than once.
   */
  loop?(definition: FlowDefinition): readonly string[]
  /** Ids of the steps that are asked for a typed verdict (`RunStepOptions.verdict`); absent if none is. */
  verdicts?(definition: FlowDefinition): readonly string[]
  /**
   * Outputs that the executor passes to steps as `RunStepOptions.input`, in place of those that their definitions name.
   */
  implicitInputs?(definition: FlowDefinition): readonly { readonly from: string; readonly to: string }[]
  /**
   * For each step id, the steps that may have written the latest output that the step sees, likeliest first. Without an
   * entry for a step these are the nearest steps before it in the definition. Read by checkFlow and the preflight.
   */
  nearest?(definition: FlowDefinition): ReadonlyMap<string, readonly string[]>
  /** Runs the flow. Resolves when no step is left to run; rejects with the OrchestratorError that ends the flow. */
  run(definition: FlowDefinition, context: ExecutorContext): Promise<ExecutorResult>
}

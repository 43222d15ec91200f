import type * as z from 'zod'
import type { CancellationToken } from '../async/cancellation-token.ts'
import type { DefinitionProblem, FlowDefinition, FlowStep } from '../domain/definition/flow-definition.ts'
import type { StepResult } from '../domain/execution/step-result.ts'
import type { FlowType, StopReason } from '../domain/vocabulary.ts'

/** Runs work when one of a limited number of slots is free, and resolves or rejects with it. */
export type Limiter = <Result>(work: () => Result | PromiseLike<Result>) => Promise<Result>

/** Options of one run of one step. */
export interface RunStepOptions {
  /** From 1; default 1. */
  readonly iteration?: number
  /** Replaces what `inputFrom` would give: results whose outputs are the step's input. */
  readonly input?: readonly StepResult[]
  /** Results the step may see, in definition order, loops oldest first. Must not depend on timing. */
  readonly visible: readonly StepResult[]
  /**
   * `ask`: request a typed verdict, repair it once, and put it into `parsed`. `read`: take one from the answer if it is there, asking for nothing.
   * An unreadable verdict leaves `parsed` undefined, and the step succeeds.
   */
  readonly verdict?: 'ask' | 'read'
  /** Ends this step only: a failed sibling. */
  readonly cancellation?: CancellationToken
  /** Each call of the step, every sample by itself, waits for a slot of it. */
  readonly limit?: Limiter
}

/** What the conductor lends to an executor for one run of one flow. */
export interface ExecutorContext {
  /**
   * Runs a step, or returns its recorded result without a call when a former run of the flow left one with SUCCESS.
   * Resolves with SUCCESS, with FAILED for the step's own failure, or with CANCELLED when its `stop` ended it.
   * Rejects when the flow as a whole must end: cancel, flow timeout, lost ownership.
   */
  runStep(step: FlowStep, options: RunStepOptions): Promise<StepResult>
  /** Records a step as SKIPPED, in the iteration given; default 1. */
  skipStep(step: FlowStep, reason: string, iteration?: number): Promise<StepResult>
  /** True when the step has no condition or it holds. Rejects with STEP_FAILED (`details.path`) when the condition itself fails. */
  conditionHolds(step: FlowStep, visible: readonly StepResult[], iteration?: number): Promise<boolean>
}

export interface ExecutorResult {
  /** Result whose output is the flow's output, so that its text is stored once. */
  readonly final?: StepResult
  /** The output, where it is no single step's: aggregated branches. */
  readonly output?: string
  readonly stopReason?: StopReason
}

/** One run of one step. */
export interface AnswerStep {
  readonly stepId: string
  readonly iteration: number
}

/** How often a step may be called, for checkFlow's cost range. */
export interface CallRange {
  readonly stepId: string
  /** In a flow in which no step fails. */
  readonly min: number
  readonly max: number
}

/**
 * Walks the steps of one flow type. Must be deterministic over the results it gets, so that a resumed flow replays to the point where it stopped.
 * Knows no vendor, no table, no clock.
 */
export interface Executor {
  readonly type: FlowType
  /** Schema of the definition's block named as the type; absent: the type has no settings. */
  readonly settings?: z.ZodType
  /** Name of the block in the definition, where it is not the type itself. */
  readonly settingsKey?: string
  /** What is wrong with the definition for this type, beyond the general rules. */
  check?(definition: FlowDefinition): readonly DefinitionProblem[]
  /** No step has a predecessor by its position alone: only what it names comes before it. */
  readonly noImplicitPredecessor?: boolean
  /** Steps may name later ones in prompts: a loop comes back to them. */
  readonly forwardReferences?: boolean
  /** One range per step, in definition order. */
  calls(definition: FlowDefinition): readonly CallRange[]
  /**
   * The runs whose output is the flow's output whenever they take place and succeed, so that a client may be shown their text as it is written.
   * Must leave out every run after which another output may still be chosen. Absent: known only at the end.
   */
  answers?(definition: FlowDefinition): readonly AnswerStep[]
  /** Ids of the steps that take turns in a loop, in definition order; absent: no step runs more than once. */
  loop?(definition: FlowDefinition): readonly string[]
  /** Outputs that a loop hands from step to step by itself, beyond what prompts name. */
  implicitInputs?(definition: FlowDefinition): readonly { readonly from: string; readonly to: string }[]
  /**
   * Per step id, the steps of which one may have written the latest output that the step sees, likeliest first. Absent, or without an entry for
   * a step: those nearest before it in the definition.
   */
  nearest?(definition: FlowDefinition): ReadonlyMap<string, readonly string[]>
  /** Resolves when the flow is done; rejects with the OrchestratorError that ends it. */
  run(definition: FlowDefinition, context: ExecutorContext): Promise<ExecutorResult>
}

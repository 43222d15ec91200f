import pLimit from 'p-limit'
import * as z from 'zod'
import { CancellationToken } from '../async/cancellation-token.ts'
import type { AnswerStep } from '../domain/answers/answer-text.ts'
import type { DefinitionProblem, FlowDefinition, FlowStep } from '../domain/definition/flow-definition.ts'
import type { StepResult } from '../domain/execution/step-result.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { continuesAfterFailure, missingInput, type StepPlan, skippableSteps, stepPlans } from '../prompts/step-plan.ts'
import type { CallRange, Executor, ExecutorContext, ExecutorResult, Limiter } from './executor.ts'
import { failureOf, lastOf, succeeded } from './step-outcome.ts'

export const parallelSettings = z.strictObject({
  /** Maximum number of steps that run at once; each sample counts as one. Default: all that are ready. */
  maxConcurrency: z.number().int().positive().optional(),
  /**
   * Effect of a failed step anywhere in the graph; default `fail`, or `continue` where minSuccesses is given. With
   * `continue`, steps whose inputs have all failed are skipped and all others run; the flow completes when at least one
   * of its last steps has an output.
   */
  onFailure: z.enum(['fail', 'continue']).optional(),
  /** Number of branches (steps that wait for no other) that must succeed; default 1 with `continue`. */
  minSuccesses: z.number().int().min(0).optional(),
})

declare module '../domain/definition/flow-definition.ts' {
  interface FlowTypeSettings {
    parallel: z.input<typeof parallelSettings>
  }
}

function calls(definition: FlowDefinition): readonly CallRange[] {
  const skippable = skippableSteps(definition)
  return definition.steps.map(({ id }) => ({ stepId: id, min: skippable.has(id) ? 0 : 1, max: 1 }))
}

/** Starts all steps that wait for no other, and each other step when the steps that it waits for have settled. */
export const parallelExecutor: Executor = {
  type: 'parallel',
  noImplicitPredecessor: true,
  settings: parallelSettings,
  check: checkMinSuccesses,
  calls,
  answers,
  run: runGraph,
}

/** The same scheduler under the name of its general use. Its settings are the `parallel` block. */
export const graphExecutor: Executor = {
  type: 'graph',
  noImplicitPredecessor: true,
  settings: parallelSettings,
  settingsKey: 'parallel',
  check: checkMinSuccesses,
  calls,
  answers,
  run: runGraph,
}

/** Without this check a flow with fewer branches than minSuccesses would pay for all its steps and then fail. */
function checkMinSuccesses(definition: FlowDefinition): readonly DefinitionProblem[] {
  const { minSuccesses = 0 } = definition.parallel ?? {}
  const branches = branchesOf(definition, stepPlans(definition)).length
  if (minSuccesses <= branches) return []
  const message = `expected at most ${branches}, the number of branches (steps that wait for no other), found ${minSuccesses}`
  return [{ path: 'parallel.minSuccesses', message }]
}

/**
 * The only last step. With several, the output is joined from them. A branch that may fail without ending the flow is
 * left out, because its streamed text could differ from the final output.
 */
function answers(definition: FlowDefinition): readonly AnswerStep[] {
  const plans = stepPlans(definition)
  const [end, ...others] = openEnds(definition, plans)
  if (!end || others.length > 0) return []
  const isBranch = plans.get(end.id)?.waitsFor.size === 0
  return isBranch && continuesAfterFailure(definition) ? [] : lastOf([end])
}

async function runGraph(definition: FlowDefinition, context: ExecutorContext): Promise<ExecutorResult> {
  const settings = definition.parallel ?? {}
  const plans = stepPlans(definition)
  const results = await new GraphRun(definition, context, plans, {
    limit: settings.maxConcurrency === undefined ? undefined : pLimit(settings.maxConcurrency),
    tolerant: continuesAfterFailure(definition),
    minSuccesses: settings.minSuccesses ?? 1,
  }).run()
  return aggregate(definition, plans, results)
}

interface GraphSettings {
  readonly limit: Limiter | undefined
  readonly tolerant: boolean
  readonly minSuccesses: number
}

/** One run of the graph: starts steps that are ready, in definition order, until none is left or a failure stops it. */
class GraphRun {
  readonly #definition: FlowDefinition
  readonly #context: ExecutorContext
  readonly #plans: ReadonlyMap<string, StepPlan>
  readonly #settings: GraphSettings
  readonly #results = new Map<string, StepResult>()
  readonly #waiting: FlowStep[]
  readonly #siblings = new CancellationToken()
  #running = 0
  #failure: unknown
  #done: () => void = () => {}

  constructor(
    definition: FlowDefinition,
    context: ExecutorContext,
    plans: ReadonlyMap<string, StepPlan>,
    settings: GraphSettings,
  ) {
    this.#definition = definition
    this.#context = context
    this.#plans = plans
    this.#settings = settings
    this.#waiting = [...definition.steps]
  }

  async run(): Promise<ReadonlyMap<string, StepResult>> {
    await new Promise<void>((resolve) => {
      this.#done = resolve
      this.#startReady()
    })
    if (this.#failure !== undefined) throw this.#failure
    const [lost] = this.#failures()
    const ends = openEnds(this.#definition, this.#plans)
    // Failures are tolerated only for the sake of an output. Where no last step has one, the first failure ends the
    // flow.
    if (lost && !ends.some(({ id }) => succeeded(this.#results.get(id)))) throw this.#failureOf(lost)
    return this.#results
  }

  #startReady(): void {
    for (let index = 0; index < this.#waiting.length && this.#failure === undefined; ) {
      const step = this.#waiting[index]
      if (step && this.#settled(step)) {
        this.#waiting.splice(index, 1)
        this.#running++
        void this.#drive(step)
      } else index++
    }
    if (this.#running === 0) this.#done()
  }

  async #drive(step: FlowStep): Promise<void> {
    try {
      const result = await this.#runOne(step)
      this.#results.set(step.id, result)
      if (result.status === 'FAILED' && !step.optional) this.#onFailure(step, result)
    } catch (error) {
      this.#stop(error)
    } finally {
      this.#running--
      this.#startReady()
    }
  }

  async #runOne(step: FlowStep): Promise<StepResult> {
    const visible = this.#visible(step)
    const missing = missingInput(this.#of(step), (id) => this.#results.get(id))
    if (missing !== undefined) return this.#context.skipStep(step, missing)
    if (step.condition !== undefined && !(await this.#context.conditionHolds(step, visible))) {
      return this.#context.skipStep(step, 'condition')
    }
    return this.#context.runStep(step, { visible, cancellation: this.#siblings, limit: this.#settings.limit })
  }

  #onFailure(step: FlowStep, result: StepResult): void {
    if (!this.#settings.tolerant) {
      this.#stop(failureOf(result))
      return
    }
    if (this.#of(step).waitsFor.size > 0) return
    const branches = branchesOf(this.#definition, this.#plans)
    const lost = branches.filter((branch) => {
      const outcome = this.#results.get(branch.id)
      return outcome !== undefined && outcome.status !== 'SUCCESS'
    })
    if (branches.length - lost.length < this.#settings.minSuccesses) this.#stop(this.#failureOf(result))
  }

  /** Results of steps that failed and are not optional, in definition order. */
  #failures(): readonly StepResult[] {
    return this.#definition.steps.flatMap(({ id, optional }) => {
      const result = this.#results.get(id)
      return result?.status === 'FAILED' && !optional ? [result] : []
    })
  }

  /** The failure that ends the flow; its message and details name all failures. */
  #failureOf(result: StepResult): OrchestratorError {
    const failure = failureOf(result)
    const failed = this.#failures()
    if (failed.length < 2) return failure
    const failures = failed.map(({ stepId, error }) => ({ stepId, code: error?.code, message: error?.message }))
    const named = failures.map(({ stepId, code }) => `"${stepId}" (${code})`).join(', ')
    const message = `${failure.message} Too few steps had an answer; failed: ${named}`
    return new OrchestratorError(failure.code, message, {
      details: { ...failure.details, failures },
      retryable: failure.retryable,
    })
  }

  #stop(error: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure = error ?? new OrchestratorError('INTERNAL', 'A step ended without a reason')
    this.#siblings.cancel(this.#failure)
  }

  #settled(step: FlowStep): boolean {
    for (const id of this.#of(step).waitsFor) if (!this.#results.has(id)) return false
    return true
  }

  #visible(step: FlowStep): readonly StepResult[] {
    const { ancestors } = this.#of(step)
    if (ancestors.size === 0) return []
    return this.#definition.steps.flatMap((candidate) =>
      ancestors.has(candidate.id) ? (this.#results.get(candidate.id) ?? []) : [],
    )
  }

  #of(step: FlowStep): StepPlan {
    const plans = this.#plans.get(step.id)
    if (!plans) throw new OrchestratorError('STEP_NOT_FOUND', `No step "${step.id}" in the graph`)
    return plans
  }
}

/** Steps that wait for no other. */
const branchesOf = ({ steps }: FlowDefinition, plans: ReadonlyMap<string, StepPlan>): readonly FlowStep[] =>
  steps.filter(({ id }) => plans.get(id)?.waitsFor.size === 0)

/** Steps that nothing waits for. */
function openEnds(definition: FlowDefinition, plans: ReadonlyMap<string, StepPlan>): readonly FlowStep[] {
  const awaited = new Set([...plans.values()].flatMap((entry) => [...entry.waitsFor]))
  return definition.steps.filter((step) => !awaited.has(step.id))
}

/** Output of the graph: that of its last step, or of several last steps, each under the id of its step. */
function aggregate(
  definition: FlowDefinition,
  plans: ReadonlyMap<string, StepPlan>,
  results: ReadonlyMap<string, StepResult>,
): ExecutorResult {
  const successes = definition.steps.filter(({ id }) => succeeded(results.get(id)))
  const ends = openEnds(definition, plans).filter((end) => successes.includes(end))
  const last = (ends.length > 0 ? ends : lastOfPath(successes, plans)).map(({ id }) => results.get(id)).filter(succeeded)
  const [first] = last
  if (first && last.length === 1) return { final: first }
  return { output: last.map((result) => `## ${result.stepId}\n\n${result.output ?? ''}`).join('\n\n') }
}

/**
 * Successful steps that no other successful step waits for: where all last steps were skipped, their outputs are the
 * answer.
 */
function lastOfPath(successes: readonly FlowStep[], plans: ReadonlyMap<string, StepPlan>): readonly FlowStep[] {
  const awaited = new Set(successes.flatMap(({ id }) => [...(plans.get(id)?.waitsFor ?? [])]))
  return successes.filter(({ id }) => !awaited.has(id))
}

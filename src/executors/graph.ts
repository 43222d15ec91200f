import * as z from 'zod'
import type { FlowDefinition, FlowStep } from '../domain/flow-definition.ts'
import type { StepResult } from '../domain/step-result.ts'
import { Stop } from '../domain/stop.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { type StepDependencies, stepDependencies } from '../prompts/step-dependencies.ts'
import type { AnswerStep, CallRange, Executor, ExecutorContext, ExecutorResult } from './executor.ts'
import { failureOf, lastOf, succeeded } from './step-outcome.ts'

export const parallelSettings = z.strictObject({
  /** Steps under way at once; default: all that are ready. */
  maxConcurrency: z.number().int().positive().optional(),
  /** What a failed branch does; default `fail`, or `continue` where minSuccesses is given. */
  onFailure: z.enum(['fail', 'continue']).optional(),
  /** Branches (steps that wait for nothing) that must succeed; default 1 with `continue`. */
  minSuccesses: z.number().int().min(0).optional(),
})

declare module '../domain/flow-definition.ts' {
  interface FlowTypeSettings {
    parallel: z.input<typeof parallelSettings>
  }
}

/** A step may be left out where it has a condition, and where it needs the output of one that may be left out. */
function calls(definition: FlowDefinition): readonly CallRange[] {
  const dependencies = stepDependencies(definition)
  const certain = new Set<string>()
  return definition.steps.map((step) => {
    const needs = [...(dependencies.get(step.id)?.needs ?? [])]
    const runs = step.condition === undefined && needs.every((id) => certain.has(id))
    if (runs) certain.add(step.id)
    return { stepId: step.id, min: runs ? 1 : 0, max: 1 }
  })
}

/** Steps that wait for nothing start together; others when what they wait for has settled. */
export const parallelExecutor: Executor = {
  type: 'parallel',
  unordered: true,
  settings: parallelSettings,
  calls,
  answers,
  run: runGraph,
}

/** The same scheduler, with the dependencies written out. Takes the `parallel` block. */
export const graphExecutor: Executor = {
  type: 'graph',
  unordered: true,
  settings: parallelSettings,
  settingsKey: 'parallel',
  calls,
  answers,
  run: runGraph,
}

/** The only end. Of several the output is put together; one that may fail without ending the flow may have said something else before. */
function answers(definition: FlowDefinition): readonly AnswerStep[] {
  const dependencies = stepDependencies(definition)
  const [end, ...others] = openEnds(definition, dependencies)
  if (!end || others.length > 0) return []
  const isBranch = dependencies.get(end.id)?.waitsFor.size === 0
  return isBranch && isTolerant(definition) ? [] : lastOf([end])
}

async function runGraph(definition: FlowDefinition, context: ExecutorContext): Promise<ExecutorResult> {
  const settings = definition.parallel ?? {}
  const dependencies = stepDependencies(definition)
  const results = await new GraphRun(definition, context, dependencies, {
    maxConcurrency: settings.maxConcurrency ?? Number.POSITIVE_INFINITY,
    tolerant: isTolerant(definition),
    minSuccesses: settings.minSuccesses ?? 1,
  }).run()
  return aggregate(definition, dependencies, results)
}

function isTolerant({ parallel: { onFailure, minSuccesses } = {} }: FlowDefinition): boolean {
  return (onFailure ?? (minSuccesses === undefined ? 'fail' : 'continue')) === 'continue'
}

interface GraphSettings {
  readonly maxConcurrency: number
  readonly tolerant: boolean
  readonly minSuccesses: number
}

/** One walk over the graph: starts what is ready, in definition order, until nothing is left or a failure stops it. */
class GraphRun {
  readonly #definition: FlowDefinition
  readonly #context: ExecutorContext
  readonly #dependencies: ReadonlyMap<string, StepDependencies>
  readonly #settings: GraphSettings
  readonly #results = new Map<string, StepResult>()
  readonly #waiting: FlowStep[]
  readonly #siblings = new Stop()
  #underWay = 0
  #failure: unknown
  #done: () => void = () => {}

  constructor(
    definition: FlowDefinition,
    context: ExecutorContext,
    dependencies: ReadonlyMap<string, StepDependencies>,
    settings: GraphSettings,
  ) {
    this.#definition = definition
    this.#context = context
    this.#dependencies = dependencies
    this.#settings = settings
    this.#waiting = [...definition.steps]
  }

  async run(): Promise<ReadonlyMap<string, StepResult>> {
    await new Promise<void>((resolve) => {
      this.#done = resolve
      this.#startReady()
    })
    if (this.#failure !== undefined) throw this.#failure
    return this.#results
  }

  #startReady(): void {
    for (let index = 0; index < this.#waiting.length && this.#failure === undefined; ) {
      const step = this.#waiting[index]
      if (this.#underWay >= this.#settings.maxConcurrency) break
      if (step && this.#settled(step)) {
        this.#waiting.splice(index, 1)
        this.#underWay++
        void this.#drive(step)
      } else index++
    }
    if (this.#underWay === 0) this.#done()
  }

  async #drive(step: FlowStep): Promise<void> {
    try {
      const result = await this.#runOne(step)
      this.#results.set(step.id, result)
      if (result.status === 'FAILED' && !step.optional) this.#failed(step, result)
    } catch (error) {
      this.#stop(error)
    } finally {
      this.#underWay--
      this.#startReady()
    }
  }

  async #runOne(step: FlowStep): Promise<StepResult> {
    const visible = this.#visible(step)
    const missing = this.#missing(step)
    if (missing) return this.#context.skipStep(step, `step "${missing}" gave no output`)
    if (step.condition !== undefined && !(await this.#context.conditionHolds(step, visible))) {
      return this.#context.skipStep(step, 'condition')
    }
    return this.#context.runStep(step, { visible, stop: this.#siblings })
  }

  #failed(step: FlowStep, result: StepResult): void {
    const isBranch = this.#of(step).waitsFor.size === 0
    if (!this.#settings.tolerant || !isBranch) {
      this.#stop(failureOf(result))
      return
    }
    const branches = this.#definition.steps.filter((candidate) => this.#of(candidate).waitsFor.size === 0)
    const lost = branches.filter((branch) => {
      const outcome = this.#results.get(branch.id)
      return outcome !== undefined && outcome.status !== 'SUCCESS'
    })
    if (branches.length - lost.length < this.#settings.minSuccesses) this.#stop(failureOf(result))
  }

  #stop(error: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure = error ?? new OrchestratorError('INTERNAL', 'A step ended without a reason')
    this.#siblings.stop(this.#failure)
  }

  #settled(step: FlowStep): boolean {
    for (const id of this.#of(step).waitsFor) if (!this.#results.has(id)) return false
    return true
  }

  /** The first step whose output this one cannot do without, and that has none. */
  #missing(step: FlowStep): string | undefined {
    const { needs, follows } = this.#of(step)
    for (const id of needs) if (!succeeded(this.#results.get(id))) return id
    for (const id of follows) {
      const result = this.#results.get(id)
      if (result?.status === 'FAILED' && !this.#definition.steps.find((candidate) => candidate.id === id)?.optional) return id
    }
    return undefined
  }

  #visible(step: FlowStep): readonly StepResult[] {
    const { ancestors } = this.#of(step)
    if (ancestors.size === 0) return []
    return this.#definition.steps.flatMap((candidate) =>
      ancestors.has(candidate.id) ? (this.#results.get(candidate.id) ?? []) : [],
    )
  }

  #of(step: FlowStep): StepDependencies {
    const dependencies = this.#dependencies.get(step.id)
    if (!dependencies) throw new OrchestratorError('STEP_NOT_FOUND', `No step "${step.id}" in the graph`)
    return dependencies
  }
}

/** Steps that nothing waits for. */
function openEnds(definition: FlowDefinition, dependencies: ReadonlyMap<string, StepDependencies>): readonly FlowStep[] {
  const awaited = new Set([...dependencies.values()].flatMap((entry) => [...entry.waitsFor]))
  return definition.steps.filter((step) => !awaited.has(step.id))
}

/** Output of the graph: its last step where there is one, else every open end under its step's id. */
function aggregate(
  definition: FlowDefinition,
  dependencies: ReadonlyMap<string, StepDependencies>,
  results: ReadonlyMap<string, StepResult>,
): ExecutorResult {
  const ends = openEnds(definition, dependencies)
    .map((step) => results.get(step.id))
    .filter(succeeded)
  const [first] = ends
  if (first && ends.length === 1) return { final: first }
  return { output: ends.map((result) => `## ${result.stepId}\n\n${result.output ?? ''}`).join('\n\n') }
}

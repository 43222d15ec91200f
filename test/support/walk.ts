import { CancellationToken } from '../../src/async/cancellation-token.ts'
import type { FlowDefinition, FlowStep } from '../../src/domain/definition/flow-definition.ts'
import { type StepResult, stepResultId } from '../../src/domain/execution/step-result.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { Executor, ExecutorContext, ExecutorResult, RunStepOptions } from '../../src/executors/executor.ts'

/** What a step answers when it is asked: the verdict of a judge, or the error it fails with. */
export interface WalkAnswer {
  readonly parsed?: unknown
  readonly error?: OrchestratorError
}

export interface WalkOptions {
  /** Which of the steps under way ends next. */
  readonly order?: 'oldest first' | 'newest first'
  readonly answer?: (stepId: string, iteration: number) => WalkAnswer
  /** Whether the condition of a step holds. */
  readonly holds?: (stepId: string) => boolean
  /** Successes of former walks, by `askKey`. */
  readonly recorded?: ReadonlyMap<string, StepResult>
  /** The flow is cancelled once so many steps have answered. */
  readonly cancelAfter?: number
}

/** One time that the executor asked for a step. */
export interface Ask {
  readonly key: string
  readonly stepId: string
  readonly visible: readonly string[]
  readonly input: readonly string[] | undefined
  readonly verdict: RunStepOptions['verdict']
}

export interface Walk {
  /** In the order in which the executor asked, recorded ones included. */
  readonly asks: readonly Ask[]
  /** Keys of the asks that reached a model: those that were not recorded. */
  readonly called: readonly string[]
  /** Keys of the steps that were recorded as skipped. */
  readonly skipped: readonly string[]
  readonly successes: ReadonlyMap<string, StepResult>
  /** Keys of the steps that were under way when the first one failed that is not optional. */
  readonly besideFailure: readonly string[]
  /** Keys of the steps that their `stop` ended. */
  readonly aborted: readonly string[]
  /** What the executor asked of its context after it was given the first failure of a step that is not optional. */
  readonly afterFailure: readonly string[]
  /** Steps that were still under way when the executor was done. */
  readonly abandoned: number
  readonly outcome: ExecutorResult | undefined
  readonly error: unknown
}

export const askKey = (stepId: string, iteration: number): string => `${stepId}#${iteration}`

/** Lets an executor walk a definition over answers from a script; steps under way end one at a time, in the order given. */
export async function walk(executor: Executor, definition: FlowDefinition, options: WalkOptions = {}): Promise<Walk> {
  const {
    order = 'oldest first',
    answer = (): WalkAnswer => ({}),
    holds = () => true,
    recorded = new Map<string, StepResult>(),
  } = options
  const flow = new CancellationToken()
  const underWay: { readonly key: string; readonly end: () => void }[] = []
  const asks: Ask[] = []
  const called: string[] = []
  const skipped: string[] = []
  const aborted: string[] = []
  const besideFailure: string[] = []
  const afterFailure: string[] = []
  const successes = new Map(recorded)
  let failed = false
  let answered = 0

  const note = (what: string) => {
    if (failed) afterFailure.push(what)
  }
  const endOne = () => {
    const next = order === 'oldest first' ? underWay.shift() : underWay.pop()
    next?.end()
    if (underWay.length > 0) setImmediate(endOne)
  }
  const call = (step: FlowStep, key: string, iteration: number, sibling = new CancellationToken()) =>
    new Promise<StepResult>((resolve, reject) => {
      const work = new AbortController()
      const leave = () => {
        const place = underWay.indexOf(entry)
        if (place >= 0) underWay.splice(place, 1)
        sibling.delete(work)
        flow.delete(work)
      }
      const end = () => {
        leave()
        answered++
        const { parsed, error } = answer(step.id, iteration)
        if (error && !step.optional && !failed) {
          failed = true
          besideFailure.push(...underWay.map((other) => other.key))
        }
        const result = resultOf(step, iteration, error ? { status: 'FAILED', error: error.toJSON() } : { parsed })
        if (!error) successes.set(key, result)
        resolve(result)
        if (answered === options.cancelAfter) flow.cancel(new OrchestratorError('FLOW_CANCELLED', 'enough'))
      }
      const entry = { key, end }
      work.signal.addEventListener('abort', () => {
        leave()
        if (flow.cancelled) return reject(flow.reason)
        aborted.push(key)
        resolve(resultOf(step, iteration, { status: 'CANCELLED' }))
      })
      called.push(key)
      underWay.push(entry)
      if (underWay.length === 1) setImmediate(endOne)
      sibling.add(work)
      flow.add(work)
    })

  const context: ExecutorContext = {
    async runStep(step, { iteration = 1, visible, input, verdict, cancellation }) {
      const key = askKey(step.id, iteration)
      note(`run ${key}`)
      asks.push({ key, stepId: step.id, visible: visible.map(({ id }) => id), input: input?.map(({ id }) => id), verdict })
      return recorded.get(key) ?? call(step, key, iteration, cancellation)
    },
    async skipStep(step, _reason, iteration = 1) {
      note(`skip ${step.id}`)
      skipped.push(askKey(step.id, iteration))
      return resultOf(step, iteration, { status: 'SKIPPED' })
    },
    async conditionHolds(step) {
      note(`judge ${step.id}`)
      return step.condition === undefined || holds(step.id)
    },
  }
  let outcome: ExecutorResult | undefined
  let error: unknown
  try {
    outcome = await executor.run(definition, context)
  } catch (thrown) {
    error = thrown
  }
  const abandoned = underWay.length
  return { asks, called, skipped, successes, besideFailure, aborted, afterFailure, abandoned, outcome, error }
}

function resultOf(step: FlowStep, iteration: number, more: Partial<StepResult>): StepResult {
  const { id: stepId, provider, model, action } = step
  const at = new Date(0)
  return {
    id: stepResultId('flow', { path: stepId, iteration, sample: 0 }),
    flowId: 'flow',
    stepId,
    path: stepId,
    iteration,
    sample: 0,
    status: 'SUCCESS',
    provider,
    model,
    requestedModel: model,
    action,
    output: more.status === undefined ? `${stepId}#${iteration} says` : undefined,
    executionTime: 0,
    retryCount: 0,
    attempts: [],
    withheld: [],
    sharing: [],
    notes: [],
    startedAt: at,
    completedAt: at,
    executedAt: at,
    metadata: { provider, model, action, retryCount: 0 },
    simulated: false,
    ...more,
  }
}

import type { CancellationToken } from '../../async/cancellation-token.ts'
import type { Budget, SharedBudgets, Spend } from '../../calls/call.ts'
import type { PoolDirectory } from '../../domain/definition/call/pools.ts'
import type { FlowLimits } from '../../domain/definition/flow-definition.ts'
import type { FlowObserver } from '../../domain/execution/observation.ts'
import type { BudgetFacts } from '../../domain/users/budget.ts'
import type { FlowType } from '../../domain/vocabulary.ts'
import { mayPause } from '../../domain/waiting/waiting-steps.ts'
import type { FlowJob } from '../../engines/engine.ts'
import type { Executor } from '../../executors/executor.ts'
import type { ProviderService } from '../../providers/provider.ts'
import type { Store, StoredFlow } from '../../repositories/repository.ts'
import type { FlowExecution, RunOptions } from '../flow-run.ts'
import { repeatRead } from '../repeat-read.ts'
import type { UpdateLog } from '../updates/update-log.ts'
import { openPauseControl } from '../waiting/read-course.ts'
import { NO_PRIOR_STATE, readPriorState } from './prior-state.ts'
import type { StartRequest } from './run-input.ts'

export interface OpenExecutionDeps {
  readonly store: Store
  readonly providers: Pick<ProviderService, 'list'>
  readonly pools: Pick<PoolDirectory, 'membersOf'>
  readonly updateLog: UpdateLog
  /** Implemented by the registry of executors. */
  readonly executorOf: (type: FlowType) => Pick<Executor, 'noImplicitPredecessor' | 'forwardReferences'>
  /** Receives the observations of every execution. Implemented by createTelemetry. */
  readonly observer: FlowObserver
  /** Implemented by createBudget. */
  readonly createBudget: (limits: FlowLimits, alreadySpent: Spend) => Budget | undefined
  /** The budgets over many flows that apply to a flow. Implemented by createFlowBudgets. */
  readonly sharedBudgetsOf: (facts: BudgetFacts, flow: FlowJob) => SharedBudgets | undefined
  /** Limits of flows that set none of their own. */
  readonly defaults: { readonly limits?: FlowLimits; readonly flowTimeoutMs?: number }
  readonly now: () => Date
}

/** A claimed flow whose execution is opened, and the token that cancels it. */
export interface ClaimedFlow {
  readonly job: FlowJob
  readonly cancellation: CancellationToken
  /** Present if only this step runs. Such an execution cannot pause: the flow has no further owner. */
  readonly onlyStepId?: string
}

export type OpenExecution = (request: StartRequest, claimed: ClaimedFlow) => Promise<FlowExecution>

/**
 * Builds the execution of a claimed flow: what earlier executions left, its update log, its limits and its observation.
 */
export function createOpenExecution(deps: OpenExecutionDeps): OpenExecution {
  const { store, observer } = deps
  let simulatedIds: ReadonlySet<string> | undefined

  return async ({ flow, definition, input, options }, { job, cancellation, onlyStepId }) => {
    simulatedIds ??= new Set(deps.providers.list().flatMap((info) => (info.simulated ? [info.id] : [])))
    const isSimulated = simulatedIds
    // The first owner of a fresh flow finds no trace of an earlier execution, so nothing is read.
    const isFresh = job.epoch === 1 && flow.parentFlowId === undefined
    const { noImplicitPredecessor = false, forwardReferences = false } = deps.executorOf(flow.flowType)
    const limits = mergeLimits(definition.limits ?? deps.defaults.limits, options.limits)
    const readOptions = { epoch: job.epoch, unordered: noImplicitPredecessor, isLoop: forwardReferences }
    const prior = isFresh
      ? NO_PRIOR_STATE
      : await repeatRead(() => readPriorState(store, flow, definition, readOptions), [cancellation])
    const pause =
      onlyStepId === undefined && mayPause(definition)
        ? await repeatRead(() => openPauseControl(store, flow.id, isFresh), [cancellation])
        : undefined
    const log = deps.updateLog.open({
      flowId: flow.id,
      epoch: job.epoch,
      lastSeq: prior.lastSeq,
      onUpdate: options.onUpdate,
      cancellation,
    })
    if (prior.unrecorded.length > 0) log.record(prior.unrecorded)
    const simulated = definition.steps.some((step) =>
      deps.pools.membersOf(step).some(({ provider }) => isSimulated.has(provider)),
    )
    const observation = observer.isWatching()
      ? await observer.flowStarted({
          flowId: flow.id,
          threadId: flow.threadId,
          name: flow.name,
          flowType: flow.flowType,
          stepId: onlyStepId,
          simulated,
          resumed: prior.results.length > 0,
        })
      : undefined
    return {
      flowId: flow.id,
      threadId: flow.threadId,
      userId: flow.userId,
      epoch: job.epoch,
      definition,
      input: input.text,
      inputMessageId: input.messageId,
      attachments: input.attachments,
      options,
      cancellation,
      log,
      limits,
      budget: budgetFor(limits, deps.createBudget, prior.spent, flow.result?.spent),
      sharedBudgets: deps.sharedBudgetsOf(budgetFactsOf(flow, options), job),
      timeoutMs: options.flowTimeoutMs ?? definition.maxExecutionTime ?? deps.defaults.flowTimeoutMs,
      startedAt: deps.now(),
      simulated,
      observation,
      pause,
      prior,
      progress: {
        results: [],
        stepsStarted: prior.results.filter((result) => result.status === 'SUCCESS').length,
        currentStepIndex: 0,
      },
    }
  }
}

/** A flow that is resumed without an API key still counts against the budgets of the key that started it. */
export const budgetFactsOf = (flow: StoredFlow, { apiKeyId, metadata }: RunOptions): BudgetFacts => ({
  userId: flow.userId,
  threadId: flow.threadId,
  apiKeyId: apiKeyId ?? flow.runOptions?.apiKeyId,
  metadata,
})

/** Limits apply to all executions of a flow together, so the spend of earlier ones counts. */
function budgetFor(
  limits: FlowLimits | undefined,
  createBudget: OpenExecutionDeps['createBudget'],
  prior: Spend,
  settled: Spend = { costUsd: 0, tokens: 0 },
): Budget | undefined {
  if (limits?.maxCostUsd === undefined && limits?.maxTokens === undefined) return undefined
  return createBudget(limits, {
    costUsd: Math.max(prior.costUsd, settled.costUsd),
    tokens: Math.max(prior.tokens, settled.tokens),
  })
}

/** Limits of one execution replace those of the definition, one by one. */
const mergeLimits = (own: FlowLimits | undefined, given: FlowLimits | undefined): FlowLimits | undefined =>
  given ? { ...own, ...given } : own

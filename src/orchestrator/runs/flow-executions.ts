import type { CancellationToken } from '../../async/cancellation-token.ts'
import type { Budget, Spend } from '../../calls/call.ts'
import type { FlowDefinition, FlowLimits } from '../../domain/definition/flow-definition.ts'
import { totalsOf } from '../../domain/execution/cost.ts'
import { flowNotFound } from '../../domain/execution/flow-errors.ts'
import type { FlowObserver } from '../../domain/execution/observation.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import type { FlowType } from '../../domain/vocabulary.ts'
import { type FlowStatus, STARTABLE } from '../../domain/vocabulary.ts'
import type { Engine, FlowJob } from '../../engines/engine.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Executor } from '../../executors/executor.ts'
import type { ProviderService } from '../../providers/provider.ts'
import type { Store, StoredFlow } from '../../repositories/repository.ts'
import type { FlowExecution, RunOptions } from '../flow-run.ts'
import type { LiveUpdates } from '../updates/live-updates.ts'
import type { UpdateLog } from '../updates/update-log.ts'
import type { ExecutionEnd } from './flow-runner.ts'
import { NO_PRIOR_STATE, readPriorState } from './prior-state.ts'
import type { RunInput } from './run-input.ts'

export interface FlowExecutionDeps {
  readonly store: Store
  readonly engine: Engine
  readonly providers: ProviderService
  readonly updateLog: UpdateLog
  readonly live: LiveUpdates
  readonly rebuild: (flow: StoredFlow) => FlowDefinition
  readonly executorOf: (type: FlowType) => Pick<Executor, 'noImplicitPredecessor' | 'forwardReferences'>
  /** Who watches executions from outside. */
  readonly observer: FlowObserver
  readonly createBudget: (limits: FlowLimits, alreadySpent: Spend) => Budget | undefined
  readonly ownerId: string
  /** For flows that set none of their own. */
  readonly defaults: { readonly limits?: FlowLimits; readonly flowTimeoutMs?: number }
  readonly now: () => Date
}

export interface StartRequest {
  readonly flow: StoredFlow
  readonly definition: FlowDefinition
  readonly input: RunInput
  readonly options: RunOptions
}

interface Starting {
  readonly order: StartRequest
  readonly end: (end: ExecutionEnd) => void
  readonly ended: Promise<ExecutionEnd>
  /** Set by a cancel that came before the engine had the flow. */
  cancelled: OrchestratorError | undefined
}

/** Flows of this process between their claim and their end. */
export function createFlowExecutions(deps: FlowExecutionDeps) {
  const { store, engine, providers } = deps
  const starting = new Map<string, Starting>()
  const runs = new Map<string, FlowExecution>()
  const apart = new Map<string, Promise<unknown>>()

  /** Claims the flow and hands it to the engine. Resolves when it runs; `end` resolves when it is over. */
  async function start(order: StartRequest): Promise<{ readonly end: Promise<ExecutionEnd> }> {
    const { flow, definition } = order
    if (starting.has(flow.id)) throw statusError(flow.id, 'RUNNING')
    for (const step of definition.steps) providers.assertUsable(step.provider)
    const { promise: end, resolve } = promiseWithResolver<ExecutionEnd>()
    starting.set(flow.id, { order, end: resolve, ended: end, cancelled: undefined })
    try {
      await engine.start({ flowId: flow.id, epoch: await claim(order) })
      return { end }
    } catch (error) {
      starting.delete(flow.id)
      throw error
    }
  }

  async function claim({ flow, input, options }: StartRequest): Promise<number> {
    const { ownerId } = deps
    const claimed = await store.journal.claim({
      flowId: flow.id,
      from: STARTABLE,
      ownerId,
      startedAt: deps.now(),
      input: input.text,
      metadata: options.metadata,
      runOptions: options.stored,
    })
    if ('epoch' in claimed) return claimed.epoch
    throw statusError(flow.id, claimed.status)
  }

  async function open(job: FlowJob, stop: CancellationToken): Promise<FlowExecution> {
    const begun = starting.get(job.flowId)
    const run = await openOrder(begun?.order ?? (await orderFromStore(job.flowId)), job, stop)
    if (begun?.cancelled) stop.cancel(begun.cancelled)
    return run
  }

  async function openOrder(
    order: StartRequest,
    job: FlowJob,
    stop: CancellationToken,
    onlyStepId?: string,
  ): Promise<FlowExecution> {
    const { flow, definition, input, options } = order
    // The first owner of a fresh flow finds nothing of an earlier run, so it need not look.
    const isFresh = job.epoch === 1 && flow.parentFlowId === undefined
    const { noImplicitPredecessor = false, forwardReferences = false } = deps.executorOf(flow.flowType)
    const limits = mergeLimits(definition.limits ?? deps.defaults.limits, options.limits)
    const prior = isFresh
      ? NO_PRIOR_STATE
      : await readPriorState(store, flow, definition, { unordered: noImplicitPredecessor, isLoop: forwardReferences })
    const log = deps.updateLog.open({
      flowId: flow.id,
      epoch: job.epoch,
      lastSeq: prior.lastSeq,
      onUpdate: options.onUpdate,
      stop,
    })
    const simulated = definition.steps.some((step) => simulatedIds(providers).has(step.provider))
    const observation = deps.observer.isWatching()
      ? await deps.observer.flowStarted({
          flowId: flow.id,
          threadId: flow.threadId,
          name: flow.name,
          flowType: flow.flowType,
          stepId: onlyStepId,
          simulated,
          resumed: prior.results.length > 0,
        })
      : undefined
    const run: FlowExecution = {
      flowId: flow.id,
      threadId: flow.threadId,
      userId: flow.userId,
      epoch: job.epoch,
      definition,
      noImplicitPredecessor,
      input: input.text,
      inputMessageId: input.messageId,
      attachments: input.attachments,
      options,
      cancellation: stop,
      log,
      limits,
      budget: budgetFor(limits, deps.createBudget, prior.results, flow.result?.spent),
      timeoutMs: options.flowTimeoutMs ?? definition.maxExecutionTime ?? deps.defaults.flowTimeoutMs,
      recorded: prior.recorded,
      inFlightAtCrash: prior.inFlight,
      priorResults: prior.results,
      priorAttempts: prior.attempts,
      results: [],
      startedAt: deps.now(),
      simulated,
      observation,
      stepsStarted: prior.results.filter((result) => result.status === 'SUCCESS').length,
      currentStepIndex: 0,
    }
    runs.set(flow.id, run)
    return run
  }

  async function orderFromStore(flowId: string): Promise<StartRequest> {
    const flow = await store.flows.find(flowId)
    if (!flow) throw flowNotFound(flowId)
    const options: RunOptions = { streaming: false, saveMessages: false, metadata: flow.metadata ?? {} }
    const input = { text: flow.input ?? '', attachments: [] }
    return { flow, definition: deps.rebuild(flow), input, options }
  }

  function onEnd(job: FlowJob, end: ExecutionEnd): void {
    const begun = starting.get(job.flowId)
    starting.delete(job.flowId)
    close(job.flowId)
    begun?.end(end)
  }

  /** Ends the flow if it is between claim and end in this process; resolves false where it is not. */
  async function cancel(flowId: string, reason: OrchestratorError): Promise<boolean> {
    const begun = starting.get(flowId)
    if (begun) begun.cancelled ??= reason
    const run = runs.get(flowId)
    run?.cancellation.cancel(reason)
    await apart.get(flowId)?.catch(() => {})
    return (await engine.cancel(flowId, reason)) || begun !== undefined || run !== undefined
  }

  /** Work on a flow that no engine drives; cancel and closing wait for it. */
  function track<T>(flowId: string, work: Promise<T>): Promise<T> {
    const tracked = work.finally(() => apart.delete(flowId))
    apart.set(flowId, tracked)
    return tracked
  }

  /** Ends everything that runs apart from the engine. */
  async function stopAll(reason: unknown): Promise<void> {
    for (const flowId of apart.keys()) runs.get(flowId)?.cancellation.cancel(reason)
    await Promise.allSettled(apart.values())
  }

  /** Forgets a run that was opened with `openOrder`. */
  function close(flowId: string): void {
    runs.delete(flowId)
    deps.live.ended(flowId)
  }

  return {
    start,
    open,
    openOrder,
    track,
    stopAll,
    close,
    onEnd,
    cancel,
    /** Resolves at the end of a flow that was started in this process; `undefined`: it is over, or runs elsewhere. */
    endOf: (flowId: string): Promise<ExecutionEnd> | undefined => starting.get(flowId)?.ended,
    find: (flowId: string): FlowExecution | undefined => runs.get(flowId),
    all: () => runs.values(),
  }
}

export type FlowExecutions = ReturnType<typeof createFlowExecutions>

function promiseWithResolver<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

/** Limits are hard over all executions of a flow: what earlier ones spent counts. */
function budgetFor(
  limits: FlowLimits | undefined,
  createBudget: FlowExecutionDeps['createBudget'],
  prior: readonly StepResult[],
  settled: Spend = { costUsd: 0, tokens: 0 },
): Budget | undefined {
  if (limits?.maxCostUsd === undefined && limits?.maxTokens === undefined) return undefined
  const { totalCost, totalTokens } = totalsOf(prior)
  return createBudget(limits, { costUsd: Math.max(totalCost, settled.costUsd), tokens: Math.max(totalTokens, settled.tokens) })
}

/** Limits of one execution go over those of the flow, one by one. */
const mergeLimits = (own: FlowLimits | undefined, given: FlowLimits | undefined): FlowLimits | undefined =>
  given ? { ...own, ...given } : own

const simulatedProviders = new WeakMap<ProviderService, ReadonlySet<string>>()

function simulatedIds(providers: ProviderService): ReadonlySet<string> {
  const known = simulatedProviders.get(providers)
  if (known) return known
  const ids = new Set(providers.list().flatMap((info) => (info.simulated ? [info.id] : [])))
  simulatedProviders.set(providers, ids)
  return ids
}

/** Why a flow of this status cannot be started. */
export function statusError(flowId: string, status: FlowStatus | undefined): OrchestratorError {
  const details = { flowId, status }
  if (status === undefined) return flowNotFound(flowId)
  if (status === 'COMPLETED') return new OrchestratorError('FLOW_ALREADY_COMPLETED', `Flow "${flowId}" is completed`, { details })
  return new OrchestratorError('FLOW_ALREADY_RUNNING', `Flow "${flowId}" is running`, { details })
}

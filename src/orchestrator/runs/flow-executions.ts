import type { CancellationToken } from '../../async/cancellation-token.ts'
import type { PoolDirectory } from '../../domain/definition/call/pools.ts'
import { flowNotFound, notStartable } from '../../domain/execution/flow-errors.ts'
import { STARTABLE } from '../../domain/vocabulary.ts'
import { isWaitingStep } from '../../domain/waiting/waiting-steps.ts'
import type { Engine, FlowJob } from '../../engines/engine.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Store, StoredFlow } from '../../repositories/repository.ts'
import type { FlowBudgets } from '../budgets/flow-budgets.ts'
import type { FlowExecution } from '../flow-run.ts'
import type { FlowDefinitions } from '../flows/flow-definitions.ts'
import { settleUndriven } from '../ownership/settle-undriven.ts'
import { isDatabaseAway, repeatRead } from '../repeat-read.ts'
import type { LiveUpdates } from '../updates/live-updates.ts'
import { type AwaitEndOptions, createEndElsewhere } from './end-elsewhere.ts'
import type { ExecutionEnd } from './flow-runner.ts'
import { budgetFactsOf, type OpenExecution } from './open-execution.ts'
import { fromQueuedOptions, type Queueing, toQueuedOptions } from './queued-options.ts'
import { attachmentsToStore, type RunInput, type StartRequest, storedAttachments } from './run-input.ts'
import type { Run, RunRegistry } from './run-registry.ts'

export interface FlowExecutionsDeps {
  readonly store: Store
  readonly engine: Engine
  readonly registry: RunRegistry
  readonly pools: Pick<PoolDirectory, 'assertUsable'>
  readonly live: LiveUpdates
  /** Counts flows that are started for the first time. Implemented by createFlowBudgets. */
  readonly countFlow: FlowBudgets['countFlow']
  /** Implemented by createOpenExecution. */
  readonly openExecution: OpenExecution
  /** Implemented by createFlowDefinitions. */
  readonly definitions: Pick<FlowDefinitions, 'rebuild' | 'requirementOf' | 'forgetRequirement'>
  readonly queueing: Queueing
  readonly now: () => Date
}

const NEVER = new AbortController().signal

/** Executions of whole flows in this process: their start, their opening for the engine, and their end. */
export function createFlowExecutions(deps: FlowExecutionsDeps) {
  const { store, engine, registry, pools, definitions } = deps
  const elsewhere = createEndElsewhere(deps)

  /** Passes the flow to the engine. Resolves when it runs or is queued; `end` resolves with its outcome. */
  async function start(request: StartRequest): Promise<{ readonly end: Promise<ExecutionEnd> }> {
    const { flow, definition } = request
    if (registry.find(flow.id)) throw notStartable(flow.id, { status: 'RUNNING' })
    for (const step of definition.steps) if (!isWaitingStep(step)) pools.assertUsable(step)
    const run = registry.claim(request)
    if (!run) throw notStartable(flow.id, { status: 'RUNNING' })
    const end = new Promise<ExecutionEnd>((resolve) => {
      run.resolveEnd = resolve
    })
    let withdraw: (() => Promise<void>) | undefined
    try {
      // A flow that has had an owner is resumed, and has been counted.
      if (flow.ownerEpoch === 0) withdraw = await deps.countFlow(budgetFactsOf(flow, request.options))
      // Updates of earlier executions are not passed on. A flow without an earlier claim has none.
      run.afterSeq = deps.queueing === 'never' || flow.ownerEpoch === 0 ? 0 : await store.updates.lastSeq(flow.id)
      const state = await engine.start({
        flowId: flow.id,
        from: STARTABLE,
        epoch: flow.ownerEpoch,
        startedAt: deps.now(),
        input: request.input.text,
        metadata: request.options.metadata,
        attachments: attachmentsToStore(flow, request.input),
        runOptions: toQueuedOptions(request, deps.queueing),
        requires: definitions.requirementOf(flow),
      })
      // The engine may drive a queued flow before it has reported that it is queued.
      if (state === 'queued' && run.state === 'claimed') awaitElsewhere(run)
      return { end }
    } catch (error) {
      registry.remove(run)
      await withdraw?.()
      throw error
    }
  }

  /** The flow ends in another process, unless this one takes it from the queue before. */
  function awaitElsewhere(run: Run): void {
    registry.queued(run)
    const waiting = new AbortController()
    run.stopWaiting = () => waiting.abort()
    const { flowId, request, afterSeq } = run
    const settle = (end: ExecutionEnd) => {
      if (run.state !== 'queued') return
      registry.remove(run)
      definitions.forgetRequirement(flowId)
      run.resolveEnd?.(end)
    }
    void elsewhere
      .wait(flowId, { afterSeq, onUpdate: request?.options.onUpdate, signal: waiting.signal })
      .then(settle, (error) => settle({ error: OrchestratorError.from(error) }))
  }

  /**
   * Opens the execution of a flow that the engine drives, from the request that started it here, or from stored data.
   */
  async function open(job: FlowJob, cancellation: CancellationToken): Promise<FlowExecution> {
    const run = registry.findDriven(job)
    try {
      const request = await repeatRead(() => requestOf(job, run), [cancellation])
      const execution = await deps.openExecution(request, { job, cancellation })
      if (run) run.execution = execution
      return execution
    } catch (cause) {
      await settleUnopened(job, OrchestratorError.from(cause))
      throw cause
    }
  }

  /** A flow that is interrupted, or whose database is away, is opened again: here or in another process. */
  async function settleUnopened(job: FlowJob, error: OrchestratorError): Promise<void> {
    if (error.code === 'FLOW_INTERRUPTED' || isDatabaseAway(error)) return
    const flow = await store.flows.find(job.flowId)
    if (flow) await settleUndriven(deps, job, error.with({ flowId: job.flowId }), flow.simulated)
  }

  /** A flow that has had another owner since its start here has changed: the request describes a state of before. */
  async function requestOf({ flowId, epoch }: FlowJob, run: Run | undefined): Promise<StartRequest> {
    const request = run?.request
    if (request?.flow.ownerEpoch === epoch - 1) return request
    const flow = await store.flows.find(flowId)
    if (!flow) throw flowNotFound(flowId)
    if (request) return { ...request, flow }
    const input = await readInput(flow)
    return { flow, definition: definitions.rebuild(flow), input, options: fromQueuedOptions(flow) }
  }

  /** The attachments of the message from which the prompt was taken belong to the prompt. */
  async function readInput(flow: StoredFlow): Promise<RunInput> {
    const { threadId, input = '', runOptions } = flow
    const messageId = runOptions?.inputMessageId
    const message = messageId === undefined ? undefined : await store.threads.findMessage(threadId, messageId)
    return { text: input, messageId: message?.id, attachments: storedAttachments(flow, message) }
  }

  function onEnd(job: FlowJob, end: ExecutionEnd): void {
    const run = registry.findDriven(job)
    if (run) registry.remove(run)
    deps.live.ended(job.flowId)
    if ('pausedAtSeq' in end) onPause(job.flowId, end.pausedAtSeq, run)
    else if (run?.resolveEnd && 'error' in end && end.error.code === 'FLOW_INTERRUPTED') void onInterrupted(job, end.error, run)
    else passEnd(job.flowId, end, run)
  }

  function passEnd(flowId: string, end: ExecutionEnd, run: Run | undefined): void {
    definitions.forgetRequirement(flowId)
    run?.resolveEnd?.(end)
  }

  /** The caller keeps waiting if another process has the flow, or will get it from the queue. */
  async function onInterrupted({ flowId, epoch }: FlowJob, error: OrchestratorError, run: Run): Promise<void> {
    // An interrupted flow of this queue is put back into it, by this process or by the one that took its job.
    const isRequeued = deps.queueing === 'durable' && run.cancellation.cancelled
    const afterSeq = run.execution?.log.storedSeq ?? run.afterSeq
    const end = await elsewhere
      .waitAfter({ error, epoch, isRequeued }, flowId, { afterSeq, onUpdate: run.request?.options.onUpdate, signal: NEVER })
      .catch((cause): ExecutionEnd => ({ error: OrchestratorError.from(cause) }))
    passEnd(flowId, end, run)
  }

  /** Callers that wait for the end of the flow keep waiting, wherever the flow continues. */
  function onPause(flowId: string, afterSeq: number, run: Run | undefined): void {
    // A process that has paused a flow also runs flows that become due.
    void engine.takeQueued().catch(() => {})
    const { resolveEnd, request } = run ?? {}
    if (!resolveEnd) return
    void elsewhere
      .wait(flowId, { afterSeq, onUpdate: request?.options.onUpdate, signal: NEVER })
      .then(resolveEnd, (error) => resolveEnd({ error: OrchestratorError.from(error) }))
  }

  return {
    start,
    open,
    onEnd,
    /** Resumes a paused flow, here or in another process. */
    wake: engine.signal,
    /** From then on this process runs flows that become due or wait for a process. */
    takeQueued: engine.takeQueued,
    /** Ends the flow if this process runs it; otherwise resolves with false. */
    cancel: engine.cancel,
    /** Another way than a run in this process has ended the flow, for example a cancellation while it was queued. */
    endedElsewhere: elsewhere.check,
    /** Waits for a flow that this process has not started. It stays as it is when `signal` aborts. */
    attach: (flowId: string, options: AwaitEndOptions): Promise<ExecutionEnd> => elsewhere.wait(flowId, options),
    /** This process begins to close: from now on the caller of an interrupted flow does not wait for its end. */
    beginClosing: elsewhere.beginClosing,
    /** Ends the waiting for flows of other processes, which continue. */
    stopWaiting: elsewhere.close,
    /** A definition was registered, which queued flows may need. */
    recheckQueue: engine.recheckQueue,
    find: (flowId: string): FlowExecution | undefined => registry.find(flowId)?.execution,
  }
}

export type FlowExecutions = ReturnType<typeof createFlowExecutions>

import { flowCancelled, notStartable, versionUnknown } from '../../domain/execution/flow-errors.ts'
import type { FlowExecutionResult } from '../../domain/execution/flow-result.ts'
import { type FlowStatus, SETTLED } from '../../domain/vocabulary.ts'
import { mayPause } from '../../domain/waiting/waiting-steps.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { StoredFlow } from '../../repositories/repository.ts'
import type { OrchestratorServiceDeps } from '../orchestrator-service-deps.ts'
import { cancelStored } from '../ownership/cancel-stored.ts'
import { repeatWhileChanged } from '../repeat-changed.ts'
import { type ExecuteFlowOptions, toRunOptions } from '../service-options.ts'
import type { ExecutionEnd } from './flow-runner.ts'
import { assertSameRun, resolveInput } from './run-input.ts'
import { startUnderSignal } from './start-under-signal.ts'

export type CallerRunsDeps = Pick<
  OrchestratorServiceDeps,
  'access' | 'attachments' | 'cache' | 'definitions' | 'executions' | 'live' | 'now' | 'ownerId' | 'ownershipWatch' | 'store'
>

const UNENDED: readonly (FlowStatus | undefined)[] = ['PAUSED', 'RUNNING']

/** Runs of flows as their callers see them: checked options, an end wherever the flow runs, and cancellation. */
export function createCallerRuns(deps: CallerRunsDeps) {
  const { access, cache, definitions, executions, store } = deps

  /** Starts the flow, or attaches to a paused one, which continues by itself. Resolves when it is accepted. */
  function start(flowId: string, userId: string, options: ExecuteFlowOptions): Promise<{ readonly end: Promise<ExecutionEnd> }> {
    return repeatWhileChanged(() => startOnce(flowId, userId, options))
  }

  async function startOnce(
    flowId: string,
    userId: string,
    options: ExecuteFlowOptions,
  ): Promise<{ readonly end: Promise<ExecutionEnd> }> {
    const flow = await access.findFlow(flowId, userId, 'write', cache.find(flowId))
    cache.forget(flowId)
    if (options.threadId !== undefined && options.threadId !== flow.threadId) {
      throw new OrchestratorError('INPUT_INVALID', 'options.threadId: expected the thread of the flow, found another one', {
        details: { flowId },
      })
    }
    if (flow.status === 'COMPLETED' || flow.status === 'RUNNING') throw notStartable(flowId, { status: flow.status })
    // Before the definition is read, which a later version may have extended.
    if (flow.newerVersion !== undefined) throw versionUnknown(flowId, flow.newerVersion)
    const definition = definitions.rebuild(flow)
    const runOptions = toRunOptions(options, flow, { mayPause: mayPause(definition) })
    const attachments = options.attachments && (await deps.attachments(userId, flow.threadId, options.attachments))
    const input = await resolveInput({ flow, definition, given: options.input, attachments }, store.threads.newestUserMessage)
    const request = { flow, definition, input, options: runOptions }
    await assertSameRun(request, store.flows.stepResults)
    const started = flow.status === 'PAUSED' ? () => attach(flowId, options) : () => executions.start(request)
    return startUnderSignal(flowId, started, options.signal, (reason, accepted) => cancel(flow, reason, accepted))
  }

  async function attach(flowId: string, { onUpdate }: ExecuteFlowOptions): Promise<{ readonly end: Promise<ExecutionEnd> }> {
    const afterSeq = await store.updates.lastSeq(flowId)
    await executions.takeQueued()
    return { end: executions.attach(flowId, { afterSeq, onUpdate, signal: new AbortController().signal }) }
  }

  /**
   * Ends a flow wherever it runs. If `started` rejects, the caller's own run never began, and no other one is ended.
   */
  async function cancel(flow: StoredFlow, reason: OrchestratorError, started?: Promise<unknown>): Promise<void> {
    const hasEnded = await executions.cancel(flow.id, reason)
    await started
    // A flow that has paused or was lost to another process at the same time has not ended here.
    if (hasEnded && !UNENDED.includes((await store.flows.find(flow.id))?.status)) return
    cache.forget(flow.id)
    await cancelStored(deps, flow, reason)
    executions.endedElsewhere(flow.id)
  }

  return {
    start,
    cancel,
    /** Whether no more updates come. */
    async isSettled(flowId: string): Promise<boolean> {
      if (executions.find(flowId)) return false
      const flow = await store.flows.find(flowId)
      return flow === undefined || SETTLED.includes(flow.status)
    },
    async resultOf(flowId: string, end: ExecutionEnd): Promise<FlowExecutionResult> {
      if ('result' in end) return end.result
      if ('pausedAtSeq' in end) throw new OrchestratorError('INTERNAL', `The wait for flow "${flowId}" ended at a pause`)
      if (end.error.code !== 'FLOW_INTERRUPTED') throw end.error
      // Another process may have claimed the flow to cancel it. A process that closes may be unable to read it.
      const flow = await store.flows.find(flowId).catch(() => undefined)
      if (flow?.status === 'CANCELLED') throw flowCancelled(flowId)
      throw end.error
    },
  }
}

export type CallerRuns = ReturnType<typeof createCallerRuns>

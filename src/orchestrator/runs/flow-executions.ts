import type { CancellationToken } from '../../async/cancellation-token.ts'
import type { FlowDefinition } from '../../domain/definition/flow-definition.ts'
import { isWaitingStep } from '../../domain/definition/waiting-steps.ts'
import { flowNotFound, notStartable } from '../../domain/execution/flow-errors.ts'
import { STARTABLE } from '../../domain/vocabulary.ts'
import type { Engine, FlowJob } from '../../engines/engine.ts'
import type { ProviderService } from '../../providers/provider.ts'
import type { Store, StoredFlow } from '../../repositories/repository.ts'
import type { FlowExecution, RunOptions } from '../flow-run.ts'
import { toRunOptions } from '../service-options.ts'
import type { LiveUpdates } from '../updates/live-updates.ts'
import type { ExecutionEnd } from './flow-runner.ts'
import type { OpenExecution } from './open-execution.ts'
import type { StartRequest } from './run-input.ts'
import type { RunRegistry } from './run-registry.ts'

export interface FlowExecutionsDeps {
  readonly store: Store
  readonly engine: Engine
  readonly registry: RunRegistry
  readonly providers: Pick<ProviderService, 'assertUsable'>
  readonly live: LiveUpdates
  /** Implemented by createOpenExecution. */
  readonly openExecution: OpenExecution
  /** Implemented by createFlowDefinitions. */
  readonly rebuild: (flow: StoredFlow) => FlowDefinition
  readonly now: () => Date
}

/** Executions of whole flows in this process: their start, their opening for the engine, and their end. */
export function createFlowExecutions(deps: FlowExecutionsDeps) {
  const { store, engine, registry, providers } = deps

  /** Claims the flow and passes it to the engine. Resolves when it runs; `end` resolves with its outcome. */
  async function start(request: StartRequest): Promise<{ readonly end: Promise<ExecutionEnd> }> {
    const { flow, definition } = request
    if (registry.find(flow.id)) throw notStartable(flow.id, 'RUNNING')
    for (const step of definition.steps) if (!isWaitingStep(step)) providers.assertUsable(step.provider)
    const run = registry.claim(request)
    if (!run) throw notStartable(flow.id, 'RUNNING')
    const end = new Promise<ExecutionEnd>((resolve) => {
      run.resolveEnd = resolve
    })
    try {
      const { input, options } = request
      const state = await engine.start({
        flowId: flow.id,
        from: STARTABLE,
        startedAt: deps.now(),
        input: input.text,
        metadata: options.metadata,
        runOptions: options.stored,
      })
      // The engine may drive a queued flow before it has reported that it is queued.
      if (state === 'queued' && run.state === 'claimed') run.state = 'queued'
      return { end }
    } catch (error) {
      registry.remove(run)
      throw error
    }
  }

  /**
   * Opens the execution of a flow that the engine drives, from the request that started it here, or from stored data.
   */
  async function open(job: FlowJob, cancellation: CancellationToken): Promise<FlowExecution> {
    const run = findRun(job)
    const request = run?.request ?? (await readRequest(job.flowId))
    const execution = await deps.openExecution(request, { job, cancellation })
    if (run) run.execution = execution
    return execution
  }

  async function readRequest(flowId: string): Promise<StartRequest> {
    const flow = await store.flows.find(flowId)
    if (!flow) throw flowNotFound(flowId)
    const { resumeAfterCrash: _, inputMessageId: __, ...given } = flow.runOptions ?? {}
    const options: RunOptions = { ...toRunOptions(given, flow), stored: flow.runOptions }
    const input = { text: flow.input ?? '', attachments: [] }
    return { flow, definition: deps.rebuild(flow), input, options }
  }

  /** The epochs are compared, because the flow may already run here again under its next epoch. */
  const findRun = ({ flowId, epoch }: FlowJob) => {
    const run = registry.find(flowId)
    return run?.epoch === epoch ? run : undefined
  }

  function onEnd(job: FlowJob, end: ExecutionEnd): void {
    const run = findRun(job)
    if (run) registry.remove(run)
    deps.live.ended(job.flowId)
    // A process that has paused a flow also runs flows that become due.
    if ('pausedAtSeq' in end) void engine.takeQueued().catch(() => {})
    run?.resolveEnd?.(end)
  }

  return {
    start,
    open,
    onEnd,
    /** Lets a paused flow go on, here or in another process. */
    wake: engine.signal,
    /** From then on this process runs flows that become due or wait for a process. */
    takeQueued: engine.takeQueued,
    /** Ends the flow if this process runs it; otherwise resolves with false. */
    cancel: engine.cancel,
    find: (flowId: string): FlowExecution | undefined => registry.find(flowId)?.execution,
  }
}

export type FlowExecutions = ReturnType<typeof createFlowExecutions>

import type { CancellationToken } from '../../async/cancellation-token.ts'
import type { FlowDefinition } from '../../domain/definition/flow-definition.ts'
import { flowNotFound, notStartable } from '../../domain/execution/flow-errors.ts'
import { STARTABLE } from '../../domain/vocabulary.ts'
import type { Engine, FlowJob } from '../../engines/engine.ts'
import type { ProviderService } from '../../providers/provider.ts'
import type { Store, StoredFlow } from '../../repositories/repository.ts'
import type { FlowBudgets } from '../budgets/flow-budgets.ts'
import type { FlowExecution, RunOptions } from '../flow-run.ts'
import type { LiveUpdates } from '../updates/live-updates.ts'
import type { ExecutionEnd } from './flow-runner.ts'
import { budgetFactsOf, type OpenExecution } from './open-execution.ts'
import type { StartRequest } from './run-input.ts'
import type { RunRegistry } from './run-registry.ts'

export interface FlowExecutionsDeps {
  readonly store: Store
  readonly engine: Engine
  readonly registry: RunRegistry
  readonly providers: Pick<ProviderService, 'assertUsable'>
  readonly live: LiveUpdates
  /** Counts flows that are started for the first time. Implemented by createFlowBudgets. */
  readonly countFlow: FlowBudgets['countFlow']
  /** Implemented by createOpenExecution. */
  readonly openExecution: OpenExecution
  /** Implemented by createFlowDefinitions. */
  readonly rebuild: (flow: StoredFlow) => FlowDefinition
  readonly ownerId: string
  readonly now: () => Date
}

/** Executions of whole flows in this process: their start, their opening for the engine, and their end. */
export function createFlowExecutions(deps: FlowExecutionsDeps) {
  const { store, engine, registry, providers } = deps

  /** Claims the flow and passes it to the engine. Resolves when it runs; `end` resolves with its outcome. */
  async function start(request: StartRequest): Promise<{ readonly end: Promise<ExecutionEnd> }> {
    const { flow, definition } = request
    if (registry.find(flow.id)) throw notStartable(flow.id, 'RUNNING')
    for (const step of definition.steps) providers.assertUsable(step.provider)
    const run = registry.claim(request)
    if (!run) throw notStartable(flow.id, 'RUNNING')
    const end = new Promise<ExecutionEnd>((resolve) => {
      run.resolveEnd = resolve
    })
    let withdraw: (() => Promise<void>) | undefined
    try {
      // A flow that has had an owner is resumed, and has been counted.
      if (flow.ownerEpoch === 0) withdraw = await deps.countFlow(budgetFactsOf(flow, request.options))
      await engine.start({ flowId: flow.id, epoch: await claim(request) })
      return { end }
    } catch (error) {
      registry.remove(run)
      await withdraw?.()
      throw error
    }
  }

  async function claim({ flow, input, options }: StartRequest): Promise<number> {
    const claimed = await store.journal.claim({
      flowId: flow.id,
      from: STARTABLE,
      ownerId: deps.ownerId,
      startedAt: deps.now(),
      input: input.text,
      metadata: options.metadata,
      runOptions: options.stored,
    })
    if ('epoch' in claimed) return claimed.epoch
    throw notStartable(flow.id, claimed.status)
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
    const options: RunOptions = { streaming: false, saveMessages: false, metadata: flow.metadata ?? {} }
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
    run?.resolveEnd?.(end)
  }

  return {
    start,
    open,
    onEnd,
    /** Ends the flow if this process runs it; otherwise resolves with false. */
    cancel: engine.cancel,
    find: (flowId: string): FlowExecution | undefined => registry.find(flowId)?.execution,
  }
}

export type FlowExecutions = ReturnType<typeof createFlowExecutions>

import { createBudget } from '../../calls/limits.ts'
import type { PolyphonyConfig } from '../../config/config.ts'
import type { PoolDirectory } from '../../domain/definition/call/pools.ts'
import type { StoredRunOptions } from '../../domain/execution/flow.ts'
import type { FlowObserver } from '../../domain/execution/observation.ts'
import { permissionDenied } from '../../domain/users/thread.ts'
import type { RunningLimits } from '../../engines/engine.ts'
import { executors } from '../../executors/registry.ts'
import type { FlowBudgets } from '../../orchestrator/budgets/flow-budgets.ts'
import type { FlowExecution } from '../../orchestrator/flow-run.ts'
import type { FlowDefinitions } from '../../orchestrator/flows/flow-definitions.ts'
import type { SkippedFlows } from '../../orchestrator/flows/skipped-flows.ts'
import { createOwnershipWatch } from '../../orchestrator/ownership/ownership-watch.ts'
import { createFlowExecutions } from '../../orchestrator/runs/flow-executions.ts'
import { createFlowRunner } from '../../orchestrator/runs/flow-runner.ts'
import { createHandOver } from '../../orchestrator/runs/hand-over.ts'
import { createOpenExecution, type OpenExecution } from '../../orchestrator/runs/open-execution.ts'
import type { Queueing } from '../../orchestrator/runs/queued-options.ts'
import { createRunRegistry } from '../../orchestrator/runs/run-registry.ts'
import { createSingleStep } from '../../orchestrator/runs/single-step.ts'
import type { PermissionService } from '../../policies/policy.ts'
import type { ProviderService } from '../../providers/provider.ts'
import type { Store } from '../../repositories/repository.ts'
import type { OpenedEngine } from '../open-engine.ts'
import type { Steps } from './create-steps.ts'
import type { Updates } from './create-updates.ts'

export interface CreateRunsDeps {
  readonly config: PolyphonyConfig
  readonly openedEngine: OpenedEngine
  readonly store: Store
  readonly providers: ProviderService
  readonly pools: PoolDirectory
  readonly steps: Steps
  readonly updates: Updates
  readonly definitions: FlowDefinitions
  readonly skippedFlows: Pick<SkippedFlows, 'claimNext'>
  readonly budgets: FlowBudgets
  /** Implemented by createTelemetry. */
  readonly observer: FlowObserver
  readonly permissions: Pick<PermissionService, 'can'>
  readonly ownerId: string
  readonly now: () => Date
}

/** Builds everything that executes flows in this process, from their start to their end. */
export function createRuns({
  config,
  openedEngine,
  store,
  providers,
  pools,
  steps,
  updates,
  definitions,
  skippedFlows,
  budgets,
  observer,
  permissions,
  ownerId,
  now,
}: CreateRunsDeps) {
  const { runStep, historyOf } = steps
  const { log: updateLog, live, bus } = updates
  const registry = createRunRegistry()
  const ownershipWatch = createOwnershipWatch({
    executions: registry.executions,
    find: (flowId) => registry.find(flowId)?.execution,
    flows: store.flows,
    bus,
  })
  const queueing = queueingOf(config)
  const engine = openedEngine.create({
    runs: registry,
    flows: {
      ...store.queue,
      claim: store.journal.claim,
      enqueue: store.journal.enqueue,
      claimNext: skippedFlows.claimNext,
    },
    ownerId,
    registered: definitions.requirements,
    limits: toLimits(config.maxRunningFlows),
    takesFlows: config.takesFlows,
    now,
  })
  const open = createOpenExecution({
    store,
    providers,
    pools,
    updateLog,
    executorOf: (type) => executors[type],
    observer,
    createBudget,
    sharedBudgetsOf: budgets.of,
    defaults: { limits: config.limits, flowTimeoutMs: config.timeouts.flowMs },
    now,
  })
  const openExecution: OpenExecution = (request, claimed) => {
    ownershipWatch.executionOpened()
    return open(request, claimed)
  }
  const executions = createFlowExecutions({
    store,
    engine,
    registry,
    pools,
    live,
    countFlow: budgets.countFlow,
    openExecution,
    definitions,
    queueing,
    now,
  })
  const assertMayContinue = async ({ userId, threadId }: FlowExecution) => {
    if (!(await permissions.can(userId, threadId, 'write'))) throw permissionDenied(threadId, 'write')
  }
  // Where no other process takes flows from the queue, flows run to their end within the grace period.
  const mayContinue = ({ options }: FlowExecution) =>
    queueing === 'durable' || (queueing === 'limited' && mayResume(options.stored))
  const handOver = createHandOver((run) => store.kind === 'postgres' && mayContinue(run))
  engine.work(
    createFlowRunner({
      executors,
      assertMayContinue,
      runStep: handOver.wrap(runStep),
      open: executions.open,
      onEnd: executions.onEnd,
      historyOf,
      now,
    }),
  )
  const executeOneStep = createSingleStep({ store, registry, openExecution, runStep, live, ownerId, now })
  return { registry, engine, executions, executeOneStep, handOver, ownershipWatch }
}

const toLimits = (limits: PolyphonyConfig['maxRunningFlows']): RunningLimits =>
  typeof limits === 'number' ? { perProcess: limits } : (limits ?? {})

function queueingOf({ engine, maxRunningFlows, takesFlows }: PolyphonyConfig): Queueing {
  if (engine === 'bullmq') return 'durable'
  return takesFlows && maxRunningFlows === undefined ? 'never' : 'limited'
}

const mayResume = (options: StoredRunOptions | undefined): boolean =>
  options !== undefined && options.resumeAfterCrash === undefined

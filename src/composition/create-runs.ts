import { createBudget } from '../calls/limits.ts'
import type { PolyphonyConfig } from '../config/config.ts'
import type { FlowDefinition } from '../domain/definition/flow-definition.ts'
import type { FlowObserver } from '../domain/execution/observation.ts'
import { permissionDenied } from '../domain/users/thread.ts'
import { createLocalEngine } from '../engines/local.ts'
import { executors } from '../executors/registry.ts'
import type { FlowExecution } from '../orchestrator/flow-run.ts'
import { createFlowExecutions } from '../orchestrator/runs/flow-executions.ts'
import { createFlowRunner } from '../orchestrator/runs/flow-runner.ts'
import { createOpenExecution } from '../orchestrator/runs/open-execution.ts'
import { createRunRegistry } from '../orchestrator/runs/run-registry.ts'
import { createSingleStep } from '../orchestrator/runs/single-step.ts'
import type { PermissionService } from '../policies/policy.ts'
import type { ProviderService } from '../providers/provider.ts'
import type { Store, StoredFlow } from '../repositories/repository.ts'
import type { Steps } from './create-steps.ts'
import type { Updates } from './create-updates.ts'

export interface CreateRunsDeps {
  readonly config: PolyphonyConfig
  readonly store: Store
  readonly providers: ProviderService
  readonly steps: Steps
  readonly updates: Updates
  /** Implemented by createFlowDefinitions. */
  readonly rebuild: (flow: StoredFlow) => FlowDefinition
  /** Implemented by createTelemetry. */
  readonly observer: FlowObserver
  readonly permissions: Pick<PermissionService, 'can'>
  readonly ownerId: string
  readonly now: () => Date
}

/** Builds everything that executes flows in this process, from their start to their end. */
export function createRuns(deps: CreateRunsDeps) {
  const { config, store, providers, steps, updates, rebuild, observer, permissions, ownerId, now } = deps
  const { runStep, historyOf } = steps
  const { log: updateLog, live } = updates
  const registry = createRunRegistry()
  const engine = createLocalEngine({
    runs: registry,
    flows: { claim: store.journal.claim, enqueue: store.journal.enqueue, ...store.queue },
    ownerId,
    registered: () => [],
    limits: {},
    now,
  })
  const openExecution = createOpenExecution({
    store,
    providers,
    updateLog,
    executorOf: (type) => executors[type],
    observer,
    createBudget,
    defaults: { limits: config.limits, flowTimeoutMs: config.timeouts.flowMs },
    now,
  })
  const executions = createFlowExecutions({
    store,
    engine,
    registry,
    providers,
    live,
    openExecution,
    rebuild,
    now,
  })
  const assertMayContinue = async ({ userId, threadId }: FlowExecution) => {
    if (!(await permissions.can(userId, threadId, 'write'))) throw permissionDenied(threadId, 'write')
  }
  engine.work(createFlowRunner({ assertMayContinue, executors, runStep, open: executions.open, onEnd: executions.onEnd, historyOf, now }))
  const executeOneStep = createSingleStep({ store, registry, openExecution, runStep, live, ownerId, now })
  return { registry, engine, executions, executeOneStep }
}

import { createBudget } from '../calls/limits.ts'
import type { PolyphonyConfig } from '../config/config.ts'
import type { FlowDefinition } from '../domain/definition/flow-definition.ts'
import type { FlowObserver } from '../domain/execution/observation.ts'
import { createLocalEngine } from '../engines/local.ts'
import { executors } from '../executors/registry.ts'
import type { FlowBudgets } from '../orchestrator/budgets/flow-budgets.ts'
import { createFlowExecutions } from '../orchestrator/runs/flow-executions.ts'
import { createFlowRunner } from '../orchestrator/runs/flow-runner.ts'
import { createOpenExecution } from '../orchestrator/runs/open-execution.ts'
import { createRunRegistry } from '../orchestrator/runs/run-registry.ts'
import { createSingleStep } from '../orchestrator/runs/single-step.ts'
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
  readonly budgets: FlowBudgets
  /** Implemented by createFlowDefinitions. */
  readonly rebuild: (flow: StoredFlow) => FlowDefinition
  /** Implemented by createTelemetry. */
  readonly observer: FlowObserver
  readonly ownerId: string
  readonly now: () => Date
}

/** Builds everything that executes flows in this process, from their start to their end. */
export function createRuns({
  config,
  store,
  providers,
  steps,
  updates,
  budgets,
  rebuild,
  observer,
  ownerId,
  now,
}: CreateRunsDeps) {
  const { runStep, historyOf } = steps
  const { log: updateLog, live } = updates
  const registry = createRunRegistry()
  const engine = createLocalEngine(registry)
  const openExecution = createOpenExecution({
    store,
    providers,
    updateLog,
    executorOf: (type) => executors[type],
    observer,
    createBudget,
    sharedBudgetsOf: budgets.of,
    defaults: { limits: config.limits, flowTimeoutMs: config.timeouts.flowMs },
    now,
  })
  const executions = createFlowExecutions({
    store,
    engine,
    registry,
    providers,
    live,
    countFlow: budgets.countFlow,
    openExecution,
    rebuild,
    ownerId,
    now,
  })
  engine.work(createFlowRunner({ executors, runStep, open: executions.open, onEnd: executions.onEnd, historyOf, now }))
  const executeOneStep = createSingleStep({ store, registry, openExecution, runStep, live, ownerId, now })
  return { registry, engine, executions, executeOneStep }
}

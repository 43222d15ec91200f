import { createBudget } from '../calls/limits.ts'
import type { PolyphonyConfig } from '../config/config.ts'
import type { FlowDefinition } from '../domain/definition/flow-definition.ts'
import type { FlowObserver } from '../domain/execution/observation.ts'
import { createLocalEngine } from '../engines/local.ts'
import { executors } from '../executors/registry.ts'
import { createOwnershipWatch } from '../orchestrator/ownership/ownership-watch.ts'
import { createFlowExecutions } from '../orchestrator/runs/flow-executions.ts'
import { createFlowRunner } from '../orchestrator/runs/flow-runner.ts'
import { createOpenExecution, type OpenExecution } from '../orchestrator/runs/open-execution.ts'
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
  /** Implemented by createFlowDefinitions. */
  readonly rebuild: (flow: StoredFlow) => FlowDefinition
  /** Implemented by createTelemetry. */
  readonly observer: FlowObserver
  readonly ownerId: string
  readonly now: () => Date
}

/** Builds everything that executes flows in this process, from their start to their end. */
export function createRuns({ config, store, providers, steps, updates, rebuild, observer, ownerId, now }: CreateRunsDeps) {
  const { runStep, historyOf } = steps
  const { log: updateLog, live, bus } = updates
  const registry = createRunRegistry()
  const ownershipWatch = createOwnershipWatch({
    executions: registry.executions,
    find: (flowId) => registry.find(flowId)?.execution,
    flows: store.flows,
    bus,
  })
  const engine = createLocalEngine(registry)
  const open = createOpenExecution({
    store,
    providers,
    updateLog,
    executorOf: (type) => executors[type],
    observer,
    createBudget,
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
    providers,
    live,
    openExecution,
    rebuild,
    ownerId,
    now,
  })
  engine.work(createFlowRunner({ executors, runStep, open: executions.open, onEnd: executions.onEnd, historyOf, now }))
  const executeOneStep = createSingleStep({ store, registry, openExecution, runStep, live, ownerId, now })
  return { registry, engine, executions, executeOneStep, ownershipWatch }
}

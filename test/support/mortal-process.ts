import { systemClock } from '../../src/async/clock.ts'
import { createInspection } from '../../src/composition/create-inspection.ts'
import { createModels } from '../../src/composition/create-models.ts'
import { createParser } from '../../src/composition/create-parser.ts'
import { createPolicies } from '../../src/composition/create-policies.ts'
import { createRuns } from '../../src/composition/create-runs.ts'
import { createSteps } from '../../src/composition/create-steps.ts'
import { createStoredFlows } from '../../src/composition/create-stored-flows.ts'
import { createUpdates } from '../../src/composition/create-updates.ts'
import { createWaiting } from '../../src/composition/create-waiting.ts'
import { openEngine } from '../../src/composition/open-engine.ts'
import { loadConfig, type PolyphonyConfigInput } from '../../src/config/config.ts'
import { ConversationService } from '../../src/conversations/conversation-service.ts'
import type { ModelRequest } from '../../src/domain/execution/model-call.ts'
import { executors } from '../../src/executors/registry.ts'
import { BudgetService } from '../../src/orchestrator/budgets/budget-service.ts'
import { createFlowBudgets } from '../../src/orchestrator/budgets/flow-budgets.ts'
import { OrchestratorService } from '../../src/orchestrator/orchestrator-service.ts'
import { createScriptedProvider, type ScriptedReply } from '../../src/providers/scripted.ts'
import type { Store } from '../../src/repositories/repository.ts'

/** A moment at which a process may die. `write`: before the write reaches the store. `written`: after it. */
export type Moment = 'write' | 'written' | 'request' | 'answer'

export interface MortalProcessOptions {
  readonly store: Store
  /** Called at every moment; the process dies at the first for which it returns true. */
  readonly diesAt: (moment: Moment) => boolean
  readonly reply: (request: ModelRequest) => ScriptedReply | Promise<ScriptedReply>
  readonly config?: PolyphonyConfigInput
}

/**
 * A process on a shared store that dies without a trace: from then on nothing that it waits for settles, and it neither
 * writes nor calls.
 */
export async function openMortalProcess({ store, diesAt, reply, config: given }: MortalProcessOptions) {
  let die = () => {}
  const death = new Promise<'died'>((resolve) => {
    die = () => resolve('died')
  })
  let isDead = false
  const never = () => new Promise<never>(() => {})
  const at = (moment: Moment): boolean => {
    if (!isDead && diesAt(moment)) {
      isDead = true
      die()
    }
    return isDead
  }
  const mortal =
    <Entry>(write: (entry: Entry) => Promise<void>) =>
    async (entry: Entry): Promise<void> => {
      if (isDead || at('write')) return never()
      await write(entry)
      if (at('written')) return never()
    }
  const journal = { ...store.journal, append: mortal(store.journal.append), finish: mortal(store.journal.finish) }
  const sent: ModelRequest[] = []
  const provider = createScriptedProvider({
    replies: async (request) => {
      if (isDead) return never()
      sent.push(request)
      if (at('request')) return never()
      // The answer takes a turn of the event loop, as it does from a network.
      await new Promise<void>((resolve) => setImmediate(resolve))
      return at('answer') ? never() : reply(request)
    },
  })
  const now = () => new Date()
  const config = await loadConfig(
    { database: 'memory://', providers: { scripted: provider }, retry: { baseDelayMs: 0 }, ...given },
    { env: {}, cwd: '/nonexistent' },
  )
  const ownStore = { ...store, journal }
  const parser = createParser(config.agents)
  const models = createModels(config, { warn: () => {} })
  const { dataSharing, permissions } = createPolicies(config, ownStore)
  const flows = createStoredFlows({ store: ownStore, permissions, parser, now })
  const ownerId = `owner-${Math.random()}`
  const updates = createUpdates({ config, store: ownStore, ownerId, now })
  const steps = createSteps({ config, models, dataSharing, threads: store.threads, now })
  const budgets = new BudgetService({ repository: store.budgets, budgets: [], now })
  const flowBudgets = createFlowBudgets({
    repository: store.budgets,
    budgets: [],
    ownerId,
    shared: false,
    clock: systemClock,
    logger: { warn: () => {} },
  })
  const { registry, executions, executeOneStep, ownershipWatch } = createRuns({
    config,
    store: ownStore,
    providers: models.providers,
    steps,
    updates,
    definitions: flows.definitions,
    skippedFlows: ownStore.queue,
    budgets: flowBudgets,
    permissions,
    openedEngine: await openEngine(config),
    observer: { isWatching: () => false, flowStarted: () => ({ ended: () => {} }) },
    ownerId,
    now,
  })
  const orchestrator = new OrchestratorService({
    store: ownStore,
    ...flows,
    ...createInspection({ parser, models, dataSharing, budgets }),
    executions,
    executeOneStep,
    ...createWaiting({ store: ownStore, flows, executions, now }),
    live: updates.live,
    ownerId,
    ownershipWatch,
    executorOf: (type) => executors[type],
    now,
  })
  const conversations = new ConversationService({ threads: store.threads, flows: store.flows, permissions })
  return { orchestrator, conversations, death, sent, cancelAll: registry.cancelAll }
}

import { systemClock } from '../../src/async/clock.ts'
import { createAgents } from '../../src/composition/create-agents.ts'
import { createConversations } from '../../src/composition/create-conversations.ts'
import { createModels } from '../../src/composition/create-models.ts'
import { createParser } from '../../src/composition/create-parser.ts'
import { createPolicies } from '../../src/composition/create-policies.ts'
import { createInspection } from '../../src/composition/flows/create-inspection.ts'
import { createRuns } from '../../src/composition/flows/create-runs.ts'
import { createSteps } from '../../src/composition/flows/create-steps.ts'
import { createStoredFlows } from '../../src/composition/flows/create-stored-flows.ts'
import { createUpdates } from '../../src/composition/flows/create-updates.ts'
import { createWaiting } from '../../src/composition/flows/create-waiting.ts'
import { openEngine } from '../../src/composition/open-engine.ts'
import { withFunctions } from '../../src/composition/operations/load-functions.ts'
import { loadConfig, type PolyphonyConfigInput } from '../../src/config/config.ts'
import type { ModelRequest } from '../../src/domain/execution/model-call.ts'
import { executors } from '../../src/executors/registry.ts'
import { BudgetService } from '../../src/orchestrator/budgets/budget-service.ts'
import { createFlowBudgets } from '../../src/orchestrator/budgets/flow-budgets.ts'
import { OrchestratorService } from '../../src/orchestrator/orchestrator-service.ts'
import { createScriptedProvider, type ScriptedReply } from '../../src/providers/scripted.ts'
import type { Store } from '../../src/repositories/repository.ts'
import { createToolProvider, type ToolSpec } from './tool-world.ts'

/**
 * A moment at which a process may die. `write`: before the write reaches the store. `written`: after it. `tool`: before
 * the effect of a tool. `effect`: after it.
 */
export type Moment = 'write' | 'written' | 'request' | 'answer' | 'tool' | 'effect'

export interface MortalProcessOptions {
  readonly store: Store
  /** Called at every moment; the process dies at the first for which it returns true. */
  readonly diesAt: (moment: Moment) => boolean
  readonly reply: (request: ModelRequest) => ScriptedReply | Promise<ScriptedReply>
  readonly config?: PolyphonyConfigInput
  /** Operations of the provider `function`. */
  readonly tools?: Readonly<Record<string, ToolSpec>>
}

/**
 * A process on a shared store that dies without a trace: from then on nothing that it waits for settles, and it neither
 * writes nor calls.
 */
export async function openMortalProcess({ store, diesAt, reply, config: given, tools = {} }: MortalProcessOptions) {
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
  const mortalTool = ({ run, ...spec }: ToolSpec): ToolSpec => ({
    ...spec,
    run: async (given, call) => {
      if (isDead || at('tool')) return never()
      const value = await run(given, call)
      await new Promise<void>((resolve) => setImmediate(resolve))
      return isDead || at('effect') ? never() : value
    },
  })
  const functions = createToolProvider(
    'function',
    Object.fromEntries(Object.entries(tools).map(([name, spec]) => [name, mortalTool(spec)])),
  )
  const now = () => new Date()
  const loaded = await loadConfig(
    {
      database: 'memory://',
      // Functions of the configuration take the place of the double.
      providers: { scripted: provider, ...(given?.functions === undefined && { function: functions }) },
      retry: { baseDelayMs: 0 },
      ...given,
    },
    { env: {}, cwd: '/nonexistent' },
  )
  const config = await withFunctions(loaded)
  const ownStore = { ...store, journal }
  const agents = createAgents(config)
  const parser = createParser(agents.presets)
  const serviceCalls = () => {
    throw new Error('Expected no call to a service')
  }
  const models = createModels(config, { warn: () => {}, serviceCalls })
  const { dataSharing, permissions } = createPolicies(config, ownStore)
  const { conversations, attachments } = createConversations(config, ownStore, permissions)
  const flows = createStoredFlows({ store: ownStore, permissions, parser, agents, functions: { version: () => 0 }, models, now })
  const ownerId = `owner-${Math.random()}`
  const updates = createUpdates({ config, store: ownStore, ownerId, now })
  const steps = createSteps({
    config,
    models,
    dataSharing,
    threads: store.threads,
    files: store.files,
    storeFiles: attachments,
    now,
  })
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
    pools: models.pools,
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
    attachments,
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
  return { orchestrator, conversations, death, sent, cancelAll: registry.cancelAll }
}

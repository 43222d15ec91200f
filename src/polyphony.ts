import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import type { PreparedRequest } from './calls/call.ts'
import { createCall } from './calls/create-call.ts'
import { createBudget } from './calls/limits.ts'
import { type LoadConfigOptions, loadConfig, type PolyphonyConfig, type PolyphonyConfigInput } from './config/config.ts'
import { createRatesOf } from './config/provider-rates.ts'
import { ConversationService } from './conversations/conversation-service.ts'
import { fromStoredJson, toStoredJson } from './domain/definition/json.ts'
import { createDefinitionParser, type DefinitionParser } from './domain/definition/parser.ts'
import type { JsonSchema, ModelRequest } from './domain/execution/model-call.ts'
import { untilIdle } from './engines/engine.ts'
import { createLocalEngine } from './engines/local.ts'
import { OrchestratorError } from './errors/orchestrator-error.ts'
import { executors } from './executors/registry.ts'
import { createFlowAccess } from './orchestrator/flows/flow-access.ts'
import { createFlowCache } from './orchestrator/flows/flow-cache.ts'
import { createFlowDefinitions } from './orchestrator/flows/flow-definitions.ts'
import { createFlowLists } from './orchestrator/flows/flow-lists.ts'
import { UsageService } from './orchestrator/flows/usage-service.ts'
import { createAnswerSteps, createFinalSteps } from './orchestrator/inspect/answer-steps.ts'
import { createCheckFlow } from './orchestrator/inspect/check-flow.ts'
import { createPreflight } from './orchestrator/inspect/preflight.ts'
import { OrchestratorService } from './orchestrator/orchestrator-service.ts'
import { startOwnershipWatch } from './orchestrator/ownership/ownership-watch.ts'
import { createRecovery, processLives } from './orchestrator/ownership/recovery.ts'
import { createResumption } from './orchestrator/ownership/resumption.ts'
import { startPruning, startPruningCallers } from './orchestrator/ownership/retention.ts'
import { createFlowExecutions } from './orchestrator/runs/flow-executions.ts'
import { createFlowRunner } from './orchestrator/runs/flow-runner.ts'
import { createSingleStep } from './orchestrator/runs/single-step.ts'
import { createStepPrompt } from './orchestrator/steps/step-prompt.ts'
import { createStepRunner } from './orchestrator/steps/step-runner.ts'
import { createThreadHistory } from './orchestrator/steps/thread-messages.ts'
import { createLiveUpdates, createReadUpdates } from './orchestrator/updates/live-updates.ts'
import { createUpdateLog } from './orchestrator/updates/update-log.ts'
import { createApiKeyService } from './policies/api-keys.ts'
import { createDataSharingService } from './policies/data-sharing.ts'
import { createPermissionService } from './policies/permissions.ts'
import type { ApiKeyService, DataSharingService, PermissionService } from './policies/policy.ts'
import { decideSharing, shareContext } from './policies/shared-context.ts'
import { compileCondition } from './prompts/conditions/condition.ts'
import { compileTemplate } from './prompts/template.ts'
import { createTokenCounter } from './prompts/token-count.ts'
import { createLazySimulator } from './providers/lazy-simulator.ts'
import { createModelNames } from './providers/models/model-names.ts'
import { createPriceBook, createPricingLookup } from './providers/models/prices.ts'
import type { ProviderService } from './providers/provider.ts'
import { createProviderService } from './providers/registry.ts'
import { createMemoryStore } from './repositories/memory/memory-store.ts'
import type { IdempotencyRepository, Owner, Store, TicketRepository } from './repositories/repository.ts'
import { createTelemetry } from './telemetry/create-telemetry.ts'
import type { Telemetry } from './telemetry/telemetry.ts'

/** Exported so that the types of the package contain the settings that every executor adds to `FlowTypeSettings`. */
export type { executors as FlowTypeExecutors } from './executors/registry.ts'

/** One Polyphony: everything a backend needs, over one database. */
export interface Polyphony {
  readonly orchestrator: OrchestratorService
  readonly conversations: ConversationService
  readonly permissions: PermissionService
  readonly dataSharing: DataSharingService
  readonly providers: ProviderService
  /** What flows of a user used and cost. */
  readonly usage: UsageService
  /** Keys that stand for users at the server. */
  readonly apiKeys: ApiKeyService
  /** Single-use tickets of the server, for browsers that open a WebSocket; expired ones are removed by themselves. */
  readonly tickets: TicketRepository
  /** Requests to the server that must not be done twice, and their answers; kept for a day. */
  readonly idempotency: IdempotencyRepository
  readonly telemetry: Telemetry
  readonly config: PolyphonyConfig
  /** JSON Schema of a definition as data, with the settings of every flow type. */
  definitionSchema(): JsonSchema
  /**
   * From now on this process goes on with flows that a dead one left, where they were started with `resumeAfterCrash`. Resolves when those found so
   * far run again.
   */
  resumeInterrupted(): Promise<void>
  /**
   * Ends running flows (they stay resumable), writes what waits, releases the database. Safe to call twice. `handOver`: flows are not ended but left to
   * the other processes over the same database, and to the next one. `graceMs`: flows get so long to end by themselves; default 0.
   */
  close(options?: { readonly handOver?: boolean; readonly graceMs?: number }): Promise<void>
}

export type CreatePolyphonyOptions = LoadConfigOptions

/** Providers that a simulator stands in for where none is configured. */
const SIMULATED_PROVIDERS = { openai: { active: true }, anthropic: { active: true }, google: { active: true } }

const POLL_OTHER_PROCESSES_MS = 200

/** Builds everything from configuration, environment and defaults. The only constructor users need. */
export async function createPolyphony(
  input: PolyphonyConfigInput = {},
  options: CreatePolyphonyOptions = {},
): Promise<Polyphony> {
  const config = await loadConfig(input, options)
  if (config.engine !== 'local') {
    throw new OrchestratorError(
      'CONFIG_INVALID',
      `engine: expected "local", found "${config.engine}", which this version does not have yet`,
    )
  }
  const store = await openDatabase(config)
  try {
    return await compose(config, store)
  } catch (error) {
    await store.close()
    throw error
  }
}

/** The parser of definitions as this configuration understands them; needs no database. */
export const createParser = (agents: PolyphonyConfig['agents'] = {}): DefinitionParser =>
  createDefinitionParser({
    flowTypes: Object.values(executors),
    agents,
    references: {
      template: (source) => compileTemplate(source).references,
      condition: (source) => compileCondition(source).references,
    },
  })

async function openDatabase({ database }: PolyphonyConfig): Promise<Store> {
  if (typeof database === 'string' && database.startsWith('memory:')) {
    const flows = new URL(database).searchParams.get('flows')
    return createMemoryStore(flows === null ? {} : { maxFlows: Number(flows) })
  }
  const { openStore } = await import('./repositories/database.ts')
  return openStore({ url: database })
}

async function compose(config: PolyphonyConfig, store: Store): Promise<Polyphony> {
  const now = () => new Date()
  const owner: Owner = { id: randomUUID(), host: hostname(), pid: process.pid }
  const simulator = createLazySimulator()
  const accounts = config.simulator ? { ...SIMULATED_PROVIDERS, ...config.providers } : config.providers
  const providers = createProviderService({ providers: accounts, simulator: config.simulator ? simulator.endpoint : undefined })
  const prices = createPriceBook({ overrides: config.prices })
  const modelNames = createModelNames({ prices: config.prices })
  const tokens = createTokenCounter()
  const pricingOf = createPricingLookup(providers)
  const { telemetry, observer, logger } = createTelemetry(config, {
    providers: providers.list(),
    flowTypes: Object.keys(executors),
  })

  const { threads, flows } = store
  const findCreator = async (threadId: string) => (await threads.find(threadId))?.userId
  const permissions =
    config.permissions ?? createPermissionService(store.permissions, { cacheMs: config.policyCacheMs, findCreator })
  const dataSharing = createDataSharingService(store.dataSharing, { cacheMs: config.policyCacheMs })
  const apiKeys = createApiKeyService(store.apiKeys, { cacheMs: config.policyCacheMs })
  const conversations = new ConversationService({ threads, flows, permissions })

  const call = createCall({
    attempt: (request, attempt) =>
      providers.get(request.provider).then((provider) => provider.generate(toModelRequest(request), attempt)),
    price: (provider, answer, usage) => prices.price(pricingOf(provider), answer, usage),
    worstCaseUsd: (provider, model, inputTokens, maxOutputTokens) =>
      prices.worstCase(pricingOf(provider), model, inputTokens, maxOutputTokens),
    isSimulated: (provider) => pricingOf(provider).simulated,
    ratesOf: createRatesOf(accounts),
    retry: config.retry,
  })

  const parser = createParser(config.agents)
  const definitions = createFlowDefinitions({
    parse: parser.parse,
    toStoredJson,
    fromStoredJson: (json) => fromStoredJson(json, parser.parse),
  })
  const engine = createLocalEngine()
  const live = createLiveUpdates({ read: createReadUpdates(store), heads: store.updates.heads, pollMs: POLL_OTHER_PROCESSES_MS })
  const updateLog = createUpdateLog({ journal: store.journal, onStored: live.publish, now })
  const executions = createFlowExecutions({
    store,
    engine,
    providers,
    updateLog,
    live,
    rebuild: definitions.rebuild,
    executorOf: (type) => executors[type],
    createBudget,
    observer,
    ownerId: owner.id,
    defaults: { limits: config.limits, flowTimeoutMs: config.timeouts.flowMs },
    now,
  })
  const historyOf = createThreadHistory(threads)
  const prepare = createStepPrompt({
    shareContext,
    decideSharing,
    dataSharing,
    tokens,
    vendorOf: (id) => pricingOf(id).vendor,
    historyOf,
  })
  const runStep = createStepRunner({
    call,
    prepare,
    now,
    defaults: {
      maxRetries: 2,
      timeoutMs: config.timeouts.stepMs ?? 600_000,
      firstChunkTimeoutMs: config.timeouts.firstChunkMs ?? 120_000,
      idleTimeoutMs: config.timeouts.idleMs ?? 60_000,
    },
  })
  engine.work(createFlowRunner({ executors, runStep, open: executions.open, onEnd: executions.onEnd, historyOf, now }))

  const resumption = createResumption({
    flows,
    start: async (flowId, userId, options) => {
      await orchestrator.startFlow(flowId, userId, { ...options, resumeAfterCrash: true })
      return { ended: executions.endOf(flowId) ?? Promise.resolve() }
    },
    logger,
  })
  const recovery = createRecovery({
    owners: store.owners,
    self: owner,
    isAlive: processLives,
    logger,
    exclusive: store.kind !== 'postgres',
    onInterrupted: (flowIds) => resumption.interrupted(flowIds),
  })
  if (store.kind !== 'memory') await recovery.start()
  // Nobody else can take a flow of a database that this process holds alone.
  const stopWatching = store.kind === 'postgres' ? startOwnershipWatch({ runs: executions.all, flows }) : () => {}
  const stopPruning = startPruning(store.updates, config.updates.retentionMs)
  const stopPruningCallers = startPruningCallers(store)

  const inspection = { parser, executors, providers, prices, dataSharing, decideSharing, tokens, pricingOf }
  const access = createFlowAccess({ flows, permissions })
  const orchestrator = new OrchestratorService({
    store,
    access,
    lists: createFlowLists({ flows, access, definitions }),
    definitions,
    executions,
    live,
    cache: createFlowCache(),
    checkFlow: createCheckFlow({ ...inspection, modelNames }),
    preflight: createPreflight(inspection),
    answerSteps: createAnswerSteps(executors),
    executorOf: (type) => executors[type],
    finalSteps: createFinalSteps(executors),
    executeOneStep: createSingleStep({ store, executions, runStep, ownerId: owner.id, now }),
    now,
  })

  let closing: Promise<void> | undefined
  const close = async (handOver: boolean, graceMs: number) => {
    resumption.stop()
    await untilIdle(engine, graceMs)
    stopPruning()
    stopPruningCallers()
    stopWatching()
    // Who is interrupted writes nothing: the flow stays RUNNING for whoever takes it over.
    const reason = new OrchestratorError(handOver ? 'FLOW_INTERRUPTED' : 'FLOW_CANCELLED', 'Polyphony is closing')
    await Promise.all([engine.close(reason), executions.stopAll(reason)])
    updateLog.close()
    // A database that is gone finds out by itself, and everything else is to be released all the same.
    if (store.kind !== 'memory') await recovery.stop({ handOver }).catch(() => {})
    await store.close()
    await simulator.close()
    tokens.close()
  }
  return {
    orchestrator,
    conversations,
    permissions,
    dataSharing,
    providers,
    usage: new UsageService({ usage: store.usage, access }),
    apiKeys,
    tickets: store.tickets,
    idempotency: store.idempotency,
    telemetry,
    config,
    definitionSchema: parser.jsonSchema,
    resumeInterrupted: resumption.start,
    close: ({ handOver = false, graceMs = 0 } = {}) => {
      closing ??= close(handOver, graceMs)
      return closing
    },
  }
}

/** What a provider gets, and nothing of how it came about. */
const toModelRequest = ({ model, system, messages, settings, outputSchema }: PreparedRequest): ModelRequest => ({
  model,
  system,
  messages,
  settings,
  outputSchema,
})

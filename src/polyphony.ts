import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { systemClock } from './async/clock.ts'
import { createSchedules } from './composition/background/create-schedules.ts'
import { createWebhooks } from './composition/background/create-webhooks.ts'
import { createInspection } from './composition/create-inspection.ts'
import { createModels } from './composition/create-models.ts'
import { createOwnership } from './composition/create-ownership.ts'
import { createParser } from './composition/create-parser.ts'
import { createPolicies } from './composition/create-policies.ts'
import { createQueueHealth, type QueueHealth } from './composition/create-queue-health.ts'
import { createRuns } from './composition/create-runs.ts'
import { createSharedRates, isDistributed } from './composition/create-shared-rates.ts'
import { createSteps } from './composition/create-steps.ts'
import { createStoredFlows } from './composition/create-stored-flows.ts'
import { createUpdates } from './composition/create-updates.ts'
import { createWaiting } from './composition/create-waiting.ts'
import { closingSteps, createClose } from './composition/lifecycle.ts'
import { openDatabase } from './composition/open-database.ts'
import { type OpenedEngine, openEngine } from './composition/open-engine.ts'
import { type LoadConfigOptions, loadConfig, type PolyphonyConfig, type PolyphonyConfigInput } from './config/config.ts'
import { createLogger } from './config/logger.ts'
import { ConversationService } from './conversations/conversation-service.ts'
import type { JsonSchema } from './domain/execution/model-call.ts'
import { executors } from './executors/registry.ts'
import { BudgetService } from './orchestrator/budgets/budget-service.ts'
import { createFlowBudgets } from './orchestrator/budgets/flow-budgets.ts'
import { createSkippedFlows } from './orchestrator/flows/skipped-flows.ts'
import { UsageService } from './orchestrator/flows/usage-service.ts'
import { OrchestratorService } from './orchestrator/orchestrator-service.ts'
import { startPruning, startPruningCallers, startPruningDeliveries } from './orchestrator/ownership/retention.ts'
import type { ScheduleService } from './orchestrator/schedules/schedule-service.ts'
import type { WebhookService } from './orchestrator/webhooks/webhook-service.ts'
import type { ApiKeyService, DataSharingService, PermissionService } from './policies/policy.ts'
import type { ProviderService } from './providers/provider.ts'
import type { IdempotencyRepository, RequestCountRepository, Store, TicketRepository } from './repositories/repository.ts'
import { createTelemetry } from './telemetry/create-telemetry.ts'
import type { Telemetry } from './telemetry/telemetry.ts'

/*
 * The way of one step, from an interface to the provider and back. Builders in src/composition connect the stations.
 *
 *  1. Interface             server/http/routes/executions.ts, server/models, server/mcp, cli: authenticate, translate
 *  2. Orchestrator service  orchestrator/orchestrator-service.ts: checks rights and options, resolves the input;
 *                           orchestrator/runs/flow-executions.ts: registers the run and claims the flow
 *  3. Engine                engines/local.ts: accepts the claimed flow and drives it
 *  4. Flow runner           orchestrator/runs/flow-runner.ts: opens the execution, runs its executor, stores the result
 *  5. Executor              executors/sequential.ts and its siblings: decide which step runs next
 *  6. Step runner           orchestrator/steps/step-runner.ts: runs one step from its start to its record
 *  7. Inputs and sharing    orchestrator/steps/step-inputs.ts, policies/shared-context.ts: outputs a target may see
 *  8. Prompt                orchestrator/steps/step-prompt.ts, prompts/template.ts: messages within the token limit
 *  9. Calls, outside in     calls/create-call.ts: total timeout, fallback, retry, limits, rate limit, circuit breaker,
 *                           ledger, stream timeout
 * 10. Provider              providers/registry.ts, providers/openai and its siblings: the vendor's wire format
 * 11. Journal               repositories/repository.ts: a result is durable before the next step spends money
 * 12. Update log            orchestrator/updates/update-log.ts: numbers and stores updates;
 *                           orchestrator/updates/live-updates.ts: streams them back to the interface;
 *                           server/streaming, server/socket: deliver them to the client
 */

/** Exported so that the types of the package contain the settings that every executor adds to `FlowTypeSettings`. */
export type { executors as FlowTypeExecutors } from './executors/registry.ts'

export { createParser }
/** One instance: everything that a backend needs, over one database. */
export interface Polyphony {
  readonly orchestrator: OrchestratorService
  readonly conversations: ConversationService
  readonly permissions: PermissionService
  readonly dataSharing: DataSharingService
  readonly providers: ProviderService
  /** Usage and cost of a user's flows. */
  readonly usage: UsageService
  /** What is spent and left of the budgets of `config.budgets`. */
  readonly budgets: BudgetService
  /** API keys, with which the server authenticates users. */
  readonly apiKeys: ApiKeyService
  /** Single-use tickets of the server, for browsers that open a WebSocket; expired ones are removed automatically. */
  readonly tickets: TicketRepository
  /** Idempotent requests to the server with their answers; kept for a day. */
  readonly idempotency: IdempotencyRepository
  /** Webhooks of the configuration with their secrets and the state of their deliveries; for operators only. */
  readonly webhooks: WebhookService
  /** Schedules of the configuration with their last and next runs. */
  readonly schedules: ScheduleService
  /** Requests to all servers that share the database; absent where each server counts its own. */
  readonly requestCounts?: RequestCountRepository
  readonly telemetry: Telemetry
  readonly config: PolyphonyConfig
  /** JSON Schema of a definition as data, with the settings of every flow type. */
  definitionSchema(): JsonSchema
  /**
   * Resumes flows of dead processes that were started with `resumeAfterCrash`, and takes queued flows of other
   * processes, from now on. Resolves when the flows found so far run again or are queued.
   */
  resumeInterrupted(): Promise<void>
  /** The engine of this process and the queue of all processes. Reads the whole queue: call it for probes only. */
  engineHealth(): Promise<QueueHealth>
  /**
   * Starts the flows of schedules, and sends webhooks, from now on. Servers and workers call it; any other process
   * sends webhooks once it has started a flow, and starts no flow of a schedule.
   */
  startBackgroundWork(): void
  /**
   * Ends running flows (they stay resumable), writes pending updates, releases the database. Safe to call twice. With
   * `handOver` flows are not ended but left to other processes that share the database: their calls in flight may end
   * within `graceMs`, and no new one begins. Without it running flows may end by themselves within `graceMs`; default
   * 0.
   */
  close(options?: { readonly handOver?: boolean; readonly graceMs?: number }): Promise<void>
}

export type CreatePolyphonyOptions = LoadConfigOptions

/**
 * Builds everything from configuration, environment and defaults. The only constructor that users need. Rejects with
 * CONFIG_INVALID.
 *
 * ```ts
 * import { createPolyphony } from 'polyphony'
 *
 * const polyphony = await createPolyphony({ database: 'memory://', simulator: true })
 * await polyphony.close()
 * ```
 */
export async function createPolyphony(
  input: PolyphonyConfigInput = {},
  options: CreatePolyphonyOptions = {},
): Promise<Polyphony> {
  const config = await loadConfig(input, options)
  const openedEngine = await openEngine(config)
  let store: Store | undefined
  try {
    store = await openDatabase(config, openedEngine.addJob)
    return await compose(config, openedEngine, store)
  } catch (error) {
    await openedEngine.close()
    await store?.close()
    throw error
  }
}

async function compose(config: PolyphonyConfig, openedEngine: OpenedEngine, database: Store): Promise<Polyphony> {
  const now = () => new Date()
  const owner = { id: randomUUID(), host: hostname(), pid: process.pid }
  const parser = createParser(config.agents)
  const { warn } = createLogger(config.logger, config.logLevel)
  const models = createModels(config, { sharedRates: createSharedRates(config, database, owner.id), warn })
  const { providers } = models
  const { telemetry, observer, logger } = createTelemetry(config, {
    providers: providers.list(),
    flowTypes: Object.keys(executors),
  })
  const webhooks = createWebhooks({ config, store: database, logger })
  const { store } = webhooks
  const { threads } = store
  const { permissions, dataSharing, apiKeys } = createPolicies(config, store)
  const flows = createStoredFlows({ store, permissions, parser, now, takesFlows: config.takesFlows })
  const updates = createUpdates({ config, store, ownerId: owner.id, now })
  const steps = createSteps({ config, models, dataSharing, threads, now })
  const { definitions } = flows
  const budgets = new BudgetService({ repository: store.budgets, budgets: config.budgets, now })
  const flowBudgets = createFlowBudgets({
    repository: store.budgets,
    budgets: config.budgets,
    ownerId: owner.id,
    shared: store.kind === 'postgres',
    clock: systemClock,
    logger,
  })
  const { requirements } = definitions
  const skippedFlows = createSkippedFlows({ queue: store.queue, requirements, logger, now })
  const runs = createRuns({
    config,
    openedEngine,
    store,
    providers,
    steps,
    updates,
    definitions,
    skippedFlows,
    budgets: flowBudgets,
    observer,
    permissions,
    ownerId: owner.id,
    now,
  })
  const { registry, engine, executions, executeOneStep, handOver, ownershipWatch } = runs
  const { live } = updates
  const orchestrator = new OrchestratorService({
    store,
    ...flows,
    ...createInspection({ parser, models, dataSharing, budgets }),
    executions,
    executeOneStep,
    ...createWaiting({ store, flows, executions, now }),
    live,
    ownerId: owner.id,
    ownershipWatch,
    executorOf: (type) => executors[type],
    now,
  })

  const schedules = createSchedules({ config, store, storedFlows: flows, permissions, orchestrator, parser, logger, now })

  const ownership = createOwnership({
    store,
    bus: updates.bus,
    owner,
    registry,
    distributedEngine: config.engine === 'bullmq' ? engine : undefined,
    watch: ownershipWatch,
    onEnded: live.ended,
    orchestrator,
    deliverTo: webhooks.errorWebhooks,
    logger,
  })
  await ownership.start()
  // A complete answer that waits for its price is not stored yet and would be paid again after a crash. A list that
  // cannot be loaded fails where it is used.
  const loadPrices = () => void models.prices.load().catch(() => undefined)
  if (config.engine === 'bullmq' && config.takesFlows) {
    loadPrices()
    await engine.takeQueued()
  }
  const pruning = [startPruning(store.updates, config.updates.retentionMs), startPruningCallers(store)]
  if (config.webhooks.length > 0) pruning.push(startPruningDeliveries(store.webhooks))

  const { simulator, tokens } = models
  const stopPruning = () => {
    for (const stop of pruning) stop()
  }
  return {
    orchestrator,
    conversations: new ConversationService({ threads, flows: store.flows, permissions }),
    permissions,
    dataSharing,
    providers,
    usage: new UsageService({ usage: store.usage, access: flows.access }),
    budgets,
    apiKeys,
    tickets: store.tickets,
    idempotency: store.idempotency,
    webhooks: webhooks.service,
    schedules: schedules.service,
    requestCounts: isDistributed(config, store) ? store.requestCounts : undefined,
    telemetry,
    config,
    definitionSchema: parser.jsonSchema,
    async resumeInterrupted() {
      skippedFlows.start()
      await ownership.resumeInterrupted()
      await engine.takeQueued()
    },
    engineHealth: createQueueHealth({ engine, queue: store.queue, requirements }),
    startBackgroundWork() {
      loadPrices()
      webhooks.delivery.start()
      schedules.claimer.start()
    },
    close: createClose(
      closingSteps({
        schedules: schedules.claimer,
        ownership,
        engine,
        executions,
        handOver,
        stopPruning,
        updates,
        webhooks: webhooks.delivery,
        budgets: flowBudgets,
        store,
        simulator,
        tokens,
      }),
    ),
  }
}

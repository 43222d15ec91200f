import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { openRecording } from './composition/answers/open-recording.ts'
import { createSchedules } from './composition/background/create-schedules.ts'
import { createWebhooks } from './composition/background/create-webhooks.ts'
import { startAllPruning } from './composition/background/start-all-pruning.ts'
import { createAllBudgets } from './composition/create-all-budgets.ts'
import { createConversations } from './composition/create-conversations.ts'
import { createOwnership } from './composition/create-ownership.ts'
import { createConfiguredParser, createParser } from './composition/create-parser.ts'
import { createPolicies } from './composition/create-policies.ts'
import { createQueueHealth } from './composition/create-queue-health.ts'
import { createSharedRates, isDistributed } from './composition/create-shared-rates.ts'
import { createEvents } from './composition/events/create-events.ts'
import { createInspection } from './composition/flows/create-inspection.ts'
import { createRuns } from './composition/flows/create-runs.ts'
import { createSteps } from './composition/flows/create-steps.ts'
import { createStoredFlows } from './composition/flows/create-stored-flows.ts'
import { createUpdates } from './composition/flows/create-updates.ts'
import { createWaiting } from './composition/flows/create-waiting.ts'
import { closingSteps, createClose } from './composition/lifecycle.ts'
import { openDatabase } from './composition/open-database.ts'
import { type OpenedEngine, openEngine } from './composition/open-engine.ts'
import { createNamed } from './composition/operations/create-named.ts'
import { type LoadedConfig, withFunctions } from './composition/operations/load-functions.ts'
import type { Polyphony } from './composition/polyphony.ts'
import { createAnswering } from './composition/services/create-answering.ts'
import type { ServicesDeps } from './composition/services/create-services.ts'
import { createSharedServices } from './composition/services/create-shared-services.ts'
import { type LoadConfigOptions, loadConfig, type PolyphonyConfigInput } from './config/config.ts'
import { createLogger } from './config/logger.ts'
import { executors } from './executors/registry.ts'
import { createSkippedFlows } from './orchestrator/flows/skipped-flows.ts'
import { UsageService } from './orchestrator/flows/usage-service.ts'
import { OrchestratorService } from './orchestrator/orchestrator-service.ts'
import type { Store } from './repositories/repository.ts'
import { createTelemetry } from './telemetry/create-telemetry.ts'

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
 *  9. Calls, outside in     calls/create-call.ts: total timeout, fallback, retry, pools and keys, limits, rate limit,
 *                           circuit breaker, ledger, stream timeout
 * 10. Provider              providers/registry.ts, providers/openai and its siblings: the vendor's wire format
 * 11. Journal               repositories/repository.ts: a result is durable before the next step spends money
 * 12. Update log            orchestrator/updates/update-log.ts: numbers and stores updates;
 *                           orchestrator/updates/live-updates.ts: streams them back to the interface;
 *                           server/streaming, server/socket: deliver them to the client
 */

export type { Polyphony } from './composition/polyphony.ts'
/** Exported so that the types of the package contain the settings that every executor adds to `FlowTypeSettings`. */
export type { executors as FlowTypeExecutors } from './executors/registry.ts'

export { createConfiguredParser, createParser }

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
  const config = await withFunctions(await loadConfig(input, options))
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

async function compose(loaded: LoadedConfig, openedEngine: OpenedEngine, database: Store): Promise<Polyphony> {
  const { agents, functions, parser, config } = createNamed(loaded)
  const now = () => new Date()
  const owner = { id: randomUUID(), host: hostname(), pid: process.pid }
  const { warn } = createLogger(config.logger, config.logLevel)
  const recording = await openRecording(config, database, warn)
  const sharedRates = createSharedRates(config, database, owner.id)
  const publish: ServicesDeps['publish'] = (event) => void events.service.publish(event).catch(() => {})
  const shared = createSharedServices(database, owner, warn)
  const answering = { sharedRates, warn, recording, publish, ...(shared && { shared }) }
  const { models, services, loadServices, observed } = createAnswering(config, answering)
  const { providers } = models
  const { telemetry, observer, logger } = createTelemetry(config, {
    ...observed,
    flowTypes: Object.keys(executors),
    droppedEvents: () => events.service.stats().dropped,
  })
  const webhooks = createWebhooks({ config, store: database, logger })
  const { store } = webhooks
  const { permissions, dataSharing, apiKeys } = createPolicies(config, store)
  const { takesFlows } = config
  const flows = createStoredFlows({ store, permissions, parser, agents, functions, models, now, takesFlows, recording })
  const { conversations, files, attachments } = createConversations(config, store, permissions, recording?.newThreadId)
  const updates = createUpdates({ config, store, ownerId: owner.id, now })
  const steps = createSteps({ ...store, config, models, dataSharing, storeFiles: attachments, now })
  const { definitions } = flows
  const { budgets, flowBudgets } = createAllBudgets({ config, store, ownerId: owner.id, logger, now })
  const skippedFlows = createSkippedFlows({ queue: store.queue, requirements: definitions.requirements, logger, now })
  const runs = createRuns({
    config,
    openedEngine,
    store,
    providers,
    pools: models.pools,
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
  const events = createEvents({ config, store, updates, access: flows.access, warn, now })
  await loadServices()
  const orchestrator = new OrchestratorService({
    store,
    ...flows,
    attachments,
    ...createInspection({ parser, models, dataSharing, budgets }),
    executions,
    executeOneStep,
    ...createWaiting({ store, flows, executions, now }),
    live: events.live,
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
    onEnded: events.live.ended,
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
  const stopPruning = startAllPruning(config, store)
  return {
    orchestrator,
    agents,
    functions,
    conversations,
    files,
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
    get services() {
      return services.get()
    },
    requestCounts: isDistributed(config, store) ? store.requestCounts : undefined,
    events: events.service,
    telemetry,
    config,
    definitionSchema: parser.jsonSchema,
    async resumeInterrupted() {
      skippedFlows.start()
      await ownership.resumeInterrupted()
      await engine.takeQueued()
    },
    engineHealth: createQueueHealth({ engine, queue: store.queue, requirements: definitions.requirements }),
    startBackgroundWork() {
      loadPrices()
      webhooks.delivery.start()
      schedules.claimer.start()
    },
    close: createClose(
      closingSteps({
        schedules: schedules.claimer,
        services,
        ownership,
        engine,
        executions,
        handOver,
        stopPruning,
        updates,
        webhooks: webhooks.delivery,
        events,
        budgets: flowBudgets,
        store,
        providers,
        simulator: models.simulator,
        tokens: models.tokens,
        recording,
      }),
    ),
  }
}

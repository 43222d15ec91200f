import { createSemaphore } from '../../async/semaphore.ts'
import type { FunctionContext } from '../../domain/tools/functions.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { Agent } from './agent.ts'
import { type AgentBalancer, createAgentBalancer } from './agent-balancer.ts'
import { modelOf } from './default-model.ts'
import { createEventDispatcher, type EventDispatcher } from './events/event-dispatcher.ts'
import { createLocalEvents } from './events/local-events.ts'
import { createHealthWatcher, type HealthWatcher, type SystemHealth } from './health-watcher.ts'
import { createMetricsWindow, type MetricsWindow, type SystemMetrics } from './metrics-window.ts'
import type { OpenPolyphony } from './open-polyphony.ts'
import { createOrchestratorCache, type OrchestratorCache } from './orchestrator-cache.ts'
import { type OrchestratorConfig, type OrchestratorSettings, parseOrchestratorConfig } from './orchestrator-config.ts'
import { type OrchestratorDeps, type RunOwnStep, STEP_FUNCTION } from './orchestrator-deps.ts'
import type { LoadBalancer, OrchestratorStats } from './orchestrator-stats.ts'
import { type CompleteWorkflowOptions, completeWorkflow } from './workflows/complete-workflow.ts'
import { toStoredExecution } from './workflows/execution-record.ts'
import { ownStepCall } from './workflows/own-step-call.ts'
import { createOwnSteps, type OwnStepCall, type StepExecutor, StepExecutors } from './workflows/step-executors.ts'
import { assertWorkflowInput, parseWorkflow, type Workflow, type WorkflowExecution } from './workflows/workflow.ts'
import { PHASE_TYPES } from './workflows/workflow-definition.ts'
import { createWorkflowRunner, type WorkflowRunner } from './workflows/workflow-runner.ts'

/** What belongs to the time between `start` and `stop`. */
interface Running {
  readonly polyphony: OpenPolyphony
  readonly runner: WorkflowRunner
  readonly watcher: HealthWatcher
  readonly sampler: NodeJS.Timeout | undefined
  readonly stepFunction: string
  readonly startedAt: number
}

/** `Orchestrator` without what `main.ts` connects. */
export class AgentOrchestrator {
  /** Executors of steps by type; further members of a step are passed on to them. */
  readonly workflowManager: {
    readonly stepExecutors: Map<string, StepExecutor>
    /** Executions that wait or run, and up to 1,000 ended ones, the oldest first. */
    list(): readonly WorkflowExecution[]
  }
  readonly #deps: OrchestratorDeps
  readonly #settings: OrchestratorSettings
  readonly #balancer: AgentBalancer
  readonly #cache: OrchestratorCache
  readonly #events: EventDispatcher
  readonly #metrics: MetricsWindow
  readonly #gate: ReturnType<typeof createSemaphore>
  #starting: Promise<Running> | undefined
  #running: Running | undefined

  /** Throws CONFIG_INVALID, which names every wrong field. */
  constructor(config: OrchestratorConfig, deps: OrchestratorDeps) {
    const settings = parseOrchestratorConfig(config)
    const { clock, createStrategy, createAgentHealth } = deps
    this.#deps = deps
    this.#settings = settings
    const strategy = settings.loadBalancingStrategy
    const isUsable = (agent: Agent) => this.#isUsable(agent)
    this.#balancer = createAgentBalancer({ clock, strategy, createStrategy, createAgentHealth, isUsable })
    const { maxEntries } = settings.cacheConfig
    const cache = deps.createCache(settings.cacheConfig)
    this.#cache = createOrchestratorCache({ cache, maxEntries, argumentsKey: deps.argumentsKey })
    this.#events = createEventDispatcher(createLocalEvents(clock), settings.userId)
    this.#metrics = createMetricsWindow(clock)
    this.#gate = createSemaphore(settings.maxConcurrentWorkflows)
    this.workflowManager = { stepExecutors: new StepExecutors(), list: () => this.#running?.runner.list() ?? [] }
  }

  /**
   * Opens Polyphony and starts the health checks. Safe to call twice. Rejects with CONFIG_INVALID, and as
   * `createPolyphony` does.
   */
  async start(): Promise<void> {
    this.#starting ??= this.#start()
    try {
      this.#running = await this.#starting
    } catch (error) {
      this.#starting = undefined
      throw error
    }
  }

  async #start(): Promise<Running> {
    const { clock, openPolyphony } = this.#deps
    const { polyphony: given, logLevel, userId, dataSharing, ...settings } = this.#settings
    const polyphony = isOpen(given) ? given : await openPolyphony(given ?? {}, logLevel)
    if (dataSharing === 'allow') {
      for (const { id } of polyphony.providers.list())
        await polyphony.dataSharing.set(userId, id, { allowCrossProviderContext: true })
    }
    if (polyphony.events) this.#events.connect(polyphony.events)
    const stepFunction = registerSteps(polyphony, this.#ownSteps())
    const metrics = this.#metrics
    const watcher = createHealthWatcher({
      intervalMs: settings.healthCheckInterval,
      events: this.#events,
      checkEngine: polyphony.engineHealth,
      agents: () => this.#balancer.stats().agents,
      metrics: metrics.read,
    })
    const runner = createWorkflowRunner({
      clock,
      settings: this.#settings,
      polyphony,
      balancer: this.#balancer,
      events: this.#events,
      metrics,
      gate: this.#gate,
      modelOf: (agent) => modelOf(agent, polyphony),
      stepFunction,
      ownTypes: () => new Set(this.workflowManager.stepExecutors.keys()),
    })
    const sample = () => void metrics.sample()
    // The timer must not keep the process alive.
    const sampler = settings.enableTelemetry ? setInterval(sample, settings.metricsCollectionInterval).unref() : undefined
    const running = { polyphony, runner, watcher, sampler, stepFunction, startedAt: clock.now() }
    this.#running = running
    await watcher.start()
    return running
  }

  /** Cancels running workflows, and closes the Polyphony unless it was given open. Safe to call twice. */
  async stop(): Promise<void> {
    const running = await this.#starting?.catch(() => undefined)
    this.#starting = undefined
    if (!running || this.#running !== running) return
    clearInterval(running.sampler)
    running.watcher.stop()
    await running.runner.stop()
    this.#running = undefined
    this.#events.close()
    this.#cache.clear()
    running.polyphony.functions.unregister(running.stepFunction)
    if (!isOpen(this.#settings.polyphony)) await running.polyphony.close()
  }

  /** Rejects with AGENT_EXISTS, with CONFIG_INVALID, and after `start` if its provider is not configured. */
  async registerAgent(agent: Agent): Promise<void> {
    if (!(agent instanceof Agent)) throw new OrchestratorError('CONFIG_INVALID', 'registerAgent: expected a new Agent({ … })')
    const { polyphony } = this.#running ?? {}
    if (polyphony) assertUsable(agent, polyphony)
    this.#balancer.add(agent)
    await this.#events.createEvent('agent:registered', 'coordination', { agentId: agent.id, name: agent.name })
  }

  /** Steps that the agent was given already run to their end. Rejects with AGENT_NOT_FOUND. */
  async unregisterAgent(agentId: string): Promise<void> {
    this.#balancer.remove(agentId)
    await this.#events.createEvent('agent:unregistered', 'coordination', { agentId })
  }

  /**
   * Runs a workflow as a flow of its own, when one of `maxConcurrentWorkflows` places is free. Resolves with its
   * outcome, also if it failed, was cancelled or took longer than `workflowTimeout`. Rejects before anything runs with
   * FLOW_INVALID for a workflow that cannot run, with INPUT_INVALID for an input that JSON cannot hold, with
   * AGENT_NOT_FOUND, with SERVICE_LIMIT_REACHED while `maxQueue` others wait, and with SERVICE_NOT_RUNNING before
   * `start`.
   */
  async executeWorkflow(
    workflow: Workflow,
    input?: unknown,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<WorkflowExecution> {
    const { runner } = this.#opened('executeWorkflow')
    const parsed = parseWorkflow(workflow, [...PHASE_TYPES, ...this.workflowManager.stepExecutors.keys()])
    assertWorkflowInput(input)
    return runner.execute(parsed, input, options.signal)
  }

  /**
   * Runs the whole development pipeline for requirements in words: analysis, tasks, assignment, execution, validation
   * and deployment. Resolves and rejects as `executeWorkflow`.
   */
  executeCompleteWorkflow(requirements: string, options: CompleteWorkflowOptions = {}): Promise<WorkflowExecution> {
    const { workflow, input, signal } = completeWorkflow(requirements, options)
    return this.executeWorkflow(workflow, input, { ...(signal && { signal }) })
  }

  /** Rejects with FLOW_NOT_FOUND. */
  async getWorkflowStatus(executionId: string): Promise<WorkflowExecution> {
    const { runner, polyphony } = this.#opened('getWorkflowStatus')
    const here = runner.find(executionId)?.record.toExecution() ?? runner.ended(executionId)
    if (here) return here
    const stored = toStoredExecution(await polyphony.orchestrator.getFlow(executionId, this.#settings.userId))
    if (stored) return stored
    throw new OrchestratorError('FLOW_NOT_FOUND', `expected the id of an execution, found flow "${executionId}" of no workflow`)
  }

  /** Resolves when the execution has ended. One that had ended before stays as it is. Rejects with FLOW_NOT_FOUND. */
  async cancelWorkflow(executionId: string): Promise<WorkflowExecution> {
    const { runner, polyphony } = this.#opened('cancelWorkflow')
    const outcome = await runner.cancel(executionId)
    if (outcome) return outcome
    if (!runner.ended(executionId)) await polyphony.orchestrator.cancelFlow(executionId, this.#settings.userId)
    return this.getWorkflowStatus(executionId)
  }

  getCache(): OrchestratorCache {
    return this.#cache
  }

  getEventDispatcher(): EventDispatcher {
    return this.#events
  }

  getLoadBalancer(): LoadBalancer {
    return {
      getStats: () => ({ ...this.#balancer.stats(), queued: this.#running?.runner.stats().queued ?? 0 }),
      selectAgent: ({ type = 'execution', needs } = {}) =>
        this.#balancer.assign({ id: 'selectAgent', type, ...(needs && { needs }) }),
    }
  }

  getStats(): OrchestratorStats {
    const agents = this.#balancer.stats().agents
    const none = { running: 0, queued: 0, completed: 0, failed: 0, cancelled: 0, total: 0 }
    return {
      systemHealth: this.#running?.watcher.read().status ?? 'unknown',
      uptime: this.#running ? this.#deps.clock.now() - this.#running.startedAt : 0,
      agents: {
        totalAgents: agents.length,
        availableAgents: agents.filter(({ isAvailable }) => isAvailable).length,
        busyAgents: agents.filter(({ inFlight }) => inFlight > 0).length,
        agents,
      },
      cache: this.#cache.stats(),
      workflows: this.#running?.runner.stats() ?? none,
      events: this.#events.stats(),
    }
  }

  /** Figures of the last minute, and of this process. */
  async getSystemMetrics(): Promise<SystemMetrics> {
    return this.#metrics.read()
  }

  /** The samples of every `metricsCollectionInterval`, the oldest first; at most 360. */
  getMetricsHistory(): readonly SystemMetrics[] {
    return this.#metrics.history()
  }

  /** Checks all components now. */
  async getHealth(): Promise<SystemHealth> {
    const { watcher } = this.#running ?? {}
    return watcher ? watcher.check() : { status: 'unknown', components: {}, timestamp: new Date() }
  }

  #opened(method: string): Running {
    if (this.#running) return this.#running
    throw new OrchestratorError(
      'SERVICE_NOT_RUNNING',
      `${method}: expected a started orchestrator (await orchestrator.start()), found a stopped one`,
    )
  }

  #isUsable(agent: Agent): boolean {
    const { polyphony } = this.#running ?? {}
    if (!polyphony) return true
    try {
      assertUsable(agent, polyphony)
      return true
    } catch {
      return false
    }
  }

  #ownSteps() {
    const { repeatsOwnSteps, retryPolicy } = this.#settings
    const liveOf = ({ flowId }: FunctionContext) => this.#running?.runner.find(flowId)
    return createOwnSteps({
      clock: this.#deps.clock,
      executors: this.workflowManager.stepExecutors,
      policy: repeatsOwnSteps ? retryPolicy : undefined,
      findCall: (context, given): OwnStepCall | undefined => ownStepCall(context, given, liveOf(context)),
      onError: (context, error) => void liveOf(context)?.thrown.set(context.stepId, error),
    })
  }
}

const isOpen = (given: OrchestratorSettings['polyphony']): given is OpenPolyphony =>
  given !== undefined && 'orchestrator' in given

/** Registers the function that runs the executors of the user, under the first name that is free. */
function registerSteps({ functions }: OpenPolyphony, run: RunOwnStep): string {
  let name = STEP_FUNCTION
  for (let number = 2; functions.has(name); number++) name = `${STEP_FUNCTION}_${number}`
  functions.register(name, run)
  return name
}

/** Throws PROVIDER_NOT_CONFIGURED and PROVIDER_INACTIVE; pools know about their members themselves. */
function assertUsable(agent: Agent, polyphony: OpenPolyphony): void {
  const [provider = ''] = modelOf(agent, polyphony).split('/')
  if (provider !== 'pool') polyphony.providers.assertUsable(provider)
}

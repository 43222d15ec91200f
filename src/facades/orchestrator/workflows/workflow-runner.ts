import { wait } from '../../../async/clock.ts'
import type { FlowUpdate } from '../../../domain/execution/flow-update.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import type { Agent } from '../agent.ts'
import type { AgentBalancer, AgentTicket } from '../agent-balancer.ts'
import type { EventDispatcher } from '../events/event-dispatcher.ts'
import type { MetricsWindow } from '../metrics-window.ts'
import type { OpenPolyphony } from '../open-polyphony.ts'
import { delayAfter, type OrchestratorSettings } from '../orchestrator-config.ts'
import type { OrchestratorDeps } from '../orchestrator-deps.ts'
import { assignAgent } from './assign-agent.ts'
import { createExecutionRecord, type ExecutionRecord, stepValue } from './execution-record.ts'
import { type FlowPart, withAssignees } from './flow-parts.ts'
import { inOwnWords } from './step-executors.ts'
import type { ParsedWorkflow, WorkflowExecution } from './workflow.ts'
import { type Assignment, DEPLOY_FUNCTION, toFlowDefinition } from './workflow-definition.ts'

/** Ended executions whose state is kept in memory; older ones are read from the database. */
const MAX_ENDED = 1_000

type Facts = Readonly<Record<string, unknown>>

/** One workflow that waits or runs here. */
export interface LiveWorkflow {
  readonly record: ExecutionRecord
  readonly workflow: ParsedWorkflow
  readonly input: unknown
  /** By id of the step in the flow. */
  readonly tickets: Map<string, AgentTicket>
  readonly cancellation: AbortController
  /** Errors that executors of the user threw, by id of the step in the flow. */
  readonly thrown: Map<string, unknown>
  isQueued: boolean
  /** Receives the outcome. */
  readonly settle: (execution: WorkflowExecution) => void
  readonly outcome: Promise<WorkflowExecution>
}

export interface WorkflowRunnerDeps extends Pick<OrchestratorDeps, 'clock'> {
  readonly settings: OrchestratorSettings
  readonly polyphony: OpenPolyphony
  readonly balancer: AgentBalancer
  readonly events: EventDispatcher
  readonly metrics: MetricsWindow
  /** Waits for a place among the workflows that run at once. */
  readonly gate: <Value>(work: () => Promise<Value>) => Promise<Value>
  /** `provider/model` of an agent, or of steps without one. Throws CONFIG_INVALID if no model is known. */
  modelOf(agent: Agent | undefined): string
  /** Name of the function that runs steps with executors of the user. */
  readonly stepFunction: string
  ownTypes(): ReadonlySet<string>
}

/** Runs workflows as flows and translates what happens to records and events. */
export function createWorkflowRunner(deps: WorkflowRunnerDeps) {
  const { settings, polyphony, balancer, events, metrics, gate, clock } = deps
  const { userId, retryPolicy, workflowTimeout } = settings
  const live = new Map<string, LiveWorkflow>()
  const ended = new Map<string, WorkflowExecution>()
  const totals = { completed: 0, failed: 0, cancelled: 0 }
  let thread: Promise<string> | undefined
  /** Workflows that wait or run, counted before they are stored, because many may be submitted at the same moment. */
  let accepted = 0

  const findThread = (): Promise<string> => {
    thread ??= polyphony.conversations.createThread(userId).then(({ id }) => id)
    return thread
  }

  /** Chooses the agents of all steps and stores the flow. */
  async function prepare(given: ParsedWorkflow, input: unknown): Promise<LiveWorkflow> {
    const tickets = new Map<string, AgentTicket>()
    const ownTypes = deps.ownTypes()
    const workflow = withAssignees(given, ownTypes, balancer.candidates)
    const assign = (part: FlowPart): Assignment => assignAgent(part, { balancer, tickets, modelOf: deps.modelOf })
    try {
      const definition = toFlowDefinition({
        workflow,
        ownTypes,
        stepFunction: deps.stepFunction,
        hasDeployFunction: polyphony.functions.has(DEPLOY_FUNCTION),
        agents: balancer.agents(),
        // Only the engine's own delays grow exponentially with chance; other delays are waits between executions.
        maxRetries: retryPolicy.backoff === 'exponential' ? retryPolicy.maxAttempts - 1 : 0,
        assign,
      })
      const { id } = await polyphony.orchestrator.createFlow(await findThread(), userId, definition)
      const record = createExecutionRecord(id, workflow)
      let settle: LiveWorkflow['settle'] = () => undefined
      const outcome = new Promise<WorkflowExecution>((resolve) => {
        settle = resolve
      })
      const cancellation = new AbortController()
      const started = { record, workflow, input, tickets, cancellation, thrown: new Map(), isQueued: true, settle, outcome }
      live.set(id, started)
      return started
    } catch (error) {
      for (const ticket of tickets.values()) ticket.end()
      throw error
    }
  }

  /** `secret`: what handlers see, and the log of events does not, because only the flow itself gives it. */
  function publish(type: string, { record, workflow }: LiveWorkflow, facts: Facts, secret: Facts = {}): Promise<unknown> {
    const stored = { executionId: record.id, workflowId: workflow.id, ...facts }
    const source = type.startsWith('step:') ? 'step' : 'workflow'
    const event = { type, source, subject: record.id, correlationId: record.id, data: { ...stored, ...secret } }
    // An event that cannot be stored must not end the workflow.
    return events.emit(event, stored).catch(() => undefined)
  }

  /** Records one update, and returns the event that it becomes. */
  function follow({ record, tickets }: LiveWorkflow, update: FlowUpdate): readonly [string, Facts, Facts?] | undefined {
    record.add(update)
    const part = update.stepId === undefined ? undefined : record.parts.get(update.stepId)
    if (!part) return undefined
    const { flowId, step, assignee } = part
    const about = { stepId: step.id, name: step.name ?? step.id, type: step.type }
    if (update.type === 'step_start') {
      // Only now is it known that the assignment names this agent.
      const ticket = tickets.get(flowId) ?? (assignee === undefined ? undefined : balancer.begin(assignee))
      if (ticket) tickets.set(flowId, ticket)
      return ['step:started', { ...about, agentId: ticket?.agent.id }]
    }
    if (update.type === 'step_retry') return ['step:retry', { ...about, error: update.data.error }]
    if (update.type === 'step_skipped') {
      tickets.get(flowId)?.end()
      // An agent that the assignment does not name skips nothing of the workflow.
      return step.assignees ? undefined : ['step:skipped', { ...about, reason: update.data.reason }]
    }
    if (update.type !== 'step_complete') return undefined
    const { status, executionTime, error } = update.data
    tickets.get(flowId)?.end(update.data)
    if (status === 'CANCELLED') return undefined
    metrics.stepEnded(executionTime, status === 'SUCCESS')
    if (status !== 'SUCCESS') return ['step:failed', { ...about, executionTime, error }]
    return ['step:completed', { ...about, executionTime }, { output: stepValue(update.data, step) }]
  }

  async function run(running: LiveWorkflow): Promise<void> {
    const { record, workflow, cancellation } = running
    if (cancellation.signal.aborted) return
    running.isQueued = false
    record.started()
    const { name = workflow.id } = workflow
    let order: Promise<unknown> = publish('workflow:started', running, { name }, { input: running.input })
    const onUpdate = (update: FlowUpdate) => {
      const event = follow(running, update)
      if (event) order = order.then(() => publish(event[0], running, event[1], event[2]))
    }
    try {
      await executeWithDelays(running, onUpdate)
      await order
      await end(running, 'completed')
    } catch (error) {
      await order
      const failure = OrchestratorError.from(error)
      const stepId = String(failure.details.stepId)
      if (cancellation.signal.aborted || failure.code === 'FLOW_CANCELLED') await end(running, 'cancelled', cancelled(record.id))
      else await end(running, 'failed', inOwnWords(failure, record.parts.get(stepId)?.step, running.thrown.get(stepId)))
    }
  }

  /** Ends a workflow that waits at once; one that runs ends when its calls are aborted. */
  async function cancel(running: LiveWorkflow): Promise<void> {
    const { record, cancellation, isQueued } = running
    if (cancellation.signal.aborted) return
    cancellation.abort(cancelled(record.id))
    if (!isQueued) return
    await polyphony.orchestrator.cancelFlow(record.id, userId).catch(() => undefined)
    await end(running, 'cancelled', cancelled(record.id))
  }

  /** Under a policy with fixed or linear delays the flow is resumed after each wait, so that no step is paid twice. */
  async function executeWithDelays(
    { record, workflow, input, cancellation }: LiveWorkflow,
    onUpdate: (update: FlowUpdate) => void,
  ) {
    const endsAt = clock.now() + workflowTimeout
    const { signal } = cancellation
    const failures = new Map<unknown, number>()
    for (;;) {
      const timeout = { flow: Math.max(1, endsAt - clock.now()) }
      try {
        const metadata = { workflow, input: input ?? null }
        await polyphony.orchestrator.executeFlow(record.id, userId, {
          ...{ input: toPrompt(input, workflow), metadata, timeout, signal, onUpdate, streaming: false },
        })
        return
      } catch (error) {
        if (retryPolicy.backoff === 'exponential' || !OrchestratorError.is(error) || !error.retryable) throw error
        const { stepId } = error.details
        const count = (failures.get(stepId) ?? 0) + 1
        failures.set(stepId, count)
        const delayMs = delayAfter(retryPolicy, count)
        if (stepId === undefined || count >= retryPolicy.maxAttempts || clock.now() + delayMs >= endsAt) throw error
        await wait(clock, delayMs, signal)
      }
    }
  }

  async function end(running: LiveWorkflow, outcome: 'completed' | 'failed' | 'cancelled', error?: OrchestratorError) {
    const { record, tickets } = running
    for (const ticket of tickets.values()) ticket.end()
    record.end(outcome, error)
    const execution = record.toExecution()
    live.delete(record.id)
    ended.set(record.id, execution)
    const oldest = ended.keys().next().value
    if (ended.size > MAX_ENDED && oldest !== undefined) ended.delete(oldest)
    totals[outcome] += 1
    const duration = (execution.endTime ?? new Date()).getTime() - execution.startTime.getTime()
    if (outcome !== 'cancelled') metrics.workflowEnded(outcome === 'completed')
    const { status, completedSteps, failedSteps, results, simulated } = execution
    const facts = { name: running.workflow.name ?? running.workflow.id, status, completedSteps, failedSteps, duration, simulated }
    // The words of an error may come from an executor of the user, so that the log gets only its code.
    const outcomeFacts = { ...facts, ...(error && { code: error.code }) }
    await publish(`workflow:${outcome}`, running, outcomeFacts, { results, ...(error && { error: error.toJSON() }) })
    running.settle(execution)
  }

  async function executeAccepted(workflow: ParsedWorkflow, input: unknown, signal?: AbortSignal): Promise<WorkflowExecution> {
    const prepared = prepare(workflow, input)
    // Places are taken in the order of the calls, whichever workflow is stored first.
    gate(async () => run(await prepared)).catch(() => undefined)
    const running = await prepared
    const onAbort = () => void cancel(running)
    if (signal?.aborted) onAbort()
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      return await running.outcome
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  return {
    /** Stores the workflow at once, waits for its place, and resolves with its outcome. */
    async execute(workflow: ParsedWorkflow, input: unknown, signal?: AbortSignal): Promise<WorkflowExecution> {
      assertCapacity(settings, accepted)
      accepted += 1
      try {
        return await executeAccepted(workflow, input, signal)
      } finally {
        accepted -= 1
      }
    },
    find: (id: string): LiveWorkflow | undefined => live.get(id),
    ended: (id: string): WorkflowExecution | undefined => ended.get(id),
    /** Resolves with the outcome; `undefined` for an execution that neither waits nor runs here. */
    async cancel(id: string): Promise<WorkflowExecution | undefined> {
      const running = live.get(id)
      if (running) await cancel(running)
      return running?.outcome
    },
    /** Executions that wait or run, and the ended ones that are kept, the oldest first. */
    list: (): readonly WorkflowExecution[] => [
      ...ended.values(),
      ...[...live.values()].map(({ record }) => record.toExecution()),
    ],
    stats() {
      const queued = [...live.values()].filter(({ isQueued }) => isQueued).length
      const running = live.size - queued
      return { running, queued, ...totals, total: live.size + totals.completed + totals.failed + totals.cancelled }
    },
    /** Cancels everything that waits or runs, and resolves when it has ended. */
    async stop(): Promise<void> {
      const all = [...live.values()]
      await Promise.all(all.map(cancel))
      await Promise.all(all.map(({ outcome }) => outcome))
    },
  }
}

export type WorkflowRunner = ReturnType<typeof createWorkflowRunner>

/** Throws SERVICE_LIMIT_REACHED: without a bound, submitted workflows would fill the memory. */
function assertCapacity({ maxConcurrentWorkflows, maxQueue }: OrchestratorSettings, accepted: number): void {
  if (accepted < maxConcurrentWorkflows + maxQueue) return
  throw new OrchestratorError(
    'SERVICE_LIMIT_REACHED',
    `executeWorkflow: expected at most ${maxQueue} waiting workflows (maxQueue) beside ${maxConcurrentWorkflows} running ones (maxConcurrentWorkflows), found one more`,
    { details: { maxQueue, maxConcurrentWorkflows } },
  )
}

const cancelled = (id: string): OrchestratorError =>
  new OrchestratorError('FLOW_CANCELLED', `Workflow execution "${id}" was cancelled`, { details: { flowId: id } })

/** The input as the text that prompts show: a text as it is, a value as lines or JSON. */
function toPrompt(input: unknown, { name, id }: ParsedWorkflow): string {
  if (typeof input === 'string' && input.trim() !== '') return input
  const isEmpty = input === undefined || input === null || input === '' || JSON.stringify(input) === '{}'
  return isEmpty ? (name ?? id) : JSON.stringify(input, null, 2)
}

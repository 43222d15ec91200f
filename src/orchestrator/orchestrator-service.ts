import type { AnswerStep } from '../domain/answers/answer-text.ts'
import type { FlowDefinition, FlowDefinitionInput, FlowStep } from '../domain/definition/flow-definition.ts'
import type { FlowStatusReport, OrchestrationFlow } from '../domain/execution/flow.ts'
import { flowCancelled, flowNotFound } from '../domain/execution/flow-errors.ts'
import type { FlowExecutionResult } from '../domain/execution/flow-result.ts'
import type { FlowUpdate } from '../domain/execution/flow-update.ts'
import type { StepResult } from '../domain/execution/step-result.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { settledResults } from './flow-run.ts'
import { getStep } from './flows/flow-definitions.ts'
import type { FlowPage, SavedFlow, SavedFlowName } from './flows/flow-lists.ts'
import { finalPaths, toFlow, toFlowSummary, toStatusReport } from './flows/flow-view.ts'
import type { CheckFlowOptions, FlowCheck } from './inspect/check-flow.ts'
import type { FlowFinding } from './inspect/flow-finding.ts'
import type { PreflightOptions } from './inspect/preflight.ts'
import type { OrchestratorServiceDeps } from './orchestrator-service-deps.ts'
import { repeatWhileChanged } from './repeat-changed.ts'
import { type CallerRuns, createCallerRuns } from './runs/caller-runs.ts'
import { toRerun } from './runs/rerun.ts'
import { resolveInput } from './runs/run-input.ts'
import {
  type CreateFlowOptions,
  type ExecuteFlowOptions,
  type GetFlowOptions,
  type ListFlowsOptions,
  parseRerunOptions,
  parseStreamOptions,
  type RerunFlowOptions,
  type StreamFlowOptions,
  toRunOptions,
} from './service-options.ts'
import type { EventReceipt, SignalAnswer, SignalEvent, SignalReceipt } from './waiting/signals.ts'
import type { ListWaitingOptions, WaitingPage, WaitingStep } from './waiting/waiting-list.ts'

/** Creates, runs, streams and reads flows. Every method checks the caller's rights on the flow's thread. */
export class OrchestratorService {
  readonly #deps: OrchestratorServiceDeps
  readonly #runs: CallerRuns

  constructor(deps: OrchestratorServiceDeps) {
    this.#deps = deps
    this.#runs = createCallerRuns(deps)
  }

  /**
   * Validates and stores a flow. Needs `write`. FLOW_INVALID lists every problem; THREAD_NOT_FOUND, PERMISSION_DENIED.
   *
   * ```ts
   * const flow = await polyphony.orchestrator.createFlow(thread.id, 'ada', {
   *   name: 'answer and review',
   *   type: 'sequential',
   *   steps: [
   *     { id: 'answer', model: 'openai/gpt-6-sol', action: 'generate', prompt: 'original' },
   *     { id: 'review', model: 'openai/gpt-6-luna', action: 'critique' },
   *   ],
   * })
   * ```
   */
  async createFlow(threadId: string, userId: string, definition: FlowDefinitionInput, options: CreateFlowOptions = {}) {
    await this.#deps.access.requireOnThread(threadId, userId, 'write')
    return this.#deps.storeFlow({ ...options, threadId, userId, definition })
  }

  /**
   * The flow with its step results; with `steps: 'final'` only those of the step that wrote its final output. Needs
   * `read`.
   */
  async getFlow(flowId: string, userId: string, { steps = 'all' }: GetFlowOptions = {}): Promise<OrchestrationFlow> {
    const { access, definitions, executions, store } = this.#deps
    const flow = await access.findFlow(flowId, userId, 'read')
    const onlySteps = steps === 'final' ? { paths: finalPaths(flow) } : {}
    const rows = await store.flows.stepResults(flow.id, { samples: true, ...onlySteps })
    return toFlow(flow, definitions.describe(flow), rows, executions.find(flow.id)?.progress.currentStepIndex)
  }

  /** The thread of a flow, for which rights are granted. Needs `read`. */
  async getThreadId(flowId: string, userId: string): Promise<string> {
    return (await this.#deps.access.findFlow(flowId, userId, 'read')).threadId
  }

  /** Flows of a thread without the texts of their steps, by default newest first. Needs `read`. */
  async listFlows(threadId: string, userId: string, options: ListFlowsOptions = {}): Promise<FlowPage['flows']> {
    return (await this.listFlowPage(userId, options, threadId)).flows
  }

  /**
   * Flows that the user created, of any thread. Flows that the user may no longer read are removed from each page, so a
   * page may hold fewer than `limit`.
   */
  async listFlowsOf(userId: string, options: ListFlowsOptions = {}): Promise<FlowPage['flows']> {
    return (await this.listFlowPage(userId, options)).flows
  }

  /** One page of listFlows if a thread is given, otherwise of listFlowsOf. */
  async listFlowPage(userId: string, options: ListFlowsOptions = {}, threadId?: string): Promise<FlowPage> {
    const { lists, store, definitions, executions } = this.#deps
    const { flows, ...page } = await lists.page(userId, options, threadId)
    const states = await store.flows.stepStates(flows.map(({ id }) => id))
    const summaries = flows.map((flow) => {
      const progress = executions.find(flow.id)?.progress
      return toFlowSummary(flow, definitions.describe(flow), states.get(flow.id) ?? [], progress?.currentStepIndex)
    })
    return { ...page, flows: summaries }
  }

  /**
   * The newest flow of that name that the user created and may still read, with a definition that createFlow accepts.
   * FLOW_NOT_REBUILDABLE.
   */
  findSavedFlow(userId: string, name: string): Promise<SavedFlow | undefined> {
    return this.#deps.lists.findSaved(userId, name)
  }

  /**
   * Names of the flows that the user created and may still read, each with its newest flow; newest first, at most 1000.
   */
  listSavedFlows(userId: string): Promise<readonly SavedFlowName[]> {
    return this.#deps.lists.listSaved(userId)
  }

  /** Removes the flow with its results and updates. Needs `delete`. FLOW_RUNNING while it runs. */
  async deleteFlow(flowId: string, userId: string): Promise<void> {
    await this.#deps.access.findFlow(flowId, userId, 'delete')
    const outcome = await this.#deps.store.flows.delete(flowId)
    if (outcome === 'running') throw new OrchestratorError('FLOW_RUNNING', `Flow "${flowId}" is running`, { details: { flowId } })
    if (outcome === 'missing') throw flowNotFound(flowId)
    this.#deps.cache.forget(flowId)
    this.#deps.live.ended(flowId)
  }

  /**
   * Runs the flow to its end, or resumes a FAILED or CANCELLED one without paying again for recorded steps. Needs
   * `write`. Rejects with the code of the error that ended it, after the `error` update. Waits wherever the flow runs;
   * FLOW_INTERRUPTED if no process continues it, or when this process closes.
   *
   * ```ts
   * const { finalOutput } = await polyphony.orchestrator.executeFlow(flow.id, 'ada', { input: 'Why is the sky blue?' })
   * ```
   */
  async executeFlow(flowId: string, userId: string, options: ExecuteFlowOptions = {}): Promise<FlowExecutionResult> {
    const { end } = await this.#runs.start(flowId, userId, options)
    return this.#runs.resultOf(flowId, await end)
  }

  /** Starts the flow and returns while it runs; streamFlow and getFlowStatus report its progress. Needs `write`. */
  async startFlow(flowId: string, userId: string, options: ExecuteFlowOptions = {}): Promise<FlowStatusReport> {
    await this.#runs.start(flowId, userId, options)
    return this.getFlowStatus(flowId, userId)
  }

  /**
   * Runs one step of a flow that is not running, with the recorded results of the steps before it, and records the
   * result. A step that has succeeded before runs again as its next iteration. `input` replaces the user's prompt. A
   * step with `onUnknown: 'ask'` repeats a lost call without asking, because this call is the consent; the lost attempt
   * stays marked. Needs `write`.
   */
  executeStep(flowId: string, stepId: string, userId: string, input?: string): Promise<StepResult> {
    return repeatWhileChanged(() => this.#executeStep(flowId, stepId, userId, input))
  }

  async #executeStep(flowId: string, stepId: string, userId: string, input: string | undefined): Promise<StepResult> {
    const flow = await this.#deps.access.findFlow(flowId, userId, 'write')
    const definition = this.#deps.definitions.rebuild(flow)
    const { step } = getStep(flowId, definition, stepId)
    this.#deps.cache.forget(flowId)
    const prompt = await resolveInput({ flow, definition, given: input }, this.#deps.store.threads.newestUserMessage)
    return this.#deps.executeOneStep({ flow, definition, input: prompt, options: toRunOptions({}, flow) }, step)
  }

  /**
   * Ends a flow: aborts its calls down to the socket, and resolves when it is CANCELLED. A settled flow stays as it is.
   * Needs `write`.
   */
  async cancelFlow(flowId: string, userId: string): Promise<FlowStatusReport> {
    const flow = await this.#deps.access.findFlow(flowId, userId, 'write')
    await this.#runs.cancel(flow, flowCancelled(flowId))
    return this.getFlowStatus(flowId)
  }

  /**
   * Decides about a step that waits: `approved` for an approval, with an `edit` of the shown text or with `data`;
   * `data` alone for an event. Needs `write`, or that the user is one of the step's assignees. The first decision
   * counts. STEP_NOT_FOUND, STEP_NOT_WAITING, APPROVAL_DECIDED, APPROVAL_OUTDATED, APPROVAL_EXPIRED, PERMISSION_DENIED;
   * INPUT_INVALID for `data` that does not fit the schema of the step.
   *
   * ```ts
   * const [open] = await polyphony.orchestrator.listWaiting('ada')
   * if (open) await polyphony.orchestrator.signal(open.flowId, 'ada', open.path, { approved: true, hash: open.hash })
   * ```
   */
  signal(flowId: string, userId: string, stepPath: string, answer: SignalAnswer): Promise<SignalReceipt> {
    return this.#deps.signals.signal(flowId, userId, stepPath, answer)
  }

  /**
   * Sends an event to every step that waits for it now, in all flows that the user may write. A step with a
   * `correlation` gets only events with the same one. An event that no step waits for is not kept.
   *
   * ```ts
   * await polyphony.orchestrator.signalEvent('ada', { event: 'paid', correlation: 'order-7', data: { amount: 12 } })
   * ```
   */
  signalEvent(userId: string, event: SignalEvent): Promise<EventReceipt> {
    return this.#deps.signals.signalEvent(userId, event)
  }

  /** The steps that wait in flows which the user may read, the oldest first; at most 100, or `limit` up to 1000. */
  async listWaiting(userId: string, options: ListWaitingOptions = {}): Promise<readonly WaitingStep[]> {
    return (await this.#deps.listWaiting(userId, options)).waiting
  }

  /** One page of listWaiting, with the cursor of the next one. */
  listWaitingPage(userId: string, options: ListWaitingOptions = {}): Promise<WaitingPage> {
    return this.#deps.listWaiting(userId, options)
  }

  /** Status and progress of a flow. With a `userId` it needs `read`; without one the caller is trusted. */
  async getFlowStatus(flowId: string, userId?: string): Promise<FlowStatusReport> {
    const { access, definitions, executions, store } = this.#deps
    const flow = userId === undefined ? await access.loadFlow(flowId) : await access.findFlow(flowId, userId, 'read')
    const definition = definitions.describe(flow)
    const execution = executions.find(flowId)
    if (execution) {
      const { startedAt, prior, progress } = execution
      const steps = [...prior.recorded.values(), ...settledResults(execution)]
      return toStatusReport({ id: flowId, status: 'RUNNING', startedAt }, definition, steps, progress.currentStepIndex)
    }
    const report = toStatusReport(flow, definition, (await store.flows.stepStates([flowId])).get(flowId) ?? [])
    const isQueued = flow.status === 'RUNNING' && flow.ownerId === undefined
    return isQueued ? { ...report, queuedAt: await store.queue.queuedAt(flowId) } : report
  }

  /**
   * Everything that would stop or surprise a run, and its possible cost, without any call. Never rejects for an invalid
   * definition. `options` name what budgets may be kept for besides the user.
   */
  checkFlow(definition: FlowDefinitionInput, userId: string, options: CheckFlowOptions = {}): Promise<FlowCheck> {
    return this.#deps.checkFlow(definition, userId, options)
  }

  /** Every problem that must keep a run from starting, by the rules that an interface chooses. Never rejects. */
  preflight(definition: FlowDefinitionInput, userId: string, options: PreflightOptions): Promise<readonly FlowFinding[]> {
    return this.#deps.preflight(definition, userId, options)
  }

  /**
   * Runs of steps whose text is the flow's output when they succeed, and may be shown while it is written. Empty if the
   * output is known only at the end.
   */
  async answerSteps(definition: FlowDefinition): Promise<readonly AnswerStep[]> {
    return this.#deps.answerSteps(definition)
  }

  /**
   * The steps one of which writes the output of the flow. Empty if several outputs are joined or one is selected at the
   * end. FLOW_INVALID.
   */
  async finalSteps(definition: FlowDefinitionInput): Promise<readonly FlowStep[]> {
    return this.#deps.finalSteps(definition)
  }

  /**
   * Updates after `afterSeq`, stored ones first, then live until the flow ends. Needs `read`. Leaving the loop never
   * cancels the flow. Only durable updates are delivered, so the same call after a crash continues without gaps or
   * duplicates.
   *
   * ```ts
   * for await (const update of polyphony.orchestrator.streamFlow(flow.id, 'ada')) {
   *   if (update.type === 'step_progress') process.stdout.write(update.data.delta)
   * }
   * ```
   */
  async *streamFlow(flowId: string, userId: string, options: StreamFlowOptions = {}): AsyncGenerator<FlowUpdate, void> {
    const { afterSeq, signal } = parseStreamOptions(options)
    await this.#deps.access.findFlow(flowId, userId, 'read')
    yield* this.#deps.live.stream(flowId, {
      afterSeq,
      signal,
      isSettled: () => this.#runs.isSettled(flowId),
      runsHere: () => this.#deps.executions.find(flowId) !== undefined,
    })
  }

  /**
   * A new PENDING flow of the same definition. It takes over the results of the steps before `fromStep` that a new run
   * would repeat unchanged, without paying again: with another input only those of steps that do not read it, and of a
   * loop only the first iteration. Needs `write`. STEP_NOT_FOUND.
   */
  async rerunFlow(flowId: string, userId: string, options: RerunFlowOptions = {}): Promise<OrchestrationFlow> {
    const rerun = parseRerunOptions(options)
    const flow = await this.#deps.access.findFlow(flowId, userId, 'write')
    return this.#deps.storeFlow({ userId, ...(await toRerun(this.#deps, flow, rerun)) })
  }

  /** Registers a definition with functions by name and version, so that stored flows of it can run in this process. */
  registerFlow(definition: FlowDefinitionInput): void {
    this.#deps.definitions.register(definition)
    this.#deps.executions.recheckQueue()
  }
}

import type { FlowDefinition, FlowDefinitionInput, FlowStep } from '../domain/definition/flow-definition.ts'
import type { FlowStatusReport, OrchestrationFlow, OrchestrationFlowSummary } from '../domain/execution/flow.ts'
import { flowCancelled, flowNotFound } from '../domain/execution/flow-errors.ts'
import type { FlowExecutionResult } from '../domain/execution/flow-result.ts'
import type { FlowUpdate } from '../domain/execution/flow-update.ts'
import type { StepResult } from '../domain/execution/step-result.ts'
import type { FlowType } from '../domain/vocabulary.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { AnswerStep, Executor } from '../executors/executor.ts'
import type { FlowInsert, Store, StoredFlow } from '../repositories/repository.ts'
import { settledResults } from './flow-run.ts'
import type { FlowAccess } from './flows/flow-access.ts'
import type { FlowCache } from './flows/flow-cache.ts'
import { type FlowDefinitions, getStep } from './flows/flow-definitions.ts'
import { createFlowId } from './flows/flow-id.ts'
import type { FlowLists, SavedFlow, SavedFlowName } from './flows/flow-lists.ts'
import { carriedInto, finalStepIds, joinSampleRows, toFlow, toFlowSummary, toStatusReport } from './flows/flow-view.ts'
import type { CheckFlow, FlowCheck } from './inspect/check-flow.ts'
import type { FlowFinding } from './inspect/flow-finding.ts'
import type { Preflight, PreflightOptions } from './inspect/preflight.ts'
import { cancelStored } from './ownership/cancel-stored.ts'
import { carriedResults } from './runs/carried-results.ts'
import { type FlowExecutions, statusError } from './runs/flow-executions.ts'
import type { ExecutionEnd } from './runs/flow-runner.ts'
import { assertSameRun, resolveInput } from './runs/run-input.ts'
import type { ExecuteOneStep } from './runs/single-step.ts'
import { startUnderSignal } from './runs/start-under-signal.ts'
import {
  type ExecuteFlowOptions,
  type FollowFlowOptions,
  type GetFlowOptions,
  type ListFlowsOptions,
  parseFollowOptions,
  parseRerunOptions,
  type RerunFlowOptions,
  toRunOptions,
} from './service-options.ts'
import type { LiveUpdates } from './updates/live-updates.ts'

export interface OrchestratorServiceDeps {
  readonly store: Store
  readonly access: FlowAccess
  readonly lists: FlowLists
  readonly definitions: FlowDefinitions
  readonly executions: FlowExecutions
  readonly live: LiveUpdates
  readonly cache: FlowCache
  readonly checkFlow: CheckFlow
  readonly preflight: Preflight
  readonly answerSteps: (definition: FlowDefinition) => readonly AnswerStep[]
  readonly finalSteps: (definition: FlowDefinition) => readonly FlowStep[]
  readonly executeOneStep: ExecuteOneStep
  readonly executorOf: (type: FlowType) => Pick<Executor, 'noImplicitPredecessor' | 'loop'>
  readonly now: () => Date
}

/** Some flows of a list. */
export interface FlowPage {
  readonly flows: readonly OrchestrationFlowSummary[]
  /** `cursor` of the next page, in the same order; absent on the last one. */
  readonly nextCursor?: string
}

/** Creates, runs, follows and reads flows. Every method checks the caller's rights on the flow's thread. */
export class OrchestratorService {
  readonly #deps: OrchestratorServiceDeps

  constructor(deps: OrchestratorServiceDeps) {
    this.#deps = deps
  }

  /** Validates and stores a flow. Needs `write`. FLOW_INVALID lists every problem; THREAD_NOT_FOUND, PERMISSION_DENIED. */
  async createFlow(threadId: string, userId: string, definition: FlowDefinitionInput): Promise<OrchestrationFlow> {
    await this.#deps.access.requireOnThread(threadId, userId, 'write')
    return this.#store(threadId, userId, definition, {})
  }

  /** The flow with its step results, or with those alone of the step that wrote its final output. Needs `read`. */
  async getFlow(flowId: string, userId: string, { steps = 'all' }: GetFlowOptions = {}): Promise<OrchestrationFlow> {
    const flow = await this.#deps.access.findFlow(flowId, userId, 'read')
    return this.#describe(flow, steps)
  }

  /** Thread of a flow that the user may read: what permissions are asked about. Needs `read`. */
  async getThreadId(flowId: string, userId: string): Promise<string> {
    return (await this.#deps.access.findFlow(flowId, userId, 'read')).threadId
  }

  /** Flows of a thread, newest first unless asked otherwise, without what their steps wrote. Needs `read`. */
  async listFlows(threadId: string, userId: string, options: ListFlowsOptions = {}): Promise<FlowPage['flows']> {
    return (await this.listFlowPage(userId, options, threadId)).flows
  }

  /** Flows that the user created, in whatever thread; without those that the user may not read any more, so that a page may be short. */
  async listFlowsOf(userId: string, options: ListFlowsOptions = {}): Promise<FlowPage['flows']> {
    return (await this.listFlowPage(userId, options)).flows
  }

  /** The same as a page: of a thread, or of all that the user created. `nextCursor` leads to the next one; on the last there is none. */
  async listFlowPage(userId: string, options: ListFlowsOptions = {}, threadId?: string): Promise<FlowPage> {
    const { lists, store, definitions, executions } = this.#deps
    const { flows, ...page } = await lists.page(userId, options, threadId)
    const states = await store.flows.stepStates(flows.map(({ id }) => id))
    const summaries = flows.map((flow) =>
      toFlowSummary(flow, definitions.describe(flow), states.get(flow.id) ?? [], executions.find(flow.id)?.currentStepIndex),
    )
    return { ...page, flows: summaries }
  }

  /** The newest flow of that name that the user created and may still read, ready to be created anew. FLOW_NOT_REBUILDABLE. */
  findSavedFlow(userId: string, name: string): Promise<SavedFlow | undefined> {
    return this.#deps.lists.findSaved(userId, name)
  }

  /** Names of the flows that the user created and may still read, each with its newest flow; newest first, at most 1000. */
  listSavedFlows(userId: string): Promise<readonly SavedFlowName[]> {
    return this.#deps.lists.listSaved(userId)
  }

  /** Removes the flow and everything of it. Needs `delete`. FLOW_RUNNING while it runs. */
  async deleteFlow(flowId: string, userId: string): Promise<void> {
    await this.#deps.access.findFlow(flowId, userId, 'delete')
    const outcome = await this.#deps.store.flows.delete(flowId)
    if (outcome === 'running') throw new OrchestratorError('FLOW_RUNNING', `Flow "${flowId}" is running`, { details: { flowId } })
    if (outcome === 'missing') throw flowNotFound(flowId)
    this.#deps.cache.forget(flowId)
  }

  /**
   * Runs the flow to its end, or resumes a FAILED or CANCELLED one without paying again for recorded steps. Needs `write`.
   * Rejects with the code of what ended it; the `error` update comes first.
   */
  async executeFlow(flowId: string, userId: string, options: ExecuteFlowOptions = {}): Promise<FlowExecutionResult> {
    const { end } = await this.#start(flowId, userId, options)
    return this.#result(flowId, await end)
  }

  /** Starts the flow and returns; follow it with streamFlow or getFlowStatus. Needs `write`. */
  async startFlow(flowId: string, userId: string, options: ExecuteFlowOptions = {}): Promise<FlowStatusReport> {
    await this.#start(flowId, userId, options)
    return this.getFlowStatus(flowId, userId)
  }

  /**
   * Runs one step of a flow that is not running, with what is recorded of the steps before it, and records the result. Needs `write`.
   * A step that has succeeded before runs again as its next iteration. `input` replaces the user's prompt.
   */
  async executeStep(flowId: string, stepId: string, userId: string, input?: string): Promise<StepResult> {
    const flow = await this.#deps.access.findFlow(flowId, userId, 'write')
    const definition = this.#deps.definitions.rebuild(flow)
    const { step } = getStep(flowId, definition, stepId)
    this.#deps.cache.forget(flowId)
    const prompt = await resolveInput({ flow, definition, given: input }, this.#newestUserMessage)
    return this.#deps.executeOneStep({ flow, definition, input: prompt, options: toRunOptions({}, flow) }, step)
  }

  /** Ends a flow: aborts its calls down to the socket, and resolves when it is CANCELLED. A settled flow stays as it is. Needs `write`. */
  async cancelFlow(flowId: string, userId: string): Promise<FlowStatusReport> {
    const flow = await this.#deps.access.findFlow(flowId, userId, 'write')
    const reason = flowCancelled(flowId)
    if (!(await this.#deps.executions.cancel(flowId, reason))) {
      this.#deps.cache.forget(flowId)
      await cancelStored(this.#deps, flow, reason)
    }
    return this.getFlowStatus(flowId)
  }

  /** Where the flow stands. With a `userId` it needs `read`; without one the caller is trusted. */
  async getFlowStatus(flowId: string, userId?: string): Promise<FlowStatusReport> {
    const flow =
      userId === undefined ? await this.#deps.access.loadFlow(flowId) : await this.#deps.access.findFlow(flowId, userId, 'read')
    const definition = this.#deps.definitions.describe(flow)
    const run = this.#deps.executions.find(flowId)
    if (run) {
      const steps = [...run.recorded.values(), ...settledResults(run)]
      return toStatusReport({ id: flowId, status: 'RUNNING', startedAt: run.startedAt }, definition, steps, run.currentStepIndex)
    }
    return toStatusReport(flow, definition, (await this.#deps.store.flows.stepStates([flowId])).get(flowId) ?? [])
  }

  /** Everything that would stop or surprise a run, with what it may cost, before a cent is spent. Never rejects for a bad definition. */
  checkFlow(definition: FlowDefinitionInput, userId: string): Promise<FlowCheck> {
    return this.#deps.checkFlow(definition, userId)
  }

  /** Every problem for which a run must not start, by the rules that an interface chooses; empty where it may. Never rejects for a bad definition. */
  preflight(definition: FlowDefinitionInput, userId: string, options: PreflightOptions): Promise<readonly FlowFinding[]> {
    return this.#deps.preflight(definition, userId, options)
  }

  /** Runs of steps whose text is the flow's output when they succeed, and may be shown while it is written. Empty: known only at the end. */
  async answerSteps(definition: FlowDefinition): Promise<readonly AnswerStep[]> {
    return this.#deps.answerSteps(definition)
  }

  /** The steps of which one gives the answer of the flow; none where several texts are put together, or one is chosen at the end. */
  async finalSteps(definition: FlowDefinition): Promise<readonly FlowStep[]> {
    return this.#deps.finalSteps(definition)
  }

  /**
   * Updates after `afterSeq`, stored ones first, then live until the flow ends. Needs `read`. Leaving the loop never cancels the flow.
   * Only durable updates are delivered, so the same call after a crash continues without gap or repetition.
   */
  async *streamFlow(flowId: string, userId: string, options: FollowFlowOptions = {}): AsyncGenerator<FlowUpdate, void> {
    const { afterSeq, signal } = parseFollowOptions(options)
    await this.#deps.access.findFlow(flowId, userId, 'read')
    const isSettled = async () => {
      if (this.#deps.executions.find(flowId)) return false
      const flow = await this.#deps.store.flows.find(flowId)
      return flow === undefined || (flow.status !== 'RUNNING' && flow.status !== 'PENDING')
    }
    yield* this.#deps.live.follow(flowId, { afterSeq, signal, isSettled })
  }

  /**
   * A new flow of the same definition, not started yet. Results of the steps before `fromStep` are carried over and not paid again, where the new run
   * would repeat them unchanged: with another input those that do not see it, of a loop the first round. Needs `write`. STEP_NOT_FOUND.
   */
  async rerunFlow(flowId: string, userId: string, options: RerunFlowOptions = {}): Promise<OrchestrationFlow> {
    const { fromStep, input } = parseRerunOptions(options)
    const flow = await this.#deps.access.findFlow(flowId, userId, 'write')
    const definition = this.#deps.definitions.rebuild(flow)
    const from = fromStep === undefined ? 0 : getStep(flowId, definition, fromStep).index
    const rows = from === 0 ? [] : joinSampleRows(await this.#deps.store.flows.stepResults(flowId, { samples: true }))
    const executor = this.#deps.executorOf(definition.type)
    const otherInput = input !== undefined && input !== flow.input
    const changedSteps = this.#deps.definitions.changedSteps(flow, definition)
    const carried = carriedResults({ definition, executor, from, otherInput, changedSteps }, rows)
    return this.#store(flow.threadId, userId, definition, {
      parentFlowId: flowId,
      input: input ?? flow.input,
      metadata: flow.metadata,
      carried,
    })
  }

  /** Makes a definition with functions known by name and version, so that stored flows of it can run in this process. */
  registerFlow(definition: FlowDefinitionInput): void {
    this.#deps.definitions.register(definition)
  }

  async #describe(flow: StoredFlow, steps: 'all' | 'final' = 'all'): Promise<OrchestrationFlow> {
    const { definitions, executions, store } = this.#deps
    const rows = await store.flows.stepResults(flow.id, {
      samples: true,
      ...(steps === 'final' && { stepIds: finalStepIds(flow) }),
    })
    return toFlow(flow, definitions.describe(flow), rows, executions.find(flow.id)?.currentStepIndex)
  }

  async #store(
    threadId: string,
    userId: string,
    input: FlowDefinitionInput | FlowDefinition,
    extra: Pick<FlowInsert, 'parentFlowId' | 'input' | 'metadata' | 'carried'>,
  ): Promise<OrchestrationFlow> {
    const { definitions, store, cache, now } = this.#deps
    const { definition, stored } = definitions.accept(input)
    const id = createFlowId()
    const flow: FlowInsert = {
      id,
      threadId,
      userId,
      name: definition.name,
      description: definition.description,
      flowType: definition.type,
      definition: stored,
      createdAt: now(),
      input: extra.input,
      parentFlowId: extra.parentFlowId,
      metadata: extra.metadata,
      simulated: false,
      carried: extra.carried?.map((result) => carriedInto(id, result)),
    }
    definitions.keep(id, definition, stored)
    await store.journal.createFlow(flow)
    const pending = cache.remember(flow)
    return toFlow(pending, definition, flow.carried ?? [])
  }

  async #start(flowId: string, userId: string, options: ExecuteFlowOptions): Promise<{ readonly end: Promise<ExecutionEnd> }> {
    const { executions, definitions, cache, access } = this.#deps
    const flow = await access.findFlow(flowId, userId, 'write', cache.find(flowId))
    cache.forget(flowId)
    const runOptions = toRunOptions(options, flow)
    if (options.threadId !== undefined && options.threadId !== flow.threadId) {
      throw new OrchestratorError('INPUT_INVALID', 'options.threadId: expected the thread of the flow, found another one', {
        details: { flowId },
      })
    }
    if (flow.status === 'COMPLETED' || flow.status === 'RUNNING') throw statusError(flowId, flow.status)
    const definition = definitions.rebuild(flow)
    const input = await resolveInput({ flow, definition, given: options.input }, this.#newestUserMessage)
    await assertSameRun({ flow, definition, input, options: runOptions }, this.#deps.store.flows.stepResults)
    return startUnderSignal(executions, { flow, definition, input, options: runOptions }, options.signal)
  }

  async #result(flowId: string, end: ExecutionEnd): Promise<FlowExecutionResult> {
    if ('result' in end) return end.result
    if (end.error.code !== 'FLOW_INTERRUPTED') throw end.error
    // Who took the flow away may have cancelled it.
    const flow = await this.#deps.store.flows.find(flowId)
    if (flow?.status === 'CANCELLED') throw flowCancelled(flowId)
    throw end.error
  }

  readonly #newestUserMessage = (threadId: string) => this.#deps.store.threads.newestUserMessage(threadId)
}

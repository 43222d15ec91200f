import { allPages } from './http/pages.ts'
import { asJson, asNothing, type CallOptions, type KeyedCallOptions, type Transport } from './http/transport.ts'
import { PolyphonyError } from './polyphony-error.ts'
import { type FollowOptions, followFlow } from './stream-flow.ts'
import type {
  DefinitionSource,
  Execution,
  Flow,
  FlowCheck,
  FlowListQuery,
  FlowPage,
  FlowStatusReport,
  FlowSummary,
  NewFlow,
  Rerun,
  StepExecution,
  StepResult,
} from './wire.ts'

/** Options of `executeAndWait`. */
export interface WaitOptions extends KeyedCallOptions {
  /**
   * Milliseconds for which the server delays its answer until the flow has ended; after that the client waits on the
   * stream of updates. Default 0. `timeoutMs` counts from the end of this wait.
   */
  readonly waitMs?: number
}

/** Default of `timeoutMs` after the wait. */
const ANSWER_MS = 60_000

/**
 * Stored flows and their executions.
 *
 * ```ts
 * const flow = await client.flows.create({ threadId: thread.id, template: 'critique' })
 * const { status, result } = await client.flows.executeAndWait(flow.id, { input: 'Why is the sky blue?' })
 * ```
 */
export const createFlows = (transport: Transport) => {
  const { send } = transport
  const list = (query: FlowListQuery = {}, options?: CallOptions): Promise<FlowPage> =>
    send({ method: 'GET', path: ['flows'], query }, options, asJson<FlowPage>)
  const get = (flowId: string, options?: CallOptions): Promise<Flow> =>
    send({ method: 'GET', path: ['flows', flowId] }, options, asJson<Flow>)

  /** Resolves with `undefined` if an earlier attempt of this call reached the server and is still running there. */
  async function start(flowId: string, execution: Execution, { waitMs = 0, timeoutMs = ANSWER_MS, ...options }: WaitOptions) {
    const path = ['flows', flowId, 'execute']
    try {
      return await send(
        { method: 'POST', path, query: { wait: waitMs }, body: execution, keyed: true },
        { ...options, timeoutMs: waitMs + timeoutMs },
        asJson<Flow | FlowStatusReport>,
      )
    } catch (error) {
      if (PolyphonyError.is(error) && error.code === 'REQUEST_IN_PROGRESS') return undefined
      throw error
    }
  }

  return {
    /**
     * Stores a flow; nothing runs yet. Rejects with INPUT_INVALID, without a request, for a definition with functions.
     */
    create: (flow: NewFlow, options?: KeyedCallOptions): Promise<Flow> =>
      send({ method: 'POST', path: ['flows'], body: flow, keyed: true }, options, asJson<Flow>),
    /** Problems, warnings and estimated cost of a run; calls no model. */
    check: (source: DefinitionSource, options?: CallOptions): Promise<FlowCheck> =>
      send({ method: 'POST', path: ['flows', 'check'], body: source }, options, asJson<FlowCheck>),
    /** One page of flows. */
    list,
    /** All flows that match the query; a page is requested when the loop reaches it. */
    all: (query: FlowListQuery = {}, options?: CallOptions): AsyncGenerator<FlowSummary, void> =>
      allPages(query, (next) => list(next, options)),
    /** Rejects with FLOW_NOT_FOUND for an unknown flow and for one that the caller may not read. */
    get,
    /** Deletes the flow with its results and updates. */
    delete: (flowId: string, options?: CallOptions): Promise<void> =>
      send({ method: 'DELETE', path: ['flows', flowId] }, options, asNothing),
    /** Starts the flow, or resumes it after its last recorded step, and resolves without waiting for the end. */
    execute: (flowId: string, execution: Execution = {}, options?: KeyedCallOptions): Promise<FlowStatusReport> =>
      send(
        { method: 'POST', path: ['flows', flowId, 'execute'], body: execution, keyed: true },
        options,
        asJson<FlowStatusReport>,
      ),
    /**
     * Starts the flow and resolves with it when it has ended, without a time limit. Also resolves with a failed flow:
     * see `status` and `error`. An abort ends the waiting, not the flow. If the server stops during `waitMs`, the call
     * rejects with NETWORK; after that, and without `waitMs`, the server may restart while the flow runs.
     */
    async executeAndWait(flowId: string, execution: Execution = {}, options: WaitOptions = {}): Promise<Flow> {
      const { signal, headers, timeoutMs } = options
      const started = await start(flowId, execution, options)
      if (started && 'definition' in started) return started
      for await (const _ of followFlow(transport, flowId, { signal, headers }));
      signal?.throwIfAborted()
      return get(flowId, { signal, headers, timeoutMs })
    },
    /** Runs one step of a flow that is not running. Without a time limit unless `timeoutMs` is given. */
    executeStep: (flowId: string, stepId: string, step: StepExecution = {}, options?: KeyedCallOptions): Promise<StepResult> =>
      send(
        { method: 'POST', path: ['flows', flowId, 'steps', stepId, 'execute'], body: step, keyed: true },
        { timeoutMs: Number.POSITIVE_INFINITY, ...options },
        asJson<StepResult>,
      ),
    /** Cancels the flow and its calls; resolves when it has ended. */
    cancel: (flowId: string, options?: CallOptions): Promise<FlowStatusReport> =>
      send({ method: 'POST', path: ['flows', flowId, 'cancel'] }, options, asJson<FlowStatusReport>),
    /** Creates a flow with the same definition and the results of the steps before `fromStep`; nothing runs yet. */
    rerun: (flowId: string, rerun: Rerun = {}, options?: KeyedCallOptions): Promise<Flow> =>
      send({ method: 'POST', path: ['flows', flowId, 'rerun'], body: rerun, keyed: true }, options, asJson<Flow>),
    /** Status, progress and failed steps, without results. */
    status: (flowId: string, options?: CallOptions): Promise<FlowStatusReport> =>
      send({ method: 'GET', path: ['flows', flowId, 'status'] }, options, asJson<FlowStatusReport>),
    /**
     * Updates of the flow, each once and in order, until the flow ends; reconnects automatically. Works for running and
     * for finished flows. Leaving the loop, or an abort, closes the connection and never cancels the flow.
     *
     * ```ts
     * for await (const update of client.flows.follow(flow.id)) {
     *   if (update.type === 'step_progress') console.log(update.data.delta)
     * }
     * ```
     */
    follow: (flowId: string, options: FollowOptions = {}) => followFlow(transport, flowId, options),
  }
}

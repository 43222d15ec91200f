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

/** For `executeAndWait`. */
export interface WaitOptions extends KeyedCallOptions {
  /**
   * Milliseconds that the first answer waits for the end; after that the end is awaited on the stream of updates. Default 10,000. `timeoutMs` counts
   * from there.
   */
  readonly waitMs?: number
}

/** Milliseconds for the answer itself, after the wait. */
const ANSWER_MS = 60_000

export const createFlows = (transport: Transport) => {
  const { send } = transport
  const list = (query: FlowListQuery = {}, options?: CallOptions): Promise<FlowPage> =>
    send({ method: 'GET', path: ['flows'], query }, options, asJson<FlowPage>)
  const get = (flowId: string, options?: CallOptions): Promise<Flow> =>
    send({ method: 'GET', path: ['flows', flowId] }, options, asJson<Flow>)

  /** `undefined`: the first try of this very call has reached the server and is at work there. */
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
    /** Stores a flow; nothing runs yet. Throws INPUT_INVALID, before anything is sent, for a definition with functions. */
    create: (flow: NewFlow, options?: KeyedCallOptions): Promise<Flow> =>
      send({ method: 'POST', path: ['flows'], body: flow, keyed: true }, options, asJson<Flow>),
    /** What would stop or surprise a run, and what it may cost; calls no model. */
    check: (source: DefinitionSource, options?: CallOptions): Promise<FlowCheck> =>
      send({ method: 'POST', path: ['flows', 'check'], body: source }, options, asJson<FlowCheck>),
    list,
    /** Every flow that the query finds, page by page as the loop goes on. */
    all: (query: FlowListQuery = {}, options?: CallOptions): AsyncGenerator<FlowSummary, void> =>
      allPages(query, (next) => list(next, options)),
    get,
    delete: (flowId: string, options?: CallOptions): Promise<void> =>
      send({ method: 'DELETE', path: ['flows', flowId] }, options, asNothing),
    /** Starts the flow, or goes on after its last recorded step, and answers at once. */
    execute: (flowId: string, execution: Execution = {}, options?: KeyedCallOptions): Promise<FlowStatusReport> =>
      send(
        { method: 'POST', path: ['flows', flowId, 'execute'], body: execution, keyed: true },
        options,
        asJson<FlowStatusReport>,
      ),
    /**
     * Starts the flow and resolves with it when it has ended, however long that takes. A flow that failed is an answer too: see `status` and
     * `error`. An abort ends the waiting, not the flow. With `waitMs` the server is asked to wait as well, and a server that goes away meanwhile makes it
     * reject with NETWORK; without it a server may go and come back while the flow runs.
     */
    async executeAndWait(flowId: string, execution: Execution = {}, options: WaitOptions = {}): Promise<Flow> {
      const { signal, headers, timeoutMs } = options
      const started = await start(flowId, execution, options)
      if (started && 'definition' in started) return started
      for await (const _ of followFlow(transport, flowId, { signal, headers }));
      signal?.throwIfAborted()
      return get(flowId, { signal, headers, timeoutMs })
    },
    /** Runs one step of a flow that is not running, however long that takes. */
    executeStep: (flowId: string, stepId: string, step: StepExecution = {}, options?: KeyedCallOptions): Promise<StepResult> =>
      send(
        { method: 'POST', path: ['flows', flowId, 'steps', stepId, 'execute'], body: step, keyed: true },
        { timeoutMs: Number.POSITIVE_INFINITY, ...options },
        asJson<StepResult>,
      ),
    /** Ends the flow and its calls; answers when it is over. */
    cancel: (flowId: string, options?: CallOptions): Promise<FlowStatusReport> =>
      send({ method: 'POST', path: ['flows', flowId, 'cancel'] }, options, asJson<FlowStatusReport>),
    /** A new flow of the same definition, with the results before `fromStep` carried over; nothing runs yet. */
    rerun: (flowId: string, rerun: Rerun = {}, options?: KeyedCallOptions): Promise<Flow> =>
      send({ method: 'POST', path: ['flows', flowId, 'rerun'], body: rerun, keyed: true }, options, asJson<Flow>),
    status: (flowId: string, options?: CallOptions): Promise<FlowStatusReport> =>
      send({ method: 'GET', path: ['flows', flowId, 'status'] }, options, asJson<FlowStatusReport>),
    /**
     * The updates of the flow, each once and in order, to its end; reconnects by itself. Works for running and finished flows. Leaving the loop, or
     * an abort, closes the connection and never cancels the flow.
     */
    follow: (flowId: string, options: FollowOptions = {}) => followFlow(transport, flowId, options),
  }
}

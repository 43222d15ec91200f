import { asJson, asList, createTransport, type Transport } from './http/transport.ts'
import { inputError, PolyphonyError } from './polyphony-error.ts'
import { followFlow } from './stream-flow.ts'
import { startTimer } from './timing.ts'
import type { WorkflowReport, WorkflowStatus } from './wire.ts'
import type { WorkflowClient, WorkflowInput } from './workflows/workflow-builder.ts'

const DEFAULT_URL = 'http://127.0.0.1:4100'
const DEFAULT_POLL_MS = 1_000
const DEFAULT_TIMEOUT_MS = 300_000
/** Milliseconds between two readings of the status while updates arrive. */
const READ_INTERVAL_MS = 200

const ENDED: ReadonlySet<WorkflowStatus> = new Set(['completed', 'failed', 'partial', 'cancelled'])
/** Updates of a flow that change the status of a task. */
const CHANGES: ReadonlySet<string> = new Set(['flow_start', 'step_start', 'step_complete', 'step_skipped'])

/** Which workflows are listed. */
export interface WorkflowListQuery {
  readonly status?: WorkflowStatus
  /** 1 to 100; default 100. */
  readonly limit?: number
}

/** Answer of `healthCheck`. */
export interface WorkflowServiceHealth {
  readonly status: string
  readonly service: string
  /** Workflows and other flows of all users that run or are queued. */
  readonly active_workflows: number
  readonly timestamp: string
  readonly database: string
  readonly version: string
}

/**
 * A client of the workflow service of a Polyphony server.
 *
 * ```ts
 * import { SwarmInterface } from 'polyphony/client'
 *
 * const swarm = new SwarmInterface('http://127.0.0.1:4100')
 * const { status, active_workflows } = await swarm.healthCheck()
 * ```
 */
export class SwarmInterface implements WorkflowClient {
  readonly #transport: Transport
  readonly #pollMs: number

  /**
   * `pollMs`: milliseconds between two readings of a status where its updates cannot be streamed; default 1,000. Throws
   * INPUT_INVALID for an invalid address, and for `pollMs` below 1.
   */
  constructor(url: string = DEFAULT_URL, apiKey?: string, pollMs: number = DEFAULT_POLL_MS) {
    this.#transport = createTransport({ baseUrl: url, ...(apiKey !== undefined && { apiKey }) })
    assertTime('pollMs', pollMs, 1)
    this.#pollMs = pollMs
  }

  /** Starts a workflow and resolves when the server has accepted it. Rejects with INPUT_INVALID and AGENT_NOT_FOUND. */
  submitWorkflow({ workflow_type, tasks, metadata = {}, id }: WorkflowInput): Promise<WorkflowReport> {
    return this.#transport.send(
      { method: 'POST', path: ['run-graph'], atRoot: true, body: { workflow_type, tasks, metadata }, keyed: true },
      id === undefined ? undefined : { idempotencyKey: id },
      asJson<WorkflowReport>,
    )
  }

  /** Rejects with FLOW_NOT_FOUND for an unknown workflow and for one that the caller may not read. */
  getWorkflowStatus(workflowId: string): Promise<WorkflowReport> {
    return this.#transport.send({ method: 'GET', path: ['status', workflowId], atRoot: true }, undefined, asJson<WorkflowReport>)
  }

  /**
   * Workflows of the caller, newest first: all, or those with a status; at most `limit`, which is 100 by default and at
   * most. `listWorkflows('running', 10)` and `listWorkflows({ status: 'running', limit: 10 })` are the same.
   */
  listWorkflows(given?: WorkflowStatus | WorkflowListQuery, limit?: number): Promise<readonly WorkflowReport[]> {
    const { status, limit: most } = typeof given === 'string' || !given ? { status: given, limit } : given
    return this.#transport.send(
      { method: 'GET', path: ['workflows'], atRoot: true, query: { status, limit: most } },
      undefined,
      asList<WorkflowReport>,
    )
  }

  /** Deletes a workflow. Rejects with FLOW_RUNNING while it runs, unless `force` is given, which cancels it first. */
  async deleteWorkflow(workflowId: string, { force = false }: { readonly force?: boolean } = {}): Promise<void> {
    const query = { force: force ? 'true' : undefined }
    await this.#transport.send({ method: 'DELETE', path: ['workflows', workflowId], atRoot: true, query }, undefined, asJson)
  }

  /**
   * Starts a workflow and resolves with it when it has ended, however it ended: see `status`. `onStatus` receives every
   * change, the first and the last status included; its errors are ignored. After `timeoutMs`, by default 5 minutes, it
   * rejects with TIMEOUT (`details.workflowId`), and the workflow continues. Rejects with INPUT_INVALID for any other
   * time than a number of milliseconds, before anything starts.
   */
  async submitAndWait(
    workflow: WorkflowInput,
    timeoutMs: number = DEFAULT_TIMEOUT_MS,
    onStatus?: (status: WorkflowReport) => unknown,
  ): Promise<WorkflowReport> {
    assertTime('timeoutMs', timeoutMs, 0)
    const accepted = await this.submitWorkflow(workflow)
    const workflowId = accepted.workflow_id
    const waiting = new AbortController()
    const timeout = new PolyphonyError(
      'TIMEOUT',
      `Timeout: workflow "${workflowId}" has not ended within ${timeoutMs} ms; it continues`,
      {
        details: { workflowId },
      },
    )
    const stopTimer = startTimer(timeoutMs, () => waiting.abort(timeout))
    const report = createReport(onStatus)
    report(accepted)
    try {
      await this.#streamUpdates(workflowId, waiting.signal, onStatus && report)
      for (;;) {
        waiting.signal.throwIfAborted()
        const status = await this.getWorkflowStatus(workflowId)
        report(status)
        if (ENDED.has(status.status)) return status
        await this.#transport.wait(this.#pollMs, waiting.signal)
      }
    } finally {
      stopTimer()
      waiting.abort()
    }
  }

  /** Whether the server takes work, and how much it has. Rejects with NETWORK if it does not answer. */
  healthCheck(): Promise<WorkflowServiceHealth> {
    return this.#transport.send({ method: 'GET', path: ['health'], atRoot: true }, undefined, asJson<WorkflowServiceHealth>)
  }

  /**
   * Streams the updates of the flow to its end. A server or proxy that does not deliver them is no error: the status is
   * then read at intervals.
   */
  async #streamUpdates(
    workflowId: string,
    signal: AbortSignal,
    report: ((status: WorkflowReport) => void) | undefined,
  ): Promise<void> {
    const reading = { isRunning: false, isOutdated: false }
    /** One reading covers all updates that arrived since the one before. */
    const readStatus = async () => {
      if (reading.isRunning) return
      reading.isRunning = true
      while (reading.isOutdated && !signal.aborted) {
        reading.isOutdated = false
        const status = await this.getWorkflowStatus(workflowId).catch(() => undefined)
        if (status && !signal.aborted) report?.(status)
        await this.#transport.wait(READ_INTERVAL_MS, signal)
      }
      reading.isRunning = false
    }
    try {
      for await (const { type } of followFlow(this.#transport, workflowId, { signal, maxReconnects: 3 })) {
        if (!report || !CHANGES.has(type)) continue
        reading.isOutdated = true
        void readStatus()
      }
    } catch (error) {
      if (!PolyphonyError.is(error)) throw error
    }
    reading.isOutdated = false
  }
}

/** Throws INPUT_INVALID: what is no number would end a timer at once. */
function assertTime(name: string, ms: unknown, least: number): void {
  if (typeof ms === 'number' && ms >= least) return
  throw inputError(`${name}: expected milliseconds from ${least}, found ${String(ms)}`)
}

/** Passes on a status that differs from the last one, and never one that is older than an ended one. */
function createReport(onStatus: ((status: WorkflowReport) => unknown) | undefined): (status: WorkflowReport) => void {
  let last = ''
  let hasEnded = false
  return (workflow) => {
    const now = JSON.stringify([workflow.status, workflow.tasks.map(({ status }) => status)])
    if (!onStatus || hasEnded || now === last) return
    last = now
    hasEnded = ENDED.has(workflow.status)
    // The function of the caller only watches: the wait for the workflow continues.
    void (async () => onStatus(workflow))().catch(() => undefined)
  }
}

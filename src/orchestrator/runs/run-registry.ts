import { CancellationToken } from '../../async/cancellation-token.ts'
import type { EngineRuns, FlowJob } from '../../engines/engine.ts'
import type { FlowExecution } from '../flow-run.ts'
import type { ExecutionEnd } from './flow-runner.ts'
import type { StartRequest } from './run-input.ts'

/**
 * `claimed`: started here, and not yet accepted by the engine. `queued`: started here, and will be driven by this
 * process or another one. `running`: driven by the engine. `detached`: one step that runs without the engine.
 */
type RunState = 'claimed' | 'queued' | 'running' | 'detached'

/** One flow that this process runs. It is a class because thousands exist at once and share its hidden class. */
export class Run {
  readonly flowId: string
  state: RunState
  /** Absent if another process started the flow. */
  readonly request: StartRequest | undefined
  readonly cancellation = new CancellationToken()
  /** Epoch under which the engine drives the flow; 0 before. */
  epoch = 0
  /** Present as soon as the execution is open. */
  execution: FlowExecution | undefined
  /** Settles when no part of the run is executing; absent while the run is only claimed. */
  done: Promise<unknown> | undefined
  /** Passes the outcome to the caller that started the flow in this process. */
  resolveEnd: ((end: ExecutionEnd) => void) | undefined
  /** Present while the run is queued and its end is read from the database. */
  stopWaiting: (() => void) | undefined
  /** Number of the newest update of earlier executions, which the caller does not get. */
  afterSeq = 0

  constructor(flowId: string, state: RunState, request: StartRequest | undefined) {
    this.flowId = flowId
    this.state = state
    this.request = request
  }
}

/**
 * The flows that this process runs, each from before its claim until its end. All code that finds, cancels or awaits a
 * run in this process uses this one registry.
 */
export interface RunRegistry extends EngineRuns {
  /** Registers a run that is about to be claimed; `undefined` if the flow already runs in this process. */
  claim(request: StartRequest): Run | undefined
  /** Registers a run without an engine and starts its work; `undefined` if the flow already runs in this process. */
  detach<Result>(request: StartRequest, work: (run: Run) => Promise<Result>): Promise<Result> | undefined
  /** The engine has queued a claimed run, which this process or another one will drive. */
  queued(run: Run): void
  /** Must be called before the end of the run is published. Another run of the same flow stays. */
  remove(run: Run): void
  find(flowId: string): Run | undefined
  /** The run of a job, also if the flow runs here again under its next epoch. */
  findDriven(job: FlowJob): Run | undefined
  /** Every open execution of this process. */
  executions(): Iterable<FlowExecution>
}

export function createRunRegistry(): RunRegistry {
  const runs = new Map<string, Run>()

  /** Counted, because engines with a limit ask at the end of every flow, beside thousands of queued ones. */
  let driven = 0

  /** Runs whose flow runs here again, under its next epoch, before they have ended. */
  const replaced = new Set<Run>()

  /** Cancellations that wait until the engine has accepted or refused their run. */
  const undecided = new Map<Run, (() => void)[]>()

  const untilDecided = (run: Run) =>
    new Promise<void>((resolve) => {
      undecided.set(run, [...(undecided.get(run) ?? []), resolve])
    })

  const decided = (run: Run) => {
    if (undecided.size === 0) return
    for (const resolve of undecided.get(run) ?? []) resolve()
    undecided.delete(run)
  }

  const remove = (run: Run) => {
    decided(run)
    replaced.delete(run)
    if (runs.get(run.flowId) !== run) return
    runs.delete(run.flowId)
    if (run.state === 'running') driven--
  }

  return {
    claim(request) {
      const { id } = request.flow
      if (runs.has(id)) return undefined
      const run = new Run(id, 'claimed', request)
      runs.set(id, run)
      return run
    },
    detach(request, work) {
      const { id } = request.flow
      if (runs.has(id)) return undefined
      const run = new Run(id, 'detached', request)
      runs.set(id, run)
      const result = work(run).finally(() => remove(run))
      run.done = result
      return result
    },
    queued(run) {
      run.state = 'queued'
      decided(run)
    },
    drive(job, advance) {
      const known = runs.get(job.flowId)
      const isStartedHere = known?.state === 'claimed' || known?.state === 'queued'
      const run = isStartedHere ? known : new Run(job.flowId, 'running', undefined)
      if (known?.state === 'running') replaced.add(known)
      else driven++
      run.state = 'running'
      run.stopWaiting?.()
      run.epoch = job.epoch
      runs.set(job.flowId, run)
      const done = advance(job, run.cancellation).finally(() => remove(run))
      run.done = done
      decided(run)
      return done
    },
    async cancel(flowId, reason) {
      const run = runs.get(flowId)
      if (!run || run.state === 'queued') return false
      run.cancellation.cancel(reason)
      if (run.state === 'claimed') await untilDecided(run)
      // A queued run may be driven by any process, and a refused one is not driven here.
      if (!run.done) return false
      await run.done.catch(() => {})
      return true
    },
    async cancelAll(reason) {
      const all = [...runs.values()]
      for (const run of all) run.cancellation.cancel(reason)
      await Promise.allSettled(all.map((run) => run.done))
    },
    countDriven: () => driven,
    driven: () => [...runs.values()].filter(({ state }) => state === 'running').map(({ flowId, epoch }) => ({ flowId, epoch })),
    remove,
    find: (flowId) => runs.get(flowId),
    findDriven({ flowId, epoch }) {
      const run = runs.get(flowId)
      if (run?.epoch === epoch) return run
      for (const last of replaced) if (last.flowId === flowId && last.epoch === epoch) return last
      return undefined
    },
    *executions() {
      for (const { execution } of runs.values()) if (execution) yield execution
    },
  }
}

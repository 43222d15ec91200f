import { randomUUID } from 'node:crypto'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import { answerOf, type CallLog, type LoggedCall } from './call-log.ts'
import type { OutcomeReader, StoredOutcome } from './stored-outcomes.ts'
import { startWorker, type WorkerProcess } from './worker-process.ts'

/** A flow that was accepted by a worker. */
export interface FleetFlow {
  readonly run: string
  readonly flowId: string
  readonly steps: readonly { readonly id: string; readonly dependsOn?: readonly string[] | undefined }[]
}

/** Several workers over one database, which a test kills, freezes and replaces while they run flows. */
export class Fleet {
  readonly #config: PolyphonyConfigInput
  readonly #outcomes: OutcomeReader
  readonly #workers: WorkerProcess[] = []
  #next = 0

  constructor(config: PolyphonyConfigInput, outcomes: OutcomeReader) {
    this.#config = config
    this.#outcomes = outcomes
  }

  get workers(): readonly WorkerProcess[] {
    return this.#workers
  }

  async add(count: number): Promise<void> {
    this.#workers.push(...(await Promise.all(Array.from({ length: count }, () => startWorker(this.#config)))))
  }

  /** Kills a worker and puts a new one in its place. */
  async replace(index: number, signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    await this.#workers[index]?.end(signal)
    this.#workers[index] = await startWorker(this.#config)
  }

  /** Starts a flow in some worker; repeats the request in another one if the worker dies before it has accepted it. */
  async run(define: (run: string) => FlowDefinitionInput): Promise<FleetFlow> {
    for (;;) {
      const run = randomUUID()
      const definition = define(run)
      const { steps } = definition
      const worker = this.#pick()
      worker.send({ type: 'run', run, definition })
      const created = await worker.reported((report) => report.run === run)
      if (created?.flowId !== undefined && (await this.#isStarted(worker, run, created.flowId))) {
        return { run, flowId: created.flowId, steps }
      }
    }
  }

  async #isStarted(first: WorkerProcess, run: string, flowId: string): Promise<boolean> {
    const answer = await first.reported((report) => report.run === run && report.type !== 'created')
    if (answer?.type === 'started') return true
    const [stored] = await this.#outcomes.read([flowId]).catch(() => [])
    return stored !== undefined && stored.status !== 'PENDING'
  }

  #pick(): WorkerProcess {
    const living = this.#workers.filter(({ child }) => child.exitCode === null && child.signalCode === null)
    const worker = living[this.#next++ % living.length]
    if (!worker) throw new Error('expected a living worker')
    return worker
  }
}

export interface FleetVerdict {
  /** Calls whose answer the provider had sent completely, and that were made again. */
  readonly repeatedAnswers: number
  readonly calls: number
  /** Steps with a repeated call that no attempt accounts for. */
  readonly unmarked: readonly string[]
  /** Steps with a missing or a wrong output. */
  readonly wrong: readonly string[]
  /** Steps that were called without the outputs of the steps that they depend on. */
  readonly unfed: readonly string[]
}

/** Compares what the database holds with what the provider was asked. */
export function judgeFleet(flows: readonly FleetFlow[], outcomes: readonly StoredOutcome[], provider: CallLog): FleetVerdict {
  let repeatedAnswers = 0
  let calls = 0
  const unmarked: string[] = []
  const wrong: string[] = []
  const unfed: string[] = []
  const byRun = new Map<string, LoggedCall[]>()
  for (const call of provider.calls) byRun.set(call.run, [...(byRun.get(call.run) ?? []), call])
  for (const { run, flowId, steps } of flows) {
    const stored = outcomes.find((outcome) => outcome.flowId === flowId)
    for (const { id: step, dependsOn = [] } of steps) {
      const asked = (byRun.get(run) ?? []).filter((call) => call.step === step)
      calls += asked.length
      const answered = asked.filter(({ answeredAtMs }) => answeredAtMs !== undefined).length
      repeatedAnswers += Math.max(0, answered - 1)
      const doubled = stored?.doubled[step] ?? 0
      const aborted = stored?.aborted[step] ?? 0
      if (doubled + aborted < asked.length - 1) {
        const times = asked.map(
          ({ arrivedAtMs, answeredAtMs }) => `${Math.round(arrivedAtMs)} to ${Math.round(answeredAtMs ?? 0)}`,
        )
        unmarked.push(`${flowId} ${step}: called at ${times.join(', ')}; ${doubled} doubled, ${aborted} aborted`)
      }
      if (stored?.outputs[step] !== answerOf(run, step)) wrong.push(`${flowId} ${step}`)
      const needed = dependsOn.map((id) => answerOf(run, id))
      if (asked.some(({ text }) => needed.some((output) => !text.includes(output)))) unfed.push(`${flowId} ${step}`)
    }
  }
  return { repeatedAnswers, calls, unmarked, wrong, unfed }
}

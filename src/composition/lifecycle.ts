import { flowCancelled } from '../domain/execution/flow-errors.ts'
import { type Engine, untilIdle } from '../engines/engine.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { FlowExecutions } from '../orchestrator/runs/flow-executions.ts'
import type { HandOver } from '../orchestrator/runs/hand-over.ts'
import type { Ownership } from './create-ownership.ts'

export interface CloseOptions {
  /** Whether flows are not ended but left to other processes that share the database, and to later ones. */
  readonly handOver: boolean
  /** Milliseconds in which running flows may end by themselves. */
  readonly graceMs: number
}

export interface ClosingStep {
  readonly name: string
  readonly close: (options: CloseOptions) => Promise<void> | void
  /**
   * Whether an error of this step is ignored. Otherwise closing rejects with the error, and the later steps do not run.
   */
  readonly ignoresErrors?: boolean
}

interface Closable {
  close(): Promise<void> | void
}

export interface ClosingDeps {
  readonly schedules: { stop(): Promise<void> }
  readonly ownership: Pick<Ownership, 'stopWatch' | 'unregister'> & { readonly resumption: Pick<Ownership['resumption'], 'stop'> }
  readonly engine: Pick<Engine, 'close' | 'drain' | 'health'>
  readonly executions: Pick<FlowExecutions, 'beginClosing' | 'stopWaiting'>
  readonly handOver: Pick<HandOver, 'begin'>
  /** Implemented by startPruning and startPruningCallers. */
  readonly stopPruning: () => void
  readonly updates: { readonly log: Closable; readonly compaction: Closable; readonly bus: Closable }
  readonly webhooks: Closable
  readonly events: Closable
  readonly budgets: Closable
  readonly store: Closable & { expectClose(): void }
  readonly providers: Closable
  /** Services that this process runs. */
  readonly services: Closable
  readonly simulator: Closable
  readonly tokens: Closable
  /** Present while requests are recorded. */
  readonly recording?: Closable
}

/** Everything that closing ends, in order. */
export const closingSteps = (deps: ClosingDeps): readonly ClosingStep[] => [
  { name: 'schedules', close: () => deps.schedules.stop() },
  { name: 'resumption of interrupted flows', close: () => deps.ownership.resumption.stop() },
  {
    name: 'taking flows',
    close({ handOver, graceMs }) {
      deps.executions.beginClosing()
      if (handOver && graceMs > 0) deps.handOver.begin()
      deps.engine.drain({ handOver })
    },
  },
  { name: 'grace period', close: ({ graceMs }) => untilIdle(deps.engine, graceMs) },
  { name: 'pruning', close: () => deps.stopPruning() },
  { name: 'ownership watch', close: () => deps.ownership.stopWatch() },
  // Flows end with a write, which would otherwise wait for a database that does not answer.
  { name: 'patience of writes', close: () => deps.store.expectClose() },
  { name: 'running flows', close: ({ handOver }) => deps.engine.close(closingReason(handOver), { handOver }) },
  { name: 'flows of other processes', close: () => deps.executions.stopWaiting(closingReason(true)) },
  // After the flows, whose steps may call them.
  { name: 'services', close: () => deps.services.close(), ignoresErrors: true },
  { name: 'update log', close: () => deps.updates.log.close() },
  { name: 'compaction of updates', close: () => deps.updates.compaction.close() },
  // After the flows, whose ends it announces.
  { name: 'webhooks', close: () => deps.webhooks.close() },
  { name: 'events', close: () => deps.events.close(), ignoresErrors: true },
  { name: 'settlements of budgets', close: () => deps.budgets.close(), ignoresErrors: true },
  // An unreachable database must not keep this process from releasing everything else.
  { name: 'ownership', close: ({ handOver }) => deps.ownership.unregister({ handOver }), ignoresErrors: true },
  // After everything that is announced.
  { name: 'notifications', close: () => deps.updates.bus.close() },
  { name: 'store', close: () => deps.store.close() },
  { name: 'providers', close: () => deps.providers.close(), ignoresErrors: true },
  { name: 'simulator', close: () => deps.simulator.close() },
  { name: 'token counter', close: () => deps.tokens.close() },
  // Last, because it rejects where a request could not be written.
  { name: 'recording', close: () => deps.recording?.close() },
]

/** An interrupted flow writes nothing: it stays RUNNING for the process that takes it over. */
function closingReason(handOver: boolean): OrchestratorError {
  const message = 'Polyphony is closing'
  return handOver ? new OrchestratorError('FLOW_INTERRUPTED', message) : flowCancelled(undefined, message)
}

/** Runs the steps one after another. Every call after the first returns the promise of the first. */
export function createClose(steps: readonly ClosingStep[]): (options?: Partial<CloseOptions>) => Promise<void> {
  let closing: Promise<void> | undefined

  const closeAll = async (options: CloseOptions) => {
    for (const { close, ignoresErrors = false } of steps) {
      try {
        await close(options)
      } catch (error) {
        if (!ignoresErrors) throw error
      }
    }
  }
  return ({ handOver = false, graceMs = 0 } = {}) => {
    closing ??= closeAll({ handOver, graceMs })
    return closing
  }
}

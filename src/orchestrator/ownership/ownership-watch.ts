import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { NotificationBus } from '../../notifications/notification.ts'
import type { FlowRepository } from '../../repositories/repository.ts'
import type { FlowExecution } from '../flow-run.ts'

const CHECK_INTERVAL_MS = 1_000
/** Maximum number of flows per check; the next check continues with the others. */
const FLOWS_PER_CHECK = 500
const TOPIC = 'flows taken'
/** Flow ids in one message: 36 characters each. */
const IDS_PER_MESSAGE = 100

export interface OwnershipWatchDeps {
  /** Open executions of this process. Implemented by createRunRegistry. */
  readonly executions: () => Iterable<FlowExecution>
  /** The open execution of a flow in this process. Implemented by createRunRegistry. */
  readonly find: (flowId: string) => FlowExecution | undefined
  readonly flows: Pick<FlowRepository, 'find'>
  readonly bus: NotificationBus
}

/**
 * Ends executions whose flow another process has claimed, for example to cancel it. Writes of such an execution are
 * refused, but a call of several minutes writes nothing in between. The claim in the database decides; a message of the
 * process that claimed the flow makes this process check at once, and a check every second finds what no message has
 * reported.
 */
export function createOwnershipWatch({ executions, find, flows, bus }: OwnershipWatchDeps) {
  let checked = 0
  let timer: NodeJS.Timeout | undefined
  let endSubscription: (() => void) | undefined

  const check = (runs: readonly FlowExecution[]) =>
    Promise.all(
      runs.map(async (run) => {
        const flow = await flows.find(run.flowId)
        if (flow?.ownerEpoch === run.epoch) return
        run.cancellation.cancel(
          new OrchestratorError('FLOW_INTERRUPTED', 'Another process took the flow', { details: { flowId: run.flowId } }),
        )
      }),
    )
  // An unreachable database is queried again at the next interval.
  const checkQuietly = (runs: readonly FlowExecution[]) => void check(runs).catch(() => {})
  const checkNext = () => {
    const all = [...executions()]
    if (checked >= all.length) checked = 0
    const batch = all.slice(checked, checked + FLOWS_PER_CHECK)
    checked += batch.length
    checkQuietly(batch)
  }
  const onMessage = (payload: string) => checkQuietly(payload.split(' ').flatMap((flowId) => find(flowId) ?? []))

  return {
    /** Starts the check every second. */
    start(): void {
      timer = setInterval(checkNext, CHECK_INTERVAL_MS).unref()
    },
    /** Called with every execution: a process without executions needs no messages, and so no connection for them. */
    executionOpened(): void {
      endSubscription ??= bus.subscribe(TOPIC, { onMessage, onGap: checkNext })
    },
    /** Called with flows that this process has claimed from others, and with flows of dead processes. */
    publishTaken(flowIds: readonly string[]): void {
      for (let start = 0; start < flowIds.length; start += IDS_PER_MESSAGE) {
        bus.publish(TOPIC, flowIds.slice(start, start + IDS_PER_MESSAGE).join(' '))
      }
    },
    stop(): void {
      clearInterval(timer)
      endSubscription?.()
    },
  }
}

export type OwnershipWatch = ReturnType<typeof createOwnershipWatch>

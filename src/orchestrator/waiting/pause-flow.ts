import type { PausedStep } from '../../domain/execution/flow-update.ts'
import type { StepWait } from '../../domain/waiting/wait.ts'
import type { StoredFlowResult } from '../../repositories/repository.ts'
import type { FlowExecution } from '../flow-run.ts'
import type { PauseControl } from './pause-control.ts'

/** An execution that can only wait. `ended` settles only if the execution is cancelled. */
export interface Paused<End> {
  readonly waits: readonly StepWait[]
  readonly ended: Promise<End>
}

/** Resolves with the end of the execution, or with the waits if it can only wait. */
export function untilPaused<End>(
  { log }: FlowExecution,
  control: PauseControl,
  execute: () => Promise<End>,
): Promise<End | Paused<End>> {
  return new Promise((resolve) => {
    const pause = (waits: readonly StepWait[]) => resolve({ waits, ended })
    control.onPause({ store: (waits) => log.recordWaits(waits), pause })
    const ended = execute()
    void ended.then(resolve)
  })
}

/** Stores the flow as PAUSED, in one write with its waits. Nothing of it stays in this process. */
export function storePause(
  { log, progress }: FlowExecution,
  waits: readonly StepWait[],
  result: StoredFlowResult | undefined,
): Promise<void> {
  const deadlines = waits.flatMap(({ deadline }) => deadline?.getTime() ?? [])
  const steps = waits.map(({ path }) => `"${path}"`).join(', ')
  log.emit('flow_paused', { reason: `The flow waits at ${steps}`, waits: waits.map(toPausedStep) })
  const outcome = {
    status: 'PAUSED',
    result,
    simulated: progress.results.some((step) => step?.simulated),
    wakeAt: deadlines.length > 0 ? new Date(Math.min(...deadlines)) : undefined,
  } as const
  return log.finish(outcome, { waits })
}

const toPausedStep = ({ flowId: _, threadId: __, since, deadline, ...wait }: StepWait): PausedStep => ({
  ...wait,
  since: since.toISOString(),
  ...(deadline && { deadline: deadline.toISOString() }),
})

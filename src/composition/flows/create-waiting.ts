import { stepPathOf } from '../../domain/execution/step-path.ts'
import type { FlowExecutions } from '../../orchestrator/runs/flow-executions.ts'
import { createSignals } from '../../orchestrator/waiting/signals.ts'
import { createWaitingList } from '../../orchestrator/waiting/waiting-list.ts'
import type { Store } from '../../repositories/repository.ts'
import type { createStoredFlows } from './create-stored-flows.ts'

export interface CreateWaitingDeps {
  readonly store: Store
  readonly flows: Pick<ReturnType<typeof createStoredFlows>, 'access' | 'definitions'>
  readonly executions: FlowExecutions
  readonly now: () => Date
}

/** Builds everything by which users find and end the waits of flows. */
export function createWaiting({ store: { waits }, flows: { access, definitions }, executions, now }: CreateWaitingDeps) {
  return {
    signals: createSignals({
      waits,
      access,
      hasStep: (flow, path) => definitions.describe(flow).steps.some(({ id }) => id === stepPathOf(path)),
      executions,
      now,
    }),
    listWaiting: createWaitingList({ waits, access, now }),
  }
}

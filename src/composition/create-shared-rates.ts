import { intervalOf, type SharedRates } from '../calls/rates/shared-rates.ts'
import type { PolyphonyConfig } from '../config/config.ts'
import { BUDGET_OWNER_STALE_MS } from '../orchestrator/budgets/flow-budgets.ts'
import type { ProviderRateRepository, Store } from '../repositories/repository.ts'

/** Whether other processes run flows and serve requests over the same database. */
export const isDistributed = ({ engine }: Pick<PolyphonyConfig, 'engine'>, { kind }: Pick<Store, 'kind'>): boolean =>
  engine !== 'local' && kind === 'postgres'

/** The rates of provider accounts over all processes; `undefined` where each process keeps its own. */
export function createSharedRates(
  config: Pick<PolyphonyConfig, 'engine'>,
  store: Pick<Store, 'kind' | 'providerRates'>,
  ownerId: string,
): SharedRates | undefined {
  return isDistributed(config, store) && store.providerRates ? toSharedRates(store.providerRates, ownerId) : undefined
}

/** A store of rates as this process uses it. */
export const toSharedRates = (rates: ProviderRateRepository, ownerId: string): SharedRates => ({
  take: ({ account, rates: limits, slots }) => rates.take({ account, ownerId, intervalMs: intervalOf(limits), limits, slots }),
  leave: rates.leave,
  close: rates.close,
  closures: rates.closures,
  releaseSlots: () => rates.releaseSlots(BUDGET_OWNER_STALE_MS),
})

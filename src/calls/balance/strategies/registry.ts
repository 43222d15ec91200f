import type { PoolStrategy } from '../../../config/pools/pool-settings.ts'
import type { CreateStrategy } from '../strategy.ts'
import { leastConnections } from './least-connections.ts'
import { performanceBased } from './performance-based.ts'
import { roundRobin } from './round-robin.ts'
import { weighted } from './weighted.ts'

interface StrategyEntry {
  readonly create: CreateStrategy
  /** Whether the times of answers must be measured for it. */
  readonly measures: boolean
}

/** Every strategy by the name that pools give. */
export const STRATEGIES: Readonly<Record<PoolStrategy, StrategyEntry>> = {
  round_robin: { create: roundRobin, measures: false },
  least_connections: { create: leastConnections, measures: false },
  weighted: { create: weighted, measures: false },
  performance_based: { create: performanceBased, measures: true },
}

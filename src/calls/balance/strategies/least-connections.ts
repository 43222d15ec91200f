import { type CreateStrategy, pickAny } from '../strategy.ts'

/** The member with the fewest calls in flight for its weight; among equals by chance. */
export const leastConnections: CreateStrategy = ({ random }) => ({
  pick(eligible) {
    const fewest = Math.min(...eligible.map(({ inFlight, weight }) => inFlight / weight))
    return pickAny(
      eligible.filter(({ inFlight, weight }) => inFlight / weight === fewest),
      random,
    )
  },
})

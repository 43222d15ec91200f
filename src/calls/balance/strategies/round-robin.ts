import type { CreateStrategy } from '../strategy.ts'

/** One after another. The last choice is kept by member, so that it stays right while some cannot be asked. */
export const roundRobin: CreateStrategy = ({ order }) => {
  const positions = new Map(order.map((id, position) => [id, position]))
  let last = -1
  return {
    pick(eligible) {
      const turnOf = (id: string) => ((positions.get(id) ?? 0) - last - 1 + order.length) % order.length
      const [first, ...others] = eligible
      if (!first) return undefined
      const next = others.reduce((best, member) => (turnOf(member.id) < turnOf(best.id) ? member : best), first)
      last = positions.get(next.id) ?? 0
      return next
    },
  }
}

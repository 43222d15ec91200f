import type { CreateStrategy } from '../strategy.ts'

/**
 * One after another by weight, evenly mixed: each choice adds every weight to the credit of its member, takes the
 * highest credit, and charges it with the sum of the weights.
 */
export const weighted: CreateStrategy = () => {
  const credits = new Map<string, number>()
  const creditOf = (id: string): number => credits.get(id) ?? 0
  return {
    pick(eligible) {
      const [first, ...others] = eligible
      if (!first) return undefined
      for (const { id, weight } of eligible) credits.set(id, creditOf(id) + weight)
      const next = others.reduce((best, member) => (creditOf(member.id) > creditOf(best.id) ? member : best), first)
      const sum = eligible.reduce((total, { weight }) => total + weight, 0)
      credits.set(next.id, creditOf(next.id) - sum)
      return next
    },
  }
}

import { type Candidate, type CreateStrategy, pickAny } from '../strategy.ts'

/** A slow member is measured again after so many choices per member: at most one call in two hundred measures. */
const CHOICES_PER_MEMBER = 200

/**
 * The better one of two members drawn by chance: the one that was faster lately, multiplied by its calls in flight. Two
 * are compared and not all, because otherwise all calls of a moment would go to the same member. A measured time is not
 * forgotten with time, which would send calls to slow members of a pool with few calls; a member that was not chosen
 * for long is measured again instead.
 */
export const performanceBased: CreateStrategy = ({ random, assumed }) => {
  let choices = 0
  const chosenAt = new Map<string, number>()

  const isForgotten = ({ id, inFlight }: Candidate, count: number): boolean =>
    inFlight === 0 && choices - (chosenAt.get(id) ?? 0) > CHOICES_PER_MEMBER * count

  function choose<Member extends Candidate>(eligible: readonly Member[], streamed: boolean): Member | undefined {
    const forgotten = eligible.find((member) => isForgotten(member, eligible.length))
    if (forgotten) return forgotten
    const first = pickAny(eligible, random)
    const second = pickAny(
      eligible.filter((member) => member !== first),
      random,
    )
    if (!first || !second) return first
    const unknown = assumed ?? medianOf(eligible.flatMap((member) => member.slowness(streamed) ?? []))
    const loadOf = (member: Candidate) => ((member.slowness(streamed) ?? unknown) * (member.inFlight + 1)) / member.weight
    return loadOf(second) < loadOf(first) ? second : first
  }

  return {
    pick(eligible, streamed) {
      const chosen = choose(eligible, streamed)
      choices += 1
      if (chosen) chosenAt.set(chosen.id, choices)
      return chosen
    },
  }
}

/** Without any measured time all members are alike. */
function medianOf(values: readonly number[]): number {
  if (values.length === 0) return 1
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const [low = 1, high = 1] = [sorted[Math.ceil(sorted.length / 2) - 1], sorted[middle]]
  return (low + high) / 2
}

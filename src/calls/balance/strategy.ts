/** A member of a pool, as strategies see it. */
export interface Candidate {
  /** Unique within its pool. */
  readonly id: string
  readonly weight: number
  /** Calls given to the member that have not ended, those that wait for its rates included. */
  readonly inFlight: number
  /**
   * How slow the member is: milliseconds to the first chunk of a streamed answer, milliseconds per output token of a
   * whole one. `undefined` before the first answer of that kind.
   */
  slowness(streamed: boolean): number | undefined
}

/**
 * Chooses who is asked. A pool has one instance for the first choice of each call and another one for the further
 * choices after a failure, so that failures do not shift the turns of the members that work.
 */
export interface Strategy {
  /** Returns one of the members that may be asked now; `undefined` only if there are none. Must change no member. */
  pick<Member extends Candidate>(eligible: readonly Member[], streamed: boolean): Member | undefined
}

export interface StrategyOptions {
  /** Ids of all members of the pool, in the order of the configuration. */
  readonly order: readonly string[]
  /** From 0 up to, not including, 1. */
  readonly random: () => number
  /** Slowness of a member without a measured time; absent: the median of the others. */
  readonly assumed?: number
}

export type CreateStrategy = (options: StrategyOptions) => Strategy

/** One of the candidates by chance; `undefined` if there are none. */
export const pickAny = <Member>(candidates: readonly Member[], random: () => number): Member | undefined =>
  candidates[Math.floor(random() * candidates.length)]

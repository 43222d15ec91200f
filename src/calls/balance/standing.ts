import type { Target } from '../../domain/definition/flow-definition.ts'
import type { ErrorCode } from '../../errors/error-codes.ts'
import type { Absence, Health } from './health.ts'

/** Whether the service behind a provider gets calls now; `run` is another number after every start. */
export type Standing =
  | { readonly mayAsk: true; readonly run: number }
  | {
      readonly mayAsk: false
      readonly run: number
      readonly waitMs: number
      readonly code: ErrorCode
      /** Whether it will get calls again without a command. */
      readonly mayReturn: boolean
    }

/** Standing of the service behind a provider; `undefined` for other providers. Called before each call. */
export type FindStanding = (provider: string) => Standing | undefined

/** A member with what its calls have shown. */
interface Observed {
  readonly target: Target
  readonly health: Health
}

/**
 * Returns a function that finds why a member cannot be asked. The state of a service counts before what calls have
 * shown, and what they have shown of one run is forgotten in the next one. `onRestart` is called when a member runs
 * again.
 */
export function createStandings(find: FindStanding, onRestart: () => void): (member: Observed) => Absence | undefined {
  const runs = new WeakMap<Observed, number>()
  return (member) => {
    const { target, health } = member
    const standing = find(target.provider)
    if (!standing) return health.absence()
    if (!standing.mayAsk) {
      const { waitMs, code, mayReturn } = standing
      return { state: 'not_running', waitMs, code, mayReturn }
    }
    const known = runs.get(member)
    if (known !== standing.run) {
      runs.set(member, standing.run)
      if (known !== undefined) {
        health.renew()
        onRestart()
      }
    }
    return health.absence()
  }
}

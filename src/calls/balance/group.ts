import type { Clock } from '../../async/clock.ts'
import type { PoolStrategy } from '../../config/pools/pool-settings.ts'
import { isSameTarget } from '../../domain/definition/call/pools.ts'
import type { Target } from '../../domain/definition/flow-definition.ts'
import type { PreparedRequest } from '../call.ts'
import { type Absence, createHealth, type EjectionSettings, type Health } from './health.ts'
import { createSlowness, type Slowness } from './slowness.ts'
import { createStandings, type FindStanding } from './standing.ts'
import { STRATEGIES } from './strategies/registry.ts'
import type { Candidate, Strategy } from './strategy.ts'

export interface MemberSettings {
  /** Name for messages, unique within the group. */
  readonly id: string
  readonly target: Target
  /** Number of the key, where the members are keys of one provider. */
  readonly account?: number
  readonly weight: number
  readonly tier: number
}

export interface GroupSettings {
  /** Name for messages: `pool/writers`, or the model whose keys these are. */
  readonly name: string
  /** Facts that identify the group in the details of errors. */
  readonly facts: Readonly<Record<string, unknown>>
  readonly members: readonly MemberSettings[]
  /** Whether all members are the same model at the same address, so that all reject the same requests. */
  readonly sameModel: boolean
  readonly strategy: PoolStrategy
  readonly ejection: EjectionSettings
  readonly whenNobody: 'wait' | 'try_all' | 'fail'
  readonly maxQueue: number
  readonly decayMs: number
  readonly assumeMs?: number
}

export interface Member extends Candidate, MemberSettings {
  inFlight: number
  readonly health: Health
  /** Present if the strategy reads measured times. */
  readonly measured?: Slowness
}

/** The members of a pool, or the keys of a provider for one model, with what their calls have shown. */
export interface Group extends Omit<GroupSettings, 'members'> {
  readonly members: readonly Member[]
  /** Why a member cannot be asked now; `undefined` if it can. */
  absenceOf(member: Member): Absence | undefined
  /**
   * `undefined` if no member is left to ask. `isFirst`: whether the call has asked none yet in this round. `preferred`
   * is asked before all others, whatever their tiers, as long as it may be asked.
   */
  pick(asked: ReadonlySet<Member>, streamed: boolean, isFirst: boolean, preferred?: Member): Member | undefined
  /**
   * The member that can continue a request at less cost: of a pool the one that wrote what the request continues, of
   * keys the one whose account may hold the beginning of the prompt, unless it is much busier than another one.
   */
  preferred(request: Pick<PreparedRequest, 'writer' | 'cacheKey'>): Member | undefined
  /** The group with one member alone, which keeps its health; `undefined` if the target is no member. */
  only(target: Target): Group | undefined
}

export interface GroupDeps {
  readonly clock: Clock
  /** Whether a provider may be called at all now. */
  readonly isUsable: (provider: string) => boolean
  /** Absent where no provider stands for a service. */
  readonly standing?: FindStanding
}

/** Requests in flight by which a key may exceed the least busy one before another key is taken. */
const MORE_IN_FLIGHT = 4

export function createGroup({ members: given, ...settings }: GroupSettings, { clock, isUsable, standing }: GroupDeps): Group {
  const { create, measures } = STRATEGIES[settings.strategy]
  const members = given.map((member) => createMember(member, settings, measures, clock))
  const newStrategy = (): Strategy =>
    create({ order: members.map(({ id }) => id), random: clock.random, assumed: settings.assumeMs })
  const strategies = { first: newStrategy(), further: newStrategy() }

  /** While one was away the others had its load, so that their times compare no better than its own. */
  const forgetTimes = () => {
    for (const { measured } of members) measured?.forget()
  }
  const absenceOf = standing ? createStandings(standing, forgetTimes) : ({ health }: Member) => health.absence()
  const mayAsk = (member: Member): boolean => absenceOf(member) === undefined && isUsable(member.target.provider)
  const memberOf = (target: Target): Member | undefined => members.find((member) => isSameTarget(member.target, target))

  const group: Group = {
    ...settings,
    members,
    absenceOf,
    pick(asked, streamed, isFirst, preferred) {
      const open = members.filter((member) => mayAsk(member))
      if (preferred && open.includes(preferred) && !asked.has(preferred)) return preferred
      const isDesperate = open.length === 0 && settings.whenNobody === 'try_all'
      const all = isDesperate ? members.filter(({ target }) => isUsable(target.provider)) : open
      const left = all.filter((member) => !asked.has(member))
      const tier = Math.min(...left.map((member) => member.tier))
      const eligible = left.filter((member) => member.tier === tier)
      return (isFirst ? strategies.first : strategies.further).pick(eligible, streamed)
    },
    preferred({ writer, cacheKey }) {
      if (!settings.sameModel) return writer && memberOf(writer)
      if (cacheKey === undefined) return undefined
      const key = members[toNumber(cacheKey) % members.length]
      const leastBusy = Math.min(...members.map(({ inFlight }) => inFlight))
      return key && key.inFlight <= leastBusy + MORE_IN_FLIGHT ? key : undefined
    },
    only(target) {
      const member = memberOf(target)
      const pick = (asked: ReadonlySet<Member>) => (member && !asked.has(member) && mayAsk(member) ? member : undefined)
      return member && { ...group, members: [member], pick }
    },
  }
  return group
}

/** The same number for the same text, in every process. */
const toNumber = (text: string): number => {
  let number = 0
  for (let index = 0; index < text.length; index++) number = (number * 31 + text.charCodeAt(index)) >>> 0
  return number
}

function createMember(
  { id, target, account, weight, tier }: MemberSettings,
  { ejection, decayMs }: Pick<GroupSettings, 'ejection' | 'decayMs'>,
  measures: boolean,
  clock: Clock,
): Member {
  const measured = measures ? createSlowness(decayMs, clock) : undefined
  return {
    id,
    target,
    account,
    weight,
    tier,
    inFlight: 0,
    health: createHealth(ejection, clock),
    measured,
    slowness: (streamed) => measured?.of(streamed),
  }
}

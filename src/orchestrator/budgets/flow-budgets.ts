import { randomUUID } from 'node:crypto'
import { type Clock, wait } from '../../async/clock.ts'
import { untilAborted } from '../../async/until-aborted.ts'
import type { SharedBudgets, SharedReservation, Spend } from '../../calls/call.ts'
import type { BudgetFacts, BudgetSettings } from '../../domain/users/budget.ts'
import type { FlowJob } from '../../engines/engine.ts'
import type { BudgetRepository } from '../../repositories/repository.ts'
import { isDatabaseAway } from '../repeat-read.ts'
import { type AppliedBudget, appliedBudgets, capsAt, keyOf, toNanoUsdUp } from './applied-budgets.ts'
import { findRefusal } from './budget-refusal.ts'
import { createSettlements, type SettlementLog } from './settlements.ts'

export interface FlowBudgetsDeps {
  readonly repository: BudgetRepository
  readonly budgets: readonly BudgetSettings[]
  /** The process that holds the reservations; when its heartbeat ends, they are given back. */
  readonly ownerId: string
  /** Whether other processes may hold reservations, so that those of dead ones must be found. */
  readonly shared: boolean
  readonly clock: Clock
  readonly logger: SettlementLog
}

/** A reservation of an owner without a heartbeat for so long is given back. Milliseconds. */
export const BUDGET_OWNER_STALE_MS = 20_000
/** First and longest wait for reservations of other processes; those of this process end the wait at once. */
const FIRST_WAIT_MS = 50
const LONGEST_WAIT_MS = 1_000

/** Limits of money, tokens and flows over many flows, in all processes that share the database. */
export interface FlowBudgets {
  /**
   * The budgets of costs and tokens that apply; `undefined` without any, so that calls need no statement. What is
   * settled after another process has taken over the flow does not count.
   */
  of(facts: BudgetFacts, flow: FlowJob): SharedBudgets | undefined
  /**
   * Counts a flow that starts. Rejects with LIMIT_EXCEEDED if a budget of flows is used up. Resolves with the function
   * that takes the flow back, for a flow that did not start after all; it never rejects.
   */
  countFlow(facts: BudgetFacts): Promise<() => Promise<void>>
  /** Stores pending settlements as far as the database answers. */
  close(): Promise<void>
}

/** What one attempt reserves, and the claim under which it is made. */
interface Wanted {
  readonly id: string
  readonly flow: FlowJob
  readonly applied: readonly AppliedBudget[]
  readonly needed: Spend
  readonly signal: AbortSignal
}

const nothingToWithdraw = async (): Promise<void> => {}

function unlessAway(error: unknown): undefined {
  if (!isDatabaseAway(error)) throw error
}

/** All attempts of this process share one object, so that those that wait for the same budget do so one at a time. */
export function createFlowBudgets({ repository, budgets, ownerId, shared, clock, logger }: FlowBudgetsDeps): FlowBudgets {
  const settlements = createSettlements(repository, clock, logger)
  /** The newest waiting attempt of each set of budgets; all others wait behind it, in the order of their calls. */
  const queues = new Map<string, Promise<unknown>>()

  /**
   * One attempt to reserve, repeated under the same id while the database does not answer: a statement whose answer was
   * lost may have reserved. What is reserved after an abort is settled at once.
   */
  async function tryReserve({ id, flow, applied, needed, signal }: Wanted) {
    let asked: Promise<unknown> = Promise.resolve()
    try {
      for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(LONGEST_WAIT_MS, waitMs * 2)) {
        const now = new Date(clock.now())
        const amounts = { costNanoUsd: toNanoUsdUp(needed.costUsd), tokens: needed.tokens, flows: 0 }
        const reserved = repository.reserve({ id, ownerId, caps: capsAt(applied, now), ...amounts })
        asked = reserved
        const answer = await untilAborted(reserved, signal).catch(unlessAway)
        if (answer?.granted) return { reservation: toReservation({ id, ...amounts }, flow) }
        if (answer) return { refusal: findRefusal(applied, amounts, answer.usage, now) }
        await wait(clock, waitMs, signal)
      }
    } catch (error) {
      // The statement continues after an abort, and no attempt would settle what it reserves.
      const release = () => void settlements.add({ ...NONE, id })
      if (signal.aborted) void asked.then(release, release)
      throw error
    }
  }

  const toReservation = (
    { id, costNanoUsd, tokens }: { id: string; costNanoUsd: number; tokens: number },
    flow: FlowJob,
  ): SharedReservation => ({
    settle: (actual) =>
      settlements.add({
        id,
        flow,
        costNanoUsd: actual.costUsd === undefined ? costNanoUsd : toNanoUsdUp(actual.costUsd),
        tokens: actual.tokens ?? tokens,
      }),
  })

  async function untilFree(wanted: Wanted): Promise<SharedReservation> {
    const { signal } = wanted
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(LONGEST_WAIT_MS, waitMs * 2)) {
      if (signal.aborted) throw signal.reason
      const outcome = await tryReserve(wanted)
      if (outcome.reservation) return outcome.reservation
      if (outcome.refusal.isFinal) throw outcome.refusal.error
      // The process of a reservation may have died.
      if (shared) await untilAborted(repository.release(BUDGET_OWNER_STALE_MS), signal).catch(unlessAway)
      await Promise.race([settlements.next(), wait(clock, waitMs * (0.5 + clock.random() / 2), signal)])
    }
  }

  async function reserve(wanted: Wanted): Promise<SharedReservation> {
    const key = keyOf(wanted.applied)
    const before = queues.get(key)
    if (!before) {
      const outcome = await tryReserve(wanted)
      if (outcome.reservation) return outcome.reservation
      if (outcome.refusal.isFinal) throw outcome.refusal.error
    }
    const turn = (queues.get(key) ?? Promise.resolve()).then(() => untilFree(wanted))
    const ended = turn.then(
      () => undefined,
      () => undefined,
    )
    queues.set(key, ended)
    void ended.then(() => {
      if (queues.get(key) === ended) queues.delete(key)
    })
    return untilAborted(turn, wanted.signal)
  }

  return {
    of(facts, flow) {
      const applied = appliedBudgets(budgets, facts).filter(limitsCalls)
      if (applied.length === 0) return undefined
      return {
        limitsCost: applied.some(({ settings }) => settings.maxCostUsd !== undefined),
        reserve: (needed, signal) => reserve({ id: randomUUID(), flow, applied, needed, signal }),
      }
    },

    async countFlow(facts) {
      const applied = appliedBudgets(budgets, facts).filter(({ settings }) => settings.maxFlows !== undefined)
      if (applied.length === 0) return nothingToWithdraw
      const now = new Date(clock.now())
      const counted = { id: randomUUID(), ownerId, caps: capsAt(applied, now), ...NONE, flows: 1 }
      const { granted, usage } = await repository.reserve(counted)
      if (!granted) throw findRefusal(applied, counted, usage, now).error
      return () => repository.withdrawFlow(counted.caps).catch(() => {})
    },

    close: settlements.close,
  }
}

const NONE = { costNanoUsd: 0, tokens: 0 }

const limitsCalls = ({ settings }: AppliedBudget): boolean =>
  settings.maxCostUsd !== undefined || settings.maxTokens !== undefined

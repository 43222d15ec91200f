import type { BudgetKey, BudgetRepository, BudgetReservation, BudgetUsage } from '../repository.ts'

type Counters = { -readonly [Property in keyof BudgetUsage]: BudgetUsage[Property] }

/** Budgets in plain Maps. `isAlive`: whether the owner of a reservation has sent a heartbeat within `staleMs`. */
export function createMemoryBudgets(isAlive: (ownerId: string, staleMs: number) => boolean): BudgetRepository {
  const counters = new Map<string, Counters>()
  const reservations = new Map<string, BudgetReservation>()

  const countersOf = ({ name, subject, windowStart }: BudgetKey): Counters => {
    const key = JSON.stringify([name, subject, windowStart])
    const known = counters.get(key)
    if (known) return known
    const created = { name, subject, windowStart, ...EMPTY }
    counters.set(key, created)
    return created
  }

  const remove = (id: string, spent: { readonly costNanoUsd: number; readonly tokens: number }) => {
    const reservation = reservations.get(id)
    if (!reservation) return
    reservations.delete(id)
    for (const cap of reservation.caps) {
      const usage = countersOf(cap)
      usage.reservedNanoUsd -= reservation.costNanoUsd
      usage.reservedTokens -= reservation.tokens
      usage.costNanoUsd += spent.costNanoUsd
      usage.tokens += spent.tokens
    }
  }

  return {
    reserve: async (reservation) => {
      const { caps, costNanoUsd, tokens, flows } = reservation
      const before = caps.map((cap) => ({ ...countersOf(cap) }))
      if (reservations.has(reservation.id)) return { granted: true, usage: before }
      const granted = caps.every((cap) => {
        const usage = countersOf(cap)
        return (
          fits(usage.costNanoUsd + usage.reservedNanoUsd, costNanoUsd, cap.maxCostNanoUsd) &&
          fits(usage.tokens + usage.reservedTokens, tokens, cap.maxTokens) &&
          fits(usage.flows, flows, cap.maxFlows)
        )
      })
      if (granted) {
        for (const cap of caps) {
          const usage = countersOf(cap)
          usage.reservedNanoUsd += costNanoUsd
          usage.reservedTokens += tokens
          usage.flows += flows
        }
        if (flows === 0) reservations.set(reservation.id, reservation)
      }
      return { granted, usage: before }
    },
    settle: async (settlements) => {
      for (const settlement of settlements) remove(settlement.id, settlement)
    },
    withdrawFlow: async (keys) => {
      for (const key of keys) {
        const usage = countersOf(key)
        usage.flows = Math.max(0, usage.flows - 1)
      }
    },
    release: async (staleMs) => {
      const abandoned = [...reservations.values()].filter(({ ownerId }) => !isAlive(ownerId, staleMs))
      for (const { id } of abandoned) remove(id, { costNanoUsd: 0, tokens: 0 })
      return abandoned.length
    },
    list: async (windowStarts, subject) => {
      const starts = new Set(windowStarts.map((start) => start.getTime()))
      return [...counters.values()]
        .filter((usage) => starts.has(usage.windowStart.getTime()) && (subject === undefined || usage.subject === subject))
        .map((usage) => ({ ...usage }))
        .sort((a, b) => compare(a.name, b.name) || compare(a.subject, b.subject))
    },
    prune: async (startedBefore) => {
      const before = counters.size
      for (const [key, { windowStart }] of counters) if (windowStart < startedBefore) counters.delete(key)
      return before - counters.size
    },
  }
}

const EMPTY = { costNanoUsd: 0, tokens: 0, flows: 0, reservedNanoUsd: 0, reservedTokens: 0 }

const fits = (taken: number, needed: number, max: number | undefined): boolean =>
  needed === 0 || max === undefined || taken + needed <= max

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

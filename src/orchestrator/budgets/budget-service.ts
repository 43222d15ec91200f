import { BUDGET_WINDOWS, type BudgetFacts, type BudgetReport, type BudgetSettings, windowAt } from '../../domain/users/budget.ts'
import type { BudgetRepository, BudgetUsage } from '../../repositories/repository.ts'
import { appliedBudgets, fromNanoUsd } from './applied-budgets.ts'

export interface BudgetServiceDeps {
  readonly repository: Pick<BudgetRepository, 'list'>
  readonly budgets: readonly BudgetSettings[]
  readonly now: () => Date
}

/** Reads what is spent and left of the configured budgets. */
export class BudgetService {
  readonly #deps: BudgetServiceDeps

  constructor(deps: BudgetServiceDeps) {
    this.#deps = deps
  }

  /**
   * The current windows of the budgets of one user and, if given, of one API key. Without a user, for trusted callers:
   * of everybody with usage in the current window.
   *
   * ```ts
   * for (const { name, left, opensAt } of await polyphony.budgets.list('ada')) console.log(name, left.costUsd, opensAt)
   * ```
   */
  async list(userId?: string, apiKeyId?: string): Promise<readonly BudgetReport[]> {
    if (userId !== undefined) return this.of({ userId, apiKeyId })
    const { budgets, now } = this.#deps
    if (budgets.length === 0) return []
    const at = now()
    const usages = await this.#usagesAt(at)
    return budgets.flatMap((budget) => usages.filter(isOf(budget, at)).map((usage) => toReport(budget, usage.subject, at, usage)))
  }

  /** The budgets that apply to a flow with these facts, used or not. */
  async of(facts: BudgetFacts): Promise<readonly BudgetReport[]> {
    const { budgets, now } = this.#deps
    const applied = appliedBudgets(budgets, facts)
    if (applied.length === 0) return []
    const at = now()
    const subjects = [...new Set(applied.map(({ subject }) => subject))]
    const usages = (await Promise.all(subjects.map((subject) => this.#usagesAt(at, subject)))).flat()
    return applied.map(({ settings, subject }) => {
      const usage = usages.find((found) => found.subject === subject && isOf(settings, at)(found))
      return toReport(settings, subject, at, usage)
    })
  }

  #usagesAt(at: Date, subject?: string): Promise<readonly BudgetUsage[]> {
    return this.#deps.repository.list(
      BUDGET_WINDOWS.map((window) => windowAt(window, at).start),
      subject,
    )
  }
}

const isOf = ({ name, window }: BudgetSettings, at: Date) => {
  const startMs = windowAt(window, at).start.getTime()
  return (usage: BudgetUsage): boolean => usage.name === name && usage.windowStart.getTime() === startMs
}

function toReport(settings: BudgetSettings, subject: string, at: Date, usage?: BudgetUsage): BudgetReport {
  const { name, scope, window, maxCostUsd, maxTokens, maxFlows } = settings
  const { start, end } = windowAt(window, at)
  const spent = { costUsd: fromNanoUsd(usage?.costNanoUsd ?? 0), tokens: usage?.tokens ?? 0, flows: usage?.flows ?? 0 }
  const reserved = { costUsd: fromNanoUsd(usage?.reservedNanoUsd ?? 0), tokens: usage?.reservedTokens ?? 0 }
  const takenNanoUsd = (usage?.costNanoUsd ?? 0) + (usage?.reservedNanoUsd ?? 0)
  return {
    name,
    scope,
    subject,
    window,
    from: start,
    opensAt: end,
    max: {
      ...(maxCostUsd !== undefined && { costUsd: maxCostUsd }),
      ...(maxTokens !== undefined && { tokens: maxTokens }),
      ...(maxFlows !== undefined && { flows: maxFlows }),
    },
    spent,
    reserved,
    left: {
      ...(maxCostUsd !== undefined && { costUsd: Math.max(0, Math.round(maxCostUsd * 1e9) - takenNanoUsd) / 1e9 }),
      ...(maxTokens !== undefined && { tokens: Math.max(0, maxTokens - spent.tokens - reserved.tokens) }),
      ...(maxFlows !== undefined && { flows: Math.max(0, maxFlows - spent.flows) }),
    },
  }
}

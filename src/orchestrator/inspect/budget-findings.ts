import type { BudgetReport } from '../../domain/users/budget.ts'
import type { CostRange } from './cost-range.ts'
import type { Findings, FlowFinding } from './flow-finding.ts'

/**
 * What the budgets allow: a problem if even the cheapest run does not fit or no flow may start, a warning if the
 * dearest one does not fit.
 */
export function budgetFindings(budgets: readonly BudgetReport[], { lowUsd, highUsd, unpriced }: CostRange): Findings {
  const problems: FlowFinding[] = []
  const warnings: FlowFinding[] = []
  for (const { name, left, opensAt } of budgets) {
    const at = opensAt.toISOString()
    const add = (list: FlowFinding[], limit: string, message: string) =>
      list.push({
        code: 'LIMIT_EXCEEDED',
        path: '',
        message: `budget "${name}": ${message}; it opens again at ${at}`,
        details: { reason: 'budget', budget: name, limit, left, lowUsd, highUsd, opensAt: at },
      })
    if (left.flows === 0) add(problems, 'maxFlows', 'no flow is left')
    if (left.tokens === 0) add(problems, 'maxTokens', 'no token is left')
    if (left.costUsd === undefined) continue
    const isLeft = `$${left.costUsd.toFixed(4)} is left`
    if (unpriced.length > 0) add(problems, 'maxCostUsd', `costs need prices; there is none for ${unpriced.join(', ')}`)
    if (lowUsd > left.costUsd) add(problems, 'maxCostUsd', `even short answers cost about $${lowUsd.toFixed(4)}, ${isLeft}`)
    else if (highUsd > left.costUsd) add(warnings, 'maxCostUsd', `long answers may cost up to $${highUsd.toFixed(4)}, ${isLeft}`)
  }
  return { problems, warnings }
}

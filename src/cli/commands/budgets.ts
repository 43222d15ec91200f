import type { BudgetAmounts, BudgetReport } from '../../domain/users/budget.ts'
import { formatUsd } from '../amounts.ts'
import { databaseOption, defineCommand, jsonOption } from '../command.ts'
import { toMinute, toPlainLine, toTable, truncate } from '../plain-text.ts'
import { type DatabaseOptions, toFlags, withServices } from '../services.ts'

interface BudgetsOptions extends DatabaseOptions {
  readonly user?: string
}

/** `polyphony budgets`: what is spent and left of the configured budgets. */
export const budgetsCommand = defineCommand<BudgetsOptions>({
  name: 'budgets',
  description: 'show what is spent and left of the configured budgets',
  configure: (command) =>
    command.option('--user <id>', 'only budgets of this user').addOption(databaseOption()).addOption(jsonOption()),
  async run(context, options) {
    const { terminal, json } = context
    const { reports, configured } = await withServices(context, toFlags(options), async ({ budgets, config }) => ({
      reports: await budgets.list(options.user),
      configured: config.budgets.length,
    }))
    if (json) return reports.forEach(terminal.printJson)
    if (configured === 0) return terminal.print('No budgets are configured: `budgets` of polyphony.yaml sets them.')
    if (reports.length === 0) return terminal.print('Nothing is spent in the current windows.')
    const [first = '', ...lines] = toTable([
      ['BUDGET', 'OF', 'SPENT', 'RESERVED', 'LEFT', 'OPENS AGAIN'],
      ...reports.map(toListRow),
    ])
    terminal.print(terminal.style('dim', first))
    for (const line of lines) terminal.print(terminal.isLive ? truncate(line, terminal.columns) : line)
  },
})

const toListRow = ({ name, scope, subject, max, spent, reserved, left, opensAt }: BudgetReport): readonly string[] => [
  toPlainLine(name),
  toPlainLine(`${scope} ${subject}`),
  toText(limited(spent, max)),
  toText(limited(reserved, max)),
  toText(left),
  toMinute(opensAt),
]

/** The amounts that the budget limits. */
const limited = ({ costUsd, tokens, flows }: BudgetAmounts, max: BudgetAmounts): BudgetAmounts => ({
  costUsd: max.costUsd === undefined ? undefined : costUsd,
  tokens: max.tokens === undefined ? undefined : tokens,
  flows: max.flows === undefined ? undefined : flows,
})

const toText = ({ costUsd, tokens, flows }: BudgetAmounts): string =>
  [
    ...(costUsd === undefined ? [] : [formatUsd(costUsd)]),
    ...(tokens === undefined ? [] : [`${tokens} tokens`]),
    ...(flows === undefined ? [] : [`${flows} flows`]),
  ].join(', ')

import * as z from 'zod'
import { toNanoUsd } from '../../domain/execution/cost.ts'
import { flowNotFound } from '../../domain/execution/flow-errors.ts'
import { USAGE_GROUPS, type UsageFigures, type UsageGroup, type UsageRow } from '../../domain/execution/usage-report.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { UsageRepository } from '../../repositories/repository.ts'
import { parseOptions } from '../service-options.ts'
import type { FlowAccess } from './flow-access.ts'

const MAX_ROWS = 1_000
// ISO 8601 writes years after 9999 with more than four digits.
const FIRST_INSTANT = Date.UTC(1970, 0, 1)
const LAST_INSTANT = Date.UTC(9999, 11, 31)

const isInReach = (instant: Date) => instant.getTime() >= FIRST_INSTANT && instant.getTime() <= LAST_INSTANT
const EXPECTED_INSTANT = 'expected a day (2026-11-20, of UTC) or an instant with its zone (2026-11-20T08:00:00Z)'
const instant = z
  .union([z.date(), z.iso.date(), z.iso.datetime({ offset: true })], EXPECTED_INSTANT)
  .transform((given) => new Date(given))
  .refine(isInReach, 'expected a year from 1970 to 9999')

const usageOptionsSchema = z.strictObject({
  /** Only attempts that started at this instant or later; a day begins at midnight UTC. */
  from: instant.optional(),
  /** Only attempts that started before this instant. */
  to: instant.optional(),
  /** Properties to group by; default the day. With an empty list the totals are the only row. */
  groupBy: z.array(z.enum(USAGE_GROUPS)).max(20).default(['day']),
  /** Only attempts of this flow. */
  flowId: z.string().optional(),
  /** Maximum number of rows, 1 to 1000; default 1000. */
  limit: z.number().int().min(1).max(MAX_ROWS).default(MAX_ROWS),
})

/** Options of `report`. */
export type UsageOptions = z.input<typeof usageOptionsSchema>

/** Usage of a user's flows: tokens, and cost in US dollars. */
export interface UsageReport {
  /** Newest day first, then highest cost first. */
  readonly rows: readonly UsageRow[]
  /** Sums that include rows beyond the limit. */
  readonly totals: UsageFigures
  /** Whether there are more rows than the limit. */
  readonly truncated: boolean
  readonly groupBy: readonly UsageGroup[]
  readonly from?: Date
  readonly to?: Date
}

export interface UsageServiceDeps {
  readonly usage: UsageRepository
  readonly access: FlowAccess
}

/** Usage and cost, from the ledger with one entry per attempt. */
export class UsageService {
  readonly #deps: UsageServiceDeps

  constructor(deps: UsageServiceDeps) {
    this.#deps = deps
  }

  /**
   * Sums over the flows that the user created and that are not deleted. INPUT_INVALID for invalid options,
   * FLOW_NOT_FOUND for a flow that the user did not create or may no longer read.
   */
  async report(userId: string, options: UsageOptions = {}): Promise<UsageReport> {
    const { usage, access } = this.#deps
    const { from, to, flowId, limit, ...given } = parseOptions(usageOptionsSchema, options, 'usage')
    if (from && to && from >= to) throw new OrchestratorError('INPUT_INVALID', 'usage: from: expected an instant before `to`')
    access.assertUser(userId)
    if (flowId !== undefined) {
      const flow = await access.findFlow(flowId, userId, 'read')
      if (flow.userId !== userId) throw flowNotFound(flowId)
    }
    const groupBy = USAGE_GROUPS.filter((group) => given.groupBy.includes(group))
    const filter = { userId, from, to, flowId, limit }
    const [all, grouped] = await Promise.all([
      usage.sum({ ...filter, groupBy: [] }),
      groupBy.length === 0 ? undefined : usage.sum({ ...filter, groupBy }),
    ])
    const [totals] = all.rows.map(rounded)
    if (!totals) throw new OrchestratorError('INTERNAL', 'Expected one row of totals, found none')
    const rows = grouped ? grouped.rows.map(rounded) : [totals]
    return { rows, totals, truncated: grouped?.truncated ?? false, groupBy, ...(from && { from }), ...(to && { to }) }
  }
}

const rounded = (row: UsageRow): UsageRow => ({ ...row, costUsd: toNanoUsd(row.costUsd) })

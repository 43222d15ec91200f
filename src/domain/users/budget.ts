import * as z from 'zod'

/** Lengths of the windows of budgets. All begin in UTC: weeks on Monday, as in ISO 8601. */
export const BUDGET_WINDOWS = ['hour', 'day', 'week', 'month'] as const
export type BudgetWindow = (typeof BUDGET_WINDOWS)[number]

/** What a budget is kept for: each user, API key, thread, or value of `metadata.<name>` has an amount of its own. */
export type BudgetScope = 'user' | 'key' | 'thread' | `tag:${string}`

const isScope = (scope: unknown): boolean => typeof scope === 'string' && /^(user|key|thread|tag:.{1,100})$/s.test(scope)

export const budgetSchema = z
  .strictObject({
    /** Name in errors and reports, unique among the budgets. */
    name: z.string().min(1).max(100),
    /** `user`, `key`, `thread`, or `tag:<name>` for the value of `metadata.<name>` of the flow. */
    scope: z.custom<BudgetScope>(isScope, 'expected user, key, thread or tag:<name>'),
    /** How long an amount lasts; windows begin in UTC. */
    window: z.enum(BUDGET_WINDOWS),
    /** US dollars of all attempts in a window. */
    maxCostUsd: z.number().nonnegative().max(1_000_000).optional(),
    /** Tokens of all attempts in a window. */
    maxTokens: z.number().int().nonnegative().optional(),
    /** Flows that are started in a window; resuming a flow does not count. */
    maxFlows: z.number().int().nonnegative().optional(),
  })
  .refine(
    ({ maxCostUsd, maxTokens, maxFlows }) => (maxCostUsd ?? maxTokens ?? maxFlows) !== undefined,
    'expected maxCostUsd, maxTokens or maxFlows',
  )

/** The budgets of a configuration. */
export const budgetsSchema = z
  .array(budgetSchema)
  .max(50)
  .refine((budgets) => new Set(budgets.map(({ name }) => name)).size === budgets.length, 'expected names that differ')

export type BudgetSettings = z.output<typeof budgetSchema>

/** The facts of a flow that decide which budgets it counts against. */
export interface BudgetFacts {
  readonly userId: string
  /** Absent where no flow exists yet. */
  readonly threadId?: string
  /** Id of the API key that started the flow; absent for callers without one. */
  readonly apiKeyId?: string
  readonly metadata?: Readonly<Record<string, unknown>>
}

/** The subject against whose amount a flow counts; `undefined` if the budget does not apply to it. */
export function budgetSubject(scope: BudgetScope, facts: BudgetFacts): string | undefined {
  if (scope === 'user') return facts.userId
  if (scope === 'key') return facts.apiKeyId
  if (scope === 'thread') return facts.threadId
  const value = facts.metadata?.[scope.slice('tag:'.length)]
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined
}

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** Days from Monday to 1970-01-01, a Thursday. */
const EPOCH_DAY_OF_WEEK = 3

interface Window {
  readonly start: Date
  readonly end: Date
}

/** Windows of a fixed length; `offsetMs`: how long before 1970 one of them began. */
const fixedWindow =
  (lengthMs: number, offsetMs = 0) =>
  (at: Date): Window => {
    const start = Math.floor((at.getTime() + offsetMs) / lengthMs) * lengthMs - offsetMs
    return { start: new Date(start), end: new Date(start + lengthMs) }
  }

const WINDOWS: { readonly [Name in BudgetWindow]: (at: Date) => Window } = {
  hour: fixedWindow(HOUR_MS),
  day: fixedWindow(DAY_MS),
  week: fixedWindow(7 * DAY_MS, EPOCH_DAY_OF_WEEK * DAY_MS),
  month: (at) => {
    const [year, month] = [at.getUTCFullYear(), at.getUTCMonth()]
    return { start: new Date(Date.UTC(year, month)), end: new Date(Date.UTC(year, month + 1)) }
  },
}

/** The window that contains the instant; `end` is the first instant of the next one. */
export const windowAt = (window: BudgetWindow, at: Date): Window => WINDOWS[window](at)

/** The state of one budget for one subject in its current window. */
export interface BudgetReport {
  readonly name: string
  readonly scope: BudgetScope
  /** The user, API key, thread or value of the tag. */
  readonly subject: string
  readonly window: BudgetWindow
  /** First instant of the window. */
  readonly from: Date
  /** First instant of the next window, at which the whole amount is available again. */
  readonly opensAt: Date
  readonly max: BudgetAmounts
  /** Settled attempts and started flows. */
  readonly spent: Required<BudgetAmounts>
  /** Worst cases of attempts that still run. */
  readonly reserved: { readonly costUsd: number; readonly tokens: number }
  /** What remains of each maximum, reservations deducted; never below 0. */
  readonly left: BudgetAmounts
}

/** US dollars, tokens and flows. */
export interface BudgetAmounts {
  readonly costUsd?: number
  readonly tokens?: number
  readonly flows?: number
}

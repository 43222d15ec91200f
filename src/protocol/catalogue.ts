import * as z from 'zod'
import { USAGE_GROUPS } from '../domain/execution/usage-report.ts'
import { SCOPES } from '../domain/users/api-key.ts'
import { BUDGET_WINDOWS } from '../domain/users/budget.ts'
import { arrayOf, id, instant, queryInteger } from './instant.ts'

const data = z.record(z.string(), z.unknown())

export const template = z.object({
  name: z.string(),
  title: z.string(),
  description: z.string(),
  example: z.string(),
  type: z.string(),
  parameters: arrayOf(z.object({ name: z.string(), type: z.string(), description: z.string(), default: z.unknown().optional() })),
})
export const templates = z.object({ items: arrayOf(template) })
export const templateParams = z.object({ name: id })
export const templateArguments = z.strictObject({ parameters: data.optional() })
export const instantiated = z.object({ definition: data })

export const provider = z.object({
  id: z.string(),
  kind: z.string(),
  vendor: z.string(),
  active: z.boolean(),
  simulated: z.boolean(),
  /** Present where a service stands behind the provider. */
  service: z.literal(true).optional(),
  /** Present where what the provider receives stays with the operator. */
  inHouse: z.literal(true).optional(),
  /** Origin of the URL that receives the key of the provider; `service` for a service. */
  origin: z.string(),
})
export const providers = z.object({ items: arrayOf(provider) })
export const providerParams = z.object({ providerId: id })
export const providerHealth = z.object({
  providerId: z.string(),
  /** `unknown`: the provider has no health check. */
  status: z.enum(['up', 'down', 'unknown']),
  code: z.string().optional(),
  checkedAt: z.string(),
})

export const me = z.object({
  userId: z.string(),
  scopes: arrayOf(z.enum(SCOPES)),
  via: z.enum(['local', 'key', 'jwt', 'app', 'control', 'run']),
})

const amounts = z.object({ costUsd: z.number().optional(), tokens: z.number().optional(), flows: z.number().optional() })
export const budgetReport = z.object({
  name: z.string(),
  /** `user`, `key`, `thread` or `tag:<name>`. */
  scope: z.string(),
  subject: z.string(),
  window: z.enum(BUDGET_WINDOWS),
  from: instant,
  /** When the whole amount is available again. */
  opensAt: instant,
  max: amounts,
  spent: z.object({ costUsd: z.number(), tokens: z.number(), flows: z.number() }),
  /** Worst cases of calls that still run. */
  reserved: z.object({ costUsd: z.number(), tokens: z.number() }),
  left: amounts,
})
export const budgetReports = z.object({ items: arrayOf(budgetReport) })

const tokens = {
  calls: z.number(),
  failedCalls: z.number(),
  inputTokens: z.number(),
  cachedInputTokens: z.number(),
  cacheWriteTokens: z.number(),
  outputTokens: z.number(),
  reasoningTokens: z.number(),
  totalTokens: z.number(),
  /** US dollars: the sum of the known costs. */
  costUsd: z.number(),
  /** Billed calls without a known price. */
  unpricedCalls: z.number(),
  /** Calls without known token counts. */
  uncountedCalls: z.number(),
  /** Calls that the simulator answered. No other figure includes them. */
  simulatedCalls: z.number(),
  simulatedTokens: z.number(),
}
export const usageQuery = z.strictObject({
  /** Inclusive; an instant or a day (UTC). */
  from: z.string().max(40).optional(),
  /** Exclusive. */
  to: z.string().max(40).optional(),
  /** Any of `day`, `provider`, `model` and `flow`, separated by commas. */
  groupBy: z
    .string()
    .max(100)
    .transform((text) => text.split(','))
    .pipe(z.array(z.enum(USAGE_GROUPS)))
    .optional(),
  flowId: id.optional(),
  limit: queryInteger(1, 1_000).optional(),
})
export const usageReport = z.object({
  rows: arrayOf(
    z.object({
      /** Day in UTC, such as `2026-11-20`. */
      day: z.string().optional(),
      provider: z.string().optional(),
      model: z.string().optional(),
      flowId: z.string().optional(),
      flowName: z.string().optional(),
      ...tokens,
    }),
  ),
  totals: z.object(tokens),
  /** Whether there are more rows than `limit`. The totals include them. */
  truncated: z.boolean(),
})

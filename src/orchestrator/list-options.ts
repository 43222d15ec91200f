import { z } from 'zod'
import { FlowStatus } from '../domain/flow.ts'
import { OrchestrationFlowType } from '../domain/flow-definition.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'

const listOptionsSchema = z.strictObject({
  status: z.enum(FlowStatus).optional(),
  type: z.enum(OrchestrationFlowType).optional(),
  /** 1 to 1000, default 50. */
  limit: z.number().int().min(1).max(1_000).default(50),
  offset: z.number().int().min(0).default(0),
  sortBy: z.enum(['createdAt', 'completedAt', 'name']).default('createdAt'),
  sortOrder: z.enum(['ASC', 'DESC']).default('DESC'),
})

/** What listFlows takes (S4-10 to S4-16). */
export type ListFlowsOptions = z.input<typeof listOptionsSchema>

/** Throws INPUT_INVALID naming every option that does not fit. */
export function parseListOptions(options: ListFlowsOptions): z.output<typeof listOptionsSchema> {
  const parsed = listOptionsSchema.safeParse(options)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'options'}: ${issue.message}`)
  throw new OrchestratorError('INPUT_INVALID', `listFlows: ${problems.join('; ')}`, { details: { problems } })
}

import * as z from 'zod'
import { FlowStatus } from '../domain/flow.ts'
import { type FlowLimits, flowLimitsSchema, OrchestrationFlowType } from '../domain/flow-definition.ts'
import type { FlowUpdate } from '../domain/flow-update.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { StoredFlow } from '../repositories/repository.ts'
import type { RunOptions } from './flow-run.ts'

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
export const parseListOptions = (options: ListFlowsOptions): z.output<typeof listOptionsSchema> =>
  parseOptions(listOptionsSchema, options, 'listFlows')

/** The same for limits of one execution. */
export const parseLimits = (limits: FlowLimits): FlowLimits => parseOptions(flowLimitsSchema, limits, 'executeFlow limits')

function parseOptions<Schema extends z.ZodType>(schema: Schema, options: unknown, where: string): z.output<Schema> {
  const parsed = schema.safeParse(options)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'options'}: ${issue.message}`)
  throw new OrchestratorError('INPUT_INVALID', `${where}: ${problems.join('; ')}`, { details: { problems } })
}

/** What executeFlow and startFlow take. */
export interface ExecuteFlowOptions {
  /** The user's prompt. */
  readonly input?: string
  /** Ask providers for streams and send `step_progress`; default: whether `onUpdate` is given. */
  readonly streaming?: boolean
  /** Called synchronously with every update; what it throws is ignored. */
  readonly onUpdate?: (update: FlowUpdate) => unknown
  /** Write every step's output as a message of the thread. */
  readonly saveMessages?: boolean
  /** Milliseconds. */
  readonly timeout?: { readonly flow?: number; readonly step?: number }
  /** Default: that of the flow's last execution. */
  readonly metadata?: Readonly<Record<string, unknown>>
  /** Over the definition's own, one by one: a higher one lets a flow go on that met its limit. */
  readonly limits?: FlowLimits
  /** Must be the flow's own thread, where it is given. */
  readonly threadId?: string
  /** Cancels the flow. */
  readonly signal?: AbortSignal
}

const NO_METADATA = {}

/** The same, with what the flow's last execution left where the caller says nothing. */
export const toRunOptions = (options: ExecuteFlowOptions, flow: StoredFlow): RunOptions => ({
  streaming: options.streaming ?? options.onUpdate !== undefined,
  saveMessages: options.saveMessages ?? false,
  flowTimeoutMs: options.timeout?.flow,
  stepTimeoutMs: options.timeout?.step,
  limits: options.limits && parseLimits(options.limits),
  metadata: options.metadata ?? flow.metadata ?? NO_METADATA,
  onUpdate: options.onUpdate,
})

import * as z from 'zod'
import { isBlank } from '../domain/blank-text.ts'
import { deepFreeze } from '../domain/deep-freeze.ts'
import { type FlowLimits, flowLimitsSchema } from '../domain/definition/flow-definition.ts'
import type { FlowUpdate } from '../domain/execution/flow-update.ts'
import { FlowStatus, OrchestrationFlowType } from '../domain/vocabulary.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { StoredFlow, StoredRunOptions } from '../repositories/repository.ts'
import type { RunOptions } from './flow-run.ts'

const listOptionsSchema = z.strictObject({
  status: z.enum(FlowStatus).optional(),
  type: z.enum(OrchestrationFlowType).optional(),
  /** 1 to 1000, default 50. */
  limit: z.number().int().min(1).max(1_000).default(50),
  offset: z.number().int().min(0).default(0),
  sortBy: z.enum(['createdAt', 'completedAt', 'name']).default('createdAt'),
  sortOrder: z.enum(['ASC', 'DESC']).default('DESC'),
  /** `nextCursor` of the page before, which had the same order; not together with `offset`. */
  cursor: z.string().max(1_000).optional(),
})

/** What listFlows takes (S4-10 to S4-16). */
export type ListFlowsOptions = z.input<typeof listOptionsSchema>

/** Throws INPUT_INVALID naming every option that does not fit. */
export function parseListOptions(options: ListFlowsOptions): z.output<typeof listOptionsSchema> {
  const parsed = parseOptions(listOptionsSchema, options, 'listFlows')
  if (parsed.cursor === undefined || parsed.offset === 0) return parsed
  throw new OrchestratorError('INPUT_INVALID', 'listFlows: offset: expected none together with a cursor')
}

const followOptionsSchema = z.strictObject({
  /** Number of the last update that the caller has; default 0. */
  afterSeq: z.number().int().min(0).default(0),
  /** Ends the following, not the flow. */
  signal: z.custom<AbortSignal>((value) => value instanceof AbortSignal, 'expected an AbortSignal').optional(),
})

/** What streamFlow takes. */
export type FollowFlowOptions = z.input<typeof followOptionsSchema>

export const parseFollowOptions = (options: FollowFlowOptions): z.output<typeof followOptionsSchema> =>
  parseOptions(followOptionsSchema, options, 'streamFlow')

const rerunOptionsSchema = z.strictObject({
  /** The first step that is to run again; default: all. */
  fromStep: z.string().optional(),
  input: z.string().optional(),
})

/** What rerunFlow takes. */
export type RerunFlowOptions = z.input<typeof rerunOptionsSchema>

/** Throws INPUT_INVALID, and FLOW_INPUT_MISSING for an input of blanks. */
export function parseRerunOptions(options: RerunFlowOptions): RerunFlowOptions {
  const parsed = parseOptions(rerunOptionsSchema, options, 'rerunFlow')
  if (parsed.input === undefined || !isBlank(parsed.input)) return parsed
  throw new OrchestratorError('FLOW_INPUT_MISSING', 'rerunFlow: expected text in options.input, found nothing but blanks')
}

/** Throws INPUT_INVALID naming every option that does not fit. */
export function parseOptions<Schema extends z.ZodType>(schema: Schema, options: unknown, where: string): z.output<Schema> {
  const parsed = schema.safeParse(options)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'options'}: ${issue.message}`)
  throw new OrchestratorError('INPUT_INVALID', `${where}: ${problems.join('; ')}`, { details: { problems } })
}

/** Milliseconds; over them FLOW_TIMEOUT and STEP_TIMEOUT. */
export interface TimeoutConfig {
  readonly flow?: number
  readonly step?: number
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
  readonly timeout?: TimeoutConfig
  /** Default: that of the flow's last execution. */
  readonly metadata?: Readonly<Record<string, unknown>>
  /** Over the definition's own, one by one: a higher one lets a flow go on that met its limit. */
  readonly limits?: FlowLimits
  /** A process that finds the flow interrupted may go on with it by itself, with these options; default false: whoever started it decides. */
  readonly resumeAfterCrash?: boolean
  /** Must be the flow's own thread, where it is given. */
  readonly threadId?: string
  /** Cancels the flow. */
  readonly signal?: AbortSignal
}

const isFunction = (value: unknown) => typeof value === 'function'
const positiveMs = z.number().positive()

const executeOptionsSchema = z.strictObject({
  input: z.string().optional(),
  streaming: z.boolean().optional(),
  onUpdate: z.custom<ExecuteFlowOptions['onUpdate']>(isFunction, 'expected a function').optional(),
  saveMessages: z.boolean().optional(),
  timeout: z.strictObject({ flow: positiveMs.optional(), step: positiveMs.optional() }).optional(),
  metadata: z.record(z.string(), z.unknown()).optional(),
  limits: flowLimitsSchema.optional(),
  resumeAfterCrash: z.boolean().optional(),
  threadId: z.string().optional(),
  signal: z.custom<AbortSignal>((value) => value instanceof AbortSignal, 'expected an AbortSignal').optional(),
})

const NO_METADATA = Object.freeze({})

/** The same, checked, with what the flow's last execution left where the caller says nothing. Throws INPUT_INVALID. */
export function toRunOptions(given: ExecuteFlowOptions, flow: StoredFlow): RunOptions {
  const options = parseOptions(executeOptionsSchema, given, 'executeFlow')
  return {
    streaming: options.streaming ?? options.onUpdate !== undefined,
    saveMessages: options.saveMessages ?? false,
    flowTimeoutMs: options.timeout?.flow,
    stepTimeoutMs: options.timeout?.step,
    limits: options.limits,
    metadata: options.metadata ? toStorableMetadata(options.metadata) : (flow.metadata ?? NO_METADATA),
    onUpdate: options.onUpdate,
    stored: options.resumeAfterCrash ? toStoredOptions(options) : undefined,
  }
}

const toStoredOptions = ({ streaming, saveMessages, timeout, limits }: ExecuteFlowOptions): StoredRunOptions => ({
  streaming,
  saveMessages,
  timeout,
  limits,
})

/** A copy of its own that nobody can change while steps read it. */
function toStorableMetadata(metadata: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  try {
    return deepFreeze(JSON.parse(JSON.stringify(metadata)))
  } catch (cause) {
    throw new OrchestratorError('INPUT_INVALID', 'executeFlow: metadata: expected values that JSON can hold', { cause })
  }
}

/** What `getFlow` reads: `final` leaves out the results of all steps but the one whose output is that of the flow. Default: `all`. */
export interface GetFlowOptions {
  readonly steps?: 'all' | 'final'
}

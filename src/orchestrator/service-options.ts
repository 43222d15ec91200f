import * as z from 'zod'
import { isBlank } from '../domain/blank-text.ts'
import { deepFreeze } from '../domain/deep-freeze.ts'
import { type FlowLimits, flowLimitsSchema } from '../domain/definition/flow-definition.ts'
import type { StoredRunOptions } from '../domain/execution/flow.ts'
import type { FlowUpdate } from '../domain/execution/flow-update.ts'
import { type NewAttachment, newAttachments } from '../domain/users/new-attachment.ts'
import { FlowStatus, OrchestrationFlowType } from '../domain/vocabulary.ts'
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
  /** `nextCursor` of the previous page, which must have had the same order; not together with `offset`. */
  cursor: z.string().max(1_000).optional(),
})

/** Options of listFlows. */
export type ListFlowsOptions = z.input<typeof listOptionsSchema>

/** Throws INPUT_INVALID, which names every invalid option. */
export function parseListOptions(options: ListFlowsOptions): z.output<typeof listOptionsSchema> {
  const parsed = parseOptions(listOptionsSchema, options, 'listFlows')
  if (parsed.cursor === undefined || parsed.offset === 0) return parsed
  throw new OrchestratorError('INPUT_INVALID', 'listFlows: offset: expected none together with a cursor')
}

const streamOptionsSchema = z.strictObject({
  /** Sequence number of the last update that the caller has received; default 0. */
  afterSeq: z.number().int().min(0).default(0),
  /** Ends the stream, not the flow. */
  signal: z.custom<AbortSignal>((value) => value instanceof AbortSignal, 'expected an AbortSignal').optional(),
})

/** Options of streamFlow. */
export type StreamFlowOptions = z.input<typeof streamOptionsSchema>

export const parseStreamOptions = (options: StreamFlowOptions): z.output<typeof streamOptionsSchema> =>
  parseOptions(streamOptionsSchema, options, 'streamFlow')

const rerunOptionsSchema = z.strictObject({
  /** Id of the first step that runs again; by default every step does. */
  fromStep: z.string().optional(),
  input: z.string().optional(),
})

/** Options of rerunFlow. */
export type RerunFlowOptions = z.input<typeof rerunOptionsSchema>

/** Throws INPUT_INVALID, and FLOW_INPUT_MISSING for a blank input. */
export function parseRerunOptions(options: RerunFlowOptions): RerunFlowOptions {
  const parsed = parseOptions(rerunOptionsSchema, options, 'rerunFlow')
  if (parsed.input === undefined || !isBlank(parsed.input)) return parsed
  throw new OrchestratorError('FLOW_INPUT_MISSING', 'rerunFlow: expected text in options.input, found only blank characters')
}

/** Throws INPUT_INVALID, which names every invalid option after the name of the `method` that received them. */
export function parseOptions<Schema extends z.ZodType>(schema: Schema, options: unknown, method: string): z.output<Schema> {
  const parsed = schema.safeParse(options)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'options'}: ${issue.message}`)
  throw new OrchestratorError('INPUT_INVALID', `${method}: ${problems.join('; ')}`, { details: { problems } })
}

/** Time limits in milliseconds. A longer flow ends with FLOW_TIMEOUT, a longer step with STEP_TIMEOUT. */
export interface TimeoutConfig {
  readonly flow?: number
  readonly step?: number
}

/** Options of executeFlow and startFlow. */
export interface ExecuteFlowOptions {
  /** The user's prompt. */
  readonly input?: string
  /**
   * Texts and files that belong to the prompt; bytes are stored with the thread of the flow. Default: those of the last
   * execution with the same input, and those of the message from which the prompt is taken.
   */
  readonly attachments?: readonly NewAttachment[]
  /** Whether to request streams from providers and emit `step_progress`; by default if `onUpdate` is given. */
  readonly streaming?: boolean
  /**
   * Called synchronously with every update; its errors and rejections are ignored. If another process takes the flow
   * over, its updates are numbered after those that were stored before: the number of an unstored one may come again.
   */
  readonly onUpdate?: (update: FlowUpdate) => unknown
  /** Whether to add every step's output to the thread as a message. */
  readonly saveMessages?: boolean
  readonly timeout?: TimeoutConfig
  /** By default the metadata of the flow's last execution. */
  readonly metadata?: Readonly<Record<string, unknown>>
  /** Replace the definition's own limits one by one. A higher limit lets a flow resume that has reached its own. */
  readonly limits?: FlowLimits
  /**
   * Whether another process may automatically resume the flow with these options after a crash. Default false: the
   * caller decides whether to execute it again.
   */
  readonly resumeAfterCrash?: boolean
  /** Id of the API key for which the flow runs: budgets of scope `key` count it. The server sets it. */
  readonly apiKeyId?: string
  /** Id of the flow's own thread. Another thread is INPUT_INVALID. */
  readonly threadId?: string
  /** Cancels the flow. */
  readonly signal?: AbortSignal
}

/** Options of createFlow. */
export interface CreateFlowOptions {
  /** Whether the definition came over a network, so that it may name only operations that are exposed to it. */
  readonly overNetwork?: boolean
}

const isFunction = (value: unknown) => typeof value === 'function'
const positiveMs = z.number().positive()

const executeOptionsSchema = z.strictObject({
  input: z.string().optional(),
  attachments: newAttachments.optional(),
  streaming: z.boolean().optional(),
  onUpdate: z.custom<ExecuteFlowOptions['onUpdate']>(isFunction, 'expected a function').optional(),
  saveMessages: z.boolean().optional(),
  timeout: z.strictObject({ flow: positiveMs.optional(), step: positiveMs.optional() }).optional(),
  metadata: z.record(z.string(), z.unknown()).optional(),
  limits: flowLimitsSchema.optional(),
  resumeAfterCrash: z.boolean().optional(),
  apiKeyId: z.string().optional(),
  threadId: z.string().optional(),
  signal: z.custom<AbortSignal>((value) => value instanceof AbortSignal, 'expected an AbortSignal').optional(),
})

const NO_METADATA = Object.freeze({})

/** Checked options, with the metadata of the flow's last execution if the caller gives none. Throws INPUT_INVALID. */
export function toRunOptions(
  given: ExecuteFlowOptions,
  flow: StoredFlow,
  { mayPause = false }: { readonly mayPause?: boolean } = {},
): RunOptions {
  const options = parseOptions(executeOptionsSchema, given, 'executeFlow')
  const streaming = options.streaming ?? options.onUpdate !== undefined
  return {
    streaming,
    saveMessages: options.saveMessages ?? false,
    flowTimeoutMs: options.timeout?.flow,
    stepTimeoutMs: options.timeout?.step,
    limits: options.limits,
    apiKeyId: options.apiKeyId,
    metadata: options.metadata ? toStorableMetadata(options.metadata) : (flow.metadata ?? NO_METADATA),
    onUpdate: options.onUpdate,
    // The process that continues a paused flow needs its options, and no caller may be left to execute it again.
    stored: options.resumeAfterCrash || mayPause ? toStoredOptions({ ...options, streaming }) : undefined,
  }
}

const toStoredOptions = ({ streaming, saveMessages, timeout, limits, apiKeyId }: ExecuteFlowOptions): StoredRunOptions => ({
  streaming,
  saveMessages,
  timeout,
  limits,
  apiKeyId,
})

/** A frozen copy, so that the caller cannot change it while steps read it. */
function toStorableMetadata(metadata: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  try {
    return deepFreeze(JSON.parse(JSON.stringify(metadata)))
  } catch (cause) {
    throw new OrchestratorError('INPUT_INVALID', 'executeFlow: metadata: expected values that JSON can hold', { cause })
  }
}

/** Options of getFlow. `final` reads only the results of the step whose output is that of the flow; default `all`. */
export interface GetFlowOptions {
  readonly steps?: 'all' | 'final'
}

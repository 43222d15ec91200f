import * as z from 'zod'
import { type FlowDefinitionInput, flowLimitsSchema } from '../domain/definition/flow-definition.ts'
import { StepStatus } from '../domain/execution/step-result.ts'
import { MAX_ATTACHMENTS } from '../domain/users/new-attachment.ts'
import { FlowStatus, OrchestrationFlowType, StepAction } from '../domain/vocabulary.ts'
import { budgetReport } from './catalogue.ts'
import { attachment, givenAttachment } from './file.ts'
import { arrayOf, id, instant, pageOf, queryInteger } from './instant.ts'
import { errorInfo } from './problem.ts'

const flowStatus = z.enum(FlowStatus)
const flowType = z.enum(OrchestrationFlowType)
const data = z.record(z.string(), z.unknown())

export const usage = z.object({
  inputTokens: z.number().optional(),
  cachedInputTokens: z.number().optional(),
  cacheWriteTokens: z.number().optional(),
  outputTokens: z.number().optional(),
  reasoningTokens: z.number().optional(),
  totalTokens: z.number().optional(),
  source: z.enum(['reported', 'estimated', 'unknown']),
})

const origin = z.object({ kind: z.string(), from: z.string().optional() })

export const sharingDecision = z.object({
  kind: z.string(),
  piece: z.string(),
  from: z.string().optional(),
  to: z.string(),
  allowed: z.boolean(),
  rule: z.string(),
  /** What the item was made from, where that denied it and not the item itself. */
  origin: origin.optional(),
  /** Present where only the writer of an item counts, not what it was made from. */
  provenance: z.literal('direct').optional(),
})

const attempt = z.object({
  number: z.number(),
  provider: z.string(),
  model: z.string(),
  startedAt: instant,
  /** Milliseconds. */
  executionTime: z.number(),
  usage: usage.optional(),
  /** US dollars. Undefined when the cost is unknown. */
  cost: z.number().optional(),
  costSource: z.string().optional(),
  pricesDate: z.string().optional(),
  error: errorInfo.optional(),
  aborted: z.boolean(),
  possiblyDoubleBilled: z.boolean().optional(),
  /** Whether an answer was served again, so that nothing was sent. */
  cached: z.boolean().optional(),
  simulated: z.boolean(),
})

const source = z.object({
  kind: z.enum(['citation', 'annotation', 'search_result']),
  url: z.string().optional(),
  title: z.string().optional(),
  text: z.string().optional(),
  /** Range of the output that the source supports, in UTF-16 code units. */
  startIndex: z.number().optional(),
  endIndex: z.number().optional(),
})

const toolCall = z.object({
  turn: z.number(),
  tool: z.string(),
  arguments: z.unknown().optional(),
  /** The beginning of what the model was answered. */
  output: z.string(),
  isError: z.boolean(),
  /** Milliseconds. */
  executionTime: z.number(),
  /** Files of the result, such as images; `GET /files/{id}/content` answers with their bytes. */
  files: arrayOf(attachment).optional(),
  approvedBy: z.string().optional(),
})

export const stepResult = z.object({
  id: z.string(),
  flowId: z.string(),
  stepId: z.string(),
  /** Address of the step within the flow: its id, `step[3]` for an item, `outer/inner` inside a sub-flow. */
  path: z.string(),
  iteration: z.number(),
  sample: z.number(),
  status: z.enum(StepStatus),
  provider: z.string(),
  model: z.string(),
  requestedModel: z.string(),
  /** Of a step that waits: the providers whose texts it passes on. */
  writers: arrayOf(z.string()).optional(),
  /** Everything that the text was made from, over all hops; its own writer is `provider`. */
  origins: arrayOf(origin).optional(),
  /** Files that the model made, such as images. */
  files: arrayOf(attachment).optional(),
  action: z.enum(StepAction),
  output: z.string().optional(),
  parsed: z.unknown().optional(),
  refusal: z.string().optional(),
  /** Reasoning that the provider sent apart from the answer; stored only where the step says `keepReasoning`. */
  reasoning: z.string().optional(),
  /** Citations, annotations and search results that came with the answer. */
  sources: arrayOf(source).optional(),
  finishReason: z.string().optional(),
  /** Of a step with tools: how often its model was called. */
  turns: z.number().optional(),
  toolCalls: arrayOf(toolCall).optional(),
  usage: usage.optional(),
  cost: z.number().optional(),
  costSource: z.string().optional(),
  executionTime: z.number(),
  retryCount: z.number(),
  attempts: arrayOf(attempt),
  samples: arrayOf(z.string()).optional(),
  withheld: arrayOf(sharingDecision),
  sharing: arrayOf(sharingDecision),
  notes: arrayOf(z.string()),
  error: errorInfo.optional(),
  messageId: z.string().optional(),
  startedAt: instant,
  completedAt: instant,
  executedAt: instant,
  metadata: z.object({
    provider: z.string(),
    model: z.string(),
    action: z.string(),
    usage: usage.optional(),
    cost: z.number().optional(),
    retryCount: z.number(),
  }),
  simulated: z.boolean(),
})

export const flowResult = z.object({
  flowId: z.string(),
  status: flowStatus,
  finalOutput: z.string(),
  steps: arrayOf(stepResult),
  /** US dollars: the sum of the known costs. */
  totalCost: z.number(),
  totalTokens: z.number(),
  usage,
  /** Number of steps without a known price. */
  unpricedSteps: z.number(),
  totalExecutionTime: z.number(),
  stopReason: z.string().optional(),
  simulated: z.boolean(),
})

export const flow = z.object({
  id: z.string(),
  threadId: z.string(),
  userId: z.string(),
  name: z.string(),
  description: z.string().optional(),
  flowType,
  definition: data,
  currentStepIndex: z.number(),
  status: flowStatus,
  createdAt: instant,
  startedAt: instant.optional(),
  completedAt: instant.optional(),
  result: flowResult.optional(),
  error: errorInfo.optional(),
  input: z.string().optional(),
  metadata: data.optional(),
  /** Attachments that were given with the prompt of the last execution. */
  attachments: arrayOf(attachment).optional(),
  parentFlowId: z.string().optional(),
  simulated: z.boolean(),
  stepResults: arrayOf(stepResult),
})

/** A flow in lists, without its definition and results. */
export const flowSummary = flow.omit({
  definition: true,
  stepResults: true,
  result: true,
  metadata: true,
  input: true,
  attachments: true,
})
export const flowPage = pageOf(flowSummary)

export const flowStatusReport = z.object({
  flowId: z.string(),
  status: flowStatus,
  /** Percentage, 0 to 100. Never decreases. */
  progress: z.number(),
  currentStepIndex: z.number(),
  totalSteps: z.number(),
  completedSteps: z.number(),
  failedSteps: arrayOf(z.string()),
  /** Present while the flow is RUNNING and waits in the queue for a process. */
  queuedAt: instant.optional(),
  startedAt: instant.optional(),
  completedAt: instant.optional(),
  error: errorInfo.optional(),
})

const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value)
/** Checks only that the definition is an object. The service validates the whole and reports all invalid values. */
export const definitionData = z.custom<FlowDefinitionInput>(isObject, 'expected an object').meta({ title: 'FlowDefinition' })

/** Either a definition, or a template with its parameters. */
export const definitionSource = {
  definition: definitionData.optional(),
  template: id.optional(),
  parameters: data.optional(),
}
const hasOneSource = ({ definition, template }: { definition?: unknown; template?: unknown }) =>
  (definition === undefined) !== (template === undefined)
const ONE_SOURCE = 'expected either `definition` or `template`'

export const newFlow = z.strictObject({ threadId: id, ...definitionSource }).refine(hasOneSource, ONE_SOURCE)
export const flowToCheck = z.strictObject(definitionSource).refine(hasOneSource, ONE_SOURCE)

const finding = z.object({ code: z.string(), path: z.string(), message: z.string(), details: data })
export const flowCheck = z.object({
  ok: z.boolean(),
  problems: arrayOf(finding),
  warnings: arrayOf(finding),
  calls: z.object({ min: z.number(), max: z.number() }),
  cost: z.object({ lowUsd: z.number(), highUsd: z.number(), unpriced: arrayOf(z.string()) }),
  budgets: arrayOf(budgetReport),
})

const positiveMs = z.number().positive()
/** Options of one execution. */
export const execution = z.strictObject({
  input: z.string().max(5_000_000).optional(),
  /** Texts and files that belong to the prompt. */
  attachments: z.array(givenAttachment).max(MAX_ATTACHMENTS).readonly().optional(),
  /** Whether providers stream their answers, which become `step_progress` updates. Default: true. */
  streaming: z.boolean().optional(),
  saveMessages: z.boolean().optional(),
  timeout: z.strictObject({ flow: positiveMs.optional(), step: positiveMs.optional() }).optional(),
  metadata: data.optional(),
  limits: flowLimitsSchema.optional(),
})
export const stepExecution = z.strictObject({ input: z.string().max(5_000_000).optional() })
export const rerun = z.strictObject({ fromStep: id.optional(), input: z.string().max(5_000_000).optional() })

export const flowParams = z.object({ flowId: id })
export const stepParams = z.object({ flowId: id, stepId: id })
export const flowListQuery = z.strictObject({
  /** Lists the flows of this thread. Default: all flows that the caller created. */
  threadId: id.optional(),
  status: flowStatus.optional(),
  type: flowType.optional(),
  limit: queryInteger(1, 1_000).optional(),
  offset: queryInteger(0, 1_000_000).optional(),
  sortBy: z.enum(['createdAt', 'completedAt', 'name']).optional(),
  sortOrder: z.enum(['ASC', 'DESC']).optional(),
  cursor: z.string().max(1_000).optional(),
})
/** `wait`: milliseconds to wait for the end of the flow. 0 responds immediately. */
export const executeQuery = z.strictObject({ wait: queryInteger(0, 86_400_000).optional() })
export const updatesQuery = z.strictObject({ afterSeq: queryInteger(0, 2_147_483_647).optional() })

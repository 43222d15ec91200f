import * as z from 'zod'
import { WAIT_KINDS } from '../domain/waiting/wait.ts'
import { attachment } from './file.ts'
import { flowResult, sharingDecision, stepResult } from './flow.ts'
import { arrayOf, instant } from './instant.ts'
import { errorInfo } from './problem.ts'

const common = {
  /** Sequence number within the flow, from 1. */
  seq: z.number().int(),
  flowId: z.string(),
  stepId: z.string().optional(),
  /** Address of the step within the flow: its id, `step[3]` for an item, `outer/inner` inside a sub-flow. */
  path: z.string().optional(),
  iteration: z.number().optional(),
  timestamp: instant,
}
const of = <Type extends string, Data extends z.ZodType>(type: Type, data: Data) =>
  z.object({ ...common, type: z.literal(type), data })

/** A step that waits, in the update of its flow. */
const pausedStep = z.object({
  path: z.string(),
  iteration: z.number(),
  kind: z.enum(WAIT_KINDS),
  hash: z.string(),
  /** ISO 8601. */
  since: z.string(),
  deadline: z.string().optional(),
  onTimeout: z.enum(['approve', 'reject', 'fail']).optional(),
  event: z.string().optional(),
  correlation: z.string().optional(),
  prompt: z.string().optional(),
  show: z.string().optional(),
  schema: z.record(z.string(), z.unknown()).optional(),
  assignees: arrayOf(z.string()).optional(),
})

/** One update of a flow, in the same form in event streams and on WebSockets. */
export const flowUpdate = z.discriminatedUnion('type', [
  of(
    'flow_start',
    z.object({
      name: z.string(),
      flowType: z.string(),
      totalSteps: z.number(),
      resumed: z.boolean(),
      simulated: z.boolean(),
    }),
  ),
  of(
    'step_start',
    z.object({
      provider: z.string(),
      model: z.string(),
      action: z.string(),
      stepIndex: z.number(),
      sharing: arrayOf(sharingDecision),
    }),
  ),
  of('step_progress', z.object({ delta: z.string(), kind: z.literal('reasoning').optional(), sample: z.number().optional() })),
  of(
    'step_retry',
    z.object({
      attempt: z.number(),
      delayMs: z.number(),
      error: errorInfo,
      provider: z.string(),
      model: z.string(),
      restart: z.boolean(),
    }),
  ),
  of(
    'tool_call',
    z.object({
      turn: z.number(),
      callId: z.string(),
      tool: z.string(),
      arguments: z.unknown().optional(),
      needsApproval: z.literal(true).optional(),
      sample: z.number().optional(),
    }),
  ),
  of(
    'tool_result',
    z.object({
      turn: z.number(),
      callId: z.string(),
      tool: z.string(),
      output: z.string(),
      isError: z.boolean(),
      executionTime: z.number(),
      cut: z.string().optional(),
      files: arrayOf(attachment).optional(),
      sample: z.number().optional(),
    }),
  ),
  of('step_skipped', z.object({ reason: z.string() })),
  of('step_complete', stepResult),
  of('context_withheld', sharingDecision),
  of('flow_paused', z.object({ reason: z.string(), waits: arrayOf(pausedStep) })),
  of('flow_complete', flowResult),
  of('flow_cancelled', z.object({ reason: z.string() })),
  of('error', errorInfo),
])
/** An update as JSON, in which instants are text. */
export type WireUpdate = z.input<typeof flowUpdate>

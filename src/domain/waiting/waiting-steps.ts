import * as z from 'zod'
import { schemaField } from '../definition/schema-field.ts'
import { isOwnTool, isRunStep } from '../tools/tool-fields.ts'
import type { StepAction } from '../vocabulary.ts'
import type { WaitKind } from './wait.ts'

const UNIT_MS = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000, ms: 1 } as const
const DURATION = /^(?=\d)(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9})s)?(?:(\d{1,12})ms)?$/

/** Longest time that a step may wait: an instant further away may exceed what databases store. */
const LONGEST_WAIT_MS = 100 * 366 * UNIT_MS.d

/** Milliseconds of a duration such as `90_000` or `'1h30m'`; `undefined` for text of another form. */
export function toDurationMs(duration: number | string): number | undefined {
  if (typeof duration === 'number') return duration
  const parts = DURATION.exec(duration)
  if (!parts) return undefined
  const amounts = parts.slice(1).map((digits) => Number(digits ?? 0))
  return Object.values(UNIT_MS).reduce((sum, unitMs, index) => sum + unitMs * (amounts[index] ?? 0), 0)
}

const waitMs = z.number().int().positive().max(LONGEST_WAIT_MS)

const durationField = z.union([
  waitMs,
  z
    .string()
    .max(50)
    .refine(
      (text) => waitMs.safeParse(toDurationMs(text)).success,
      'expected milliseconds or a duration such as "1h30m", "2d" or "45s", of at most 100 years',
    ),
])

/** What an `approve` step asks, and whom. */
export const approvalSchema = z.strictObject({
  /** The question, as a Liquid template. */
  prompt: z.string().min(1).max(200_000),
  /** The text that is decided about and may be edited, as a Liquid template. Default: the input of the step. */
  show: z.string().max(200_000).optional(),
  /** Schema of the `data` that may come with the decision. */
  schema: schemaField.optional(),
  /**
   * Ids of the only users who may decide; the creator of the flow needs to be one of them. Default: all who may write.
   */
  assignees: z.array(z.string().min(1).max(200)).min(1).max(100).optional(),
  /** Milliseconds until `onTimeout` decides. Default: the step waits without limit. */
  timeoutMs: waitMs.optional(),
  /** The decision when the time is over. `fail`, the default, fails the step with APPROVAL_EXPIRED. */
  onTimeout: z.enum(['approve', 'reject', 'fail']).optional(),
})

/** The keys of steps that wait. */
export const waitingShape = {
  /** For `approve`. */
  approval: approvalSchema.optional(),
  /** For `wait`: milliseconds, or a duration such as `1h30m`. */
  for: durationField.optional(),
  /** For `wait`: an instant in ISO 8601 with its offset. */
  until: z.iso.datetime({ offset: true, error: 'expected an instant in ISO 8601 such as "2027-01-31T09:00:00Z"' }).optional(),
  /** For `wait`: the name of an event. */
  event: z.string().min(1).max(200).optional(),
  /** Template of a text that the event must carry, for example the number of an order. */
  correlation: z.string().min(1).max(10_000).optional(),
  /** Milliseconds after which a step no longer waits for its event. Default: no limit. */
  timeoutMs: waitMs.optional(),
}

/** The actions of steps that wait for a decision, a time or an event, and that no model answers. */
export const isWaitingAction = (action: unknown): action is Extract<StepAction, 'approve' | 'wait'> =>
  action === 'approve' || action === 'wait'

export const isWaitingStep = ({ action }: { readonly action: StepAction }): boolean => isWaitingAction(action)

/** A step as far as it decides whether its flow may pause. */
interface PausingStep {
  readonly action: StepAction
  readonly onUnknown?: string
  readonly tools?: readonly string[]
}

/** Whether flows of the definition may pause. Any call of a tool may need approval: its provider says so. */
export const mayPause = ({ steps }: { readonly steps: readonly PausingStep[] }): boolean =>
  steps.some((step) => {
    const asksByDefault = isRunStep(step) && step.onUnknown === undefined
    return isWaitingStep(step) || step.onUnknown === 'ask' || asksByDefault || step.tools?.some(isOwnTool)
  })

/** Whether a step waits for more than a time: for a decision or an event. */
export const needsSomebody = ({ kind, event }: { readonly kind: WaitKind; readonly event?: string | undefined }): boolean =>
  kind !== 'wait' || event !== undefined

/** Whether a user decides about what is shown; other waits take an event or the result of a tool. */
export const takesDecision = ({ kind }: { readonly kind: WaitKind }): boolean => kind === 'approve' || kind === 'tool'

/** Stands for the provider of steps that wait, whose results no provider wrote. */
export const ENGINE_PROVIDER = 'polyphony'

/** The text that a step shows, or passes on, where its definition names none. */
export const DEFAULT_SHOW = '{{ input }}'

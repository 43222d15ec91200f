import { createHash } from 'node:crypto'
import type { JsonSchema } from '../execution/model-call.ts'

/**
 * What a step waits for. `approve`: a decision; `wait`: a time or an event; `tool`: a decision about a call of a tool;
 * `caller`: the result of a caller tool.
 */
export const WAIT_KINDS = ['approve', 'wait', 'tool', 'caller'] as const
export type WaitKind = (typeof WAIT_KINDS)[number]

/** Characters, as JSON, of the `data` that ends a wait. */
export const MAX_DATA_LENGTH = 1_000_000

/** The decision when the time of an approval is over. */
export type TimeoutDecision = 'approve' | 'reject' | 'fail'

/** One step in one iteration that waits. */
export interface StepWait {
  readonly flowId: string
  readonly threadId: string
  /** Address of the step within the flow: the id of a plain step. */
  readonly path: string
  /** From 1; rises inside loops. */
  readonly iteration: number
  readonly kind: WaitKind
  /** SHA-256 (hex) of what is decided about: a decision counts only for what was shown. */
  readonly hash: string
  readonly since: Date
  /** When the wait ends by itself. */
  readonly deadline?: Date
  readonly onTimeout?: TimeoutDecision
  /** Name of the event or of the caller tool, and the text that an event must carry. */
  readonly event?: string
  readonly correlation?: string
  readonly prompt?: string
  readonly show?: string
  /** Schema of `data`; of a call of a tool, schema of its arguments, which `edit` may replace. */
  readonly schema?: JsonSchema
  /** The only users who may decide. */
  readonly assignees?: readonly string[]
}

/** How a wait ended. */
export interface WaitDecision {
  readonly approved?: boolean
  /** Replaces the shown text. */
  readonly edit?: string
  readonly data?: unknown
  /** The deadline decided. */
  readonly timedOut?: boolean
}

/** A wait with its end, if it has ended. */
export interface StoredWait extends StepWait {
  readonly decision?: WaitDecision
  /** The user; absent if the deadline decided. */
  readonly decidedBy?: string
  readonly decidedAt?: Date
}

/** Identifies a wait. */
export type WaitKey = Pick<StepWait, 'flowId' | 'path' | 'iteration'>

/** Key of a wait within its flow. */
export const waitKey = ({ path, iteration }: Pick<WaitKey, 'path' | 'iteration'>): string => `${path}#${iteration}`

/**
 * The hash of what a step waits for and of what it shows. `after`: the hash of the wait that this one repeats, because
 * its time was over.
 */
export function hashOfWait(wait: Omit<StepWait, 'hash' | 'since' | 'deadline' | 'flowId' | 'threadId'>, after?: string): string {
  const { kind, path, iteration, event, correlation, prompt, show, schema, assignees, onTimeout } = wait
  const content = [kind, path, iteration, event, correlation, prompt, show, schema, assignees, onTimeout, after]
  return createHash('sha256').update(JSON.stringify(content)).digest('hex')
}

/** Whether a stored wait asks the same as another one, of which it may be a repetition. */
export const asksSame = (stored: StoredWait, asked: Parameters<typeof hashOfWait>[0]): boolean =>
  hashOfWait(stored) === hashOfWait(asked)

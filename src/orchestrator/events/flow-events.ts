import { type EventQuery, isEventType, type PolyphonyEvent } from '../../domain/event.ts'
import { FLOW_UPDATE_TYPES, type FlowUpdateType } from '../../domain/execution/flow-update.ts'
import type { StoredUpdate } from '../../repositories/repository.ts'
import { toFacts } from '../webhooks/webhook-event.ts'

/** Source of the updates of flows as events. No publisher may use it. */
export const FLOW_SOURCE = 'flow'

/** Types of updates by the type of their event. Chunks of text are no events: only the flow itself gives them. */
const toEventType = (type: FlowUpdateType): string => (type === 'error' ? 'flow_error' : type)
const EVENT_TYPES: readonly string[] = FLOW_UPDATE_TYPES.filter((type) => type !== 'step_progress').map(toEventType)

/** Whether events with these types may be updates of flows. */
export const areFlowTypes = (types: readonly string[] | undefined): boolean =>
  types === undefined || EVENT_TYPES.some((type) => isEventType(type, types))

/** A stored update as an event; `undefined` for text. It holds no prompt and no answer. */
export function toFlowEvent(flowId: string, update: StoredUpdate, userId?: string): PolyphonyEvent | undefined {
  const { seq, type, timestamp } = update
  if (type === 'step_progress') return undefined
  return {
    id: `${flowId}:${seq}`,
    seq: 0,
    type: toEventType(type),
    source: FLOW_SOURCE,
    subject: flowId,
    correlationId: flowId,
    ...(userId !== undefined && { userId }),
    priority: type === 'error' ? 'high' : 'normal',
    data: { updateSeq: seq, ...toFacts(update, undefined) },
    timestamp,
  }
}

/** Whether an update of a flow is meant; numbers of the log do not apply to it. */
export const isMeantFlowEvent = (
  { type, timestamp, subject: flowId }: PolyphonyEvent,
  { types, from, to, subject }: EventQuery,
): boolean =>
  (types === undefined || isEventType(type, types)) &&
  (subject === undefined || flowId === subject) &&
  (from === undefined || timestamp >= from) &&
  (to === undefined || timestamp <= to)

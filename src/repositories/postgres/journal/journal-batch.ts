import type { CallIntent } from '../../../domain/execution/call-intent.ts'
import type { FlowStart } from '../../../domain/execution/flow.ts'
import { isSameResult, type StepKey } from '../../../domain/execution/step-result.ts'
import { toStorableJson } from '../../../domain/storable-text.ts'
import { isTurnOf, settles, type TurnsOfStep } from '../../../domain/tools/turns.ts'
import type { Message } from '../../../domain/users/thread.ts'
import { waitKey } from '../../../domain/waiting/wait.ts'
import type { DELIVERY_COLUMNS, DeliveryRow } from '../../columns/background-columns.ts'
import type { MESSAGE_COLUMNS, MessageRow } from '../../columns/conversation-columns.ts'
import type { DEFINITION_COLUMNS, DefinitionRow } from '../../columns/flow-columns.ts'
import type { FlowInsert, FlowOutcome, JournalEntry, NewDelivery, StoredDefinition } from '../../repository.ts'
import type { JsonRow } from '../rows.ts'
import { type ClaimJson, type OutcomeJson, toClaimJson, toFlowJson, toOutcomeJson } from './flow-rows.ts'
import { type IntentJson, toIntentJson } from './intent-rows.ts'
import { JOURNAL_PART, JOURNAL_STATEMENTS, type JournalPart } from './journal-columns.ts'
import type { JournalReply } from './journal-sql.ts'
import { type StepResultJson, toStepResultJson } from './step-result-rows.ts'
import { type TurnJson, toTurnJson } from './turn-rows.ts'
import { toUpdateBatch, type UpdateCells } from './update-rows.ts'
import { toWaitJson, type WaitJson } from './wait-rows.ts'

/** Callbacks of a write. */
interface WaitingWrite {
  readonly flowId: string
  /**
   * Gets the reply for the flow; undefined if the statement has none for it. `repeated`: an earlier attempt may have
   * been written although its reply was lost.
   */
  readonly settle: (reply: JournalReply | undefined, repeated: boolean) => void
  readonly fail: (error: unknown) => void
}

interface EntryOperation extends WaitingWrite {
  readonly kind: 'entry'
  readonly entry: JournalEntry
  readonly outcome?: FlowOutcome
}

/** One write in the queue. */
export type Operation =
  | EntryOperation
  | (WaitingWrite & { readonly kind: 'create'; readonly flow: FlowInsert })
  | (WaitingWrite & {
      readonly kind: 'claim'
      readonly claim: FlowStart
      readonly ownerId: string | undefined
      readonly jobId: string | undefined
    })

/**
 * Takes the writes for one statement out of the queue, in order, without those of `flowsInWriting`. All parts of a
 * statement see one snapshot, so it holds one kind of write per flow: its creation, its claim or entry into the queue,
 * or entries of one epoch, of which the last may carry the outcome.
 */
export function takeBatch(queue: Operation[], limit: number, flowsInWriting: ReadonlyMap<string, unknown>): Operation[] {
  const [only] = queue
  if (only && queue.length === 1) return flowsInWriting.has(only.flowId) ? [] : queue.splice(0)
  const taken: Operation[] = []
  const remaining: Operation[] = []
  const takenOf = new Map<string, Operation[]>()
  const leftOf = new Set<string>()
  for (const operation of queue) {
    const before = takenOf.get(operation.flowId)
    if (
      taken.length < limit &&
      !flowsInWriting.has(operation.flowId) &&
      !leftOf.has(operation.flowId) &&
      (!before || joins(before, operation))
    ) {
      taken.push(operation)
      if (before) before.push(operation)
      else takenOf.set(operation.flowId, [operation])
    } else {
      remaining.push(operation)
      leftOf.add(operation.flowId)
    }
  }
  queue.splice(0, queue.length, ...remaining)
  return taken
}

const joins = (before: readonly Operation[], next: Operation): boolean =>
  next.kind === 'entry' &&
  before.every(
    (prior) =>
      prior.kind === 'entry' &&
      !prior.outcome &&
      prior.entry.epoch === next.entry.epoch &&
      !sharesStep(prior.entry.results, next.entry.results) &&
      // Both would write the attempts of the turns.
      !sharesStep(prior.entry.turns, next.entry.results) &&
      // The rows are changed only after they were written.
      !prior.entry.turns?.some((turn) => next.entry.closedTurns?.some((step) => isTurnOf(turn, step))),
  )

// One statement cannot write a row twice.
const sharesStep = (a: readonly StepKey[] = [], b: readonly StepKey[] = []): boolean =>
  a.some((one) => b.some((other) => isSameResult(one, other)))

type DefinitionJson = JsonRow<typeof DEFINITION_COLUMNS, DefinitionRow, keyof typeof DEFINITION_COLUMNS>

/** A message for the thread of a flow. */
interface MessageJson
  extends Omit<JsonRow<typeof MESSAGE_COLUMNS, MessageRow, keyof typeof MESSAGE_COLUMNS>, 'recorded' | 'attachments'> {
  readonly flow_id: string
  readonly recorded: number
}

type DeliveryJson = JsonRow<
  typeof DELIVERY_COLUMNS,
  DeliveryRow,
  'webhookId' | 'flowId' | 'seq' | 'type' | 'timestamp' | 'facts' | 'dueAt'
>

/** The rows of one statement, by its parts. */
interface Rows extends Record<JournalPart, readonly object[]> {
  definitions: readonly DefinitionJson[]
  readonly flows: ReturnType<typeof toFlowJson>[]
  readonly claims: ClaimJson[]
  readonly enqueues: ClaimJson[]
  readonly entries: { readonly flow_id: string; readonly epoch: number }[]
  readonly outcomes: OutcomeJson[]
  readonly results: StepResultJson[]
  readonly updates: { readonly flow_id: string; readonly last_seq: number; readonly batch: readonly UpdateCells[] }[]
  readonly messages: MessageJson[]
  readonly intents: IntentJson[]
  readonly deliveries: DeliveryJson[]
  readonly turns: TurnJson[]
  readonly closed: (TurnsOfStep & { readonly flow_id: string })[]
  readonly waits: WaitJson[]
  readonly pauses: { readonly flow_id: string; readonly wake_at: Date | undefined }[]
}

export interface JournalStatement {
  /** The parts of the statement, as bits. */
  readonly mask: number
  /** JSON text per part. */
  readonly values: string[]
  readonly definitionHashes: readonly string[]
}

/**
 * A batch as rows. `isKnown`: whether a definition is certainly stored. `nextRecorded` numbers results and messages.
 */
export function toStatement(
  batch: readonly Operation[],
  isKnown: (definitionHash: string) => boolean,
  nextRecorded: () => number,
): JournalStatement {
  const rows: Rows = {
    definitions: [],
    flows: [],
    claims: [],
    enqueues: [],
    entries: [],
    outcomes: [],
    results: [],
    updates: [],
    messages: [],
    intents: [],
    deliveries: [],
    turns: [],
    closed: [],
    waits: [],
    pauses: [],
  }
  const definitions = new Map<string, StoredDefinition>()
  const entriesOf = new Map<string, EntryOperation[]>()
  for (const operation of batch) {
    const { flowId } = operation
    if (operation.kind === 'claim') {
      const { claim, ownerId, jobId } = operation
      if (ownerId === undefined) rows.enqueues.push(toClaimJson(claim))
      else rows.claims.push(toClaimJson(claim, ownerId, jobId))
    } else if (operation.kind === 'create') {
      const { definition, carried = [] } = operation.flow
      rows.flows.push(toFlowJson(operation.flow))
      for (const result of carried) rows.results.push(toStepResultJson(flowId, result, nextRecorded()))
      if (!isKnown(definition.hash)) definitions.set(definition.hash, definition)
    } else {
      for (const result of operation.entry.results ?? []) rows.results.push(toStepResultJson(flowId, result, nextRecorded()))
      for (const turn of operation.entry.turns ?? []) rows.turns.push(toTurnJson(flowId, turn))
      for (const { path, iteration } of operation.entry.closedTurns ?? []) rows.closed.push({ flow_id: flowId, path, iteration })
      for (const message of operation.entry.messages ?? []) rows.messages.push(toMessageJson(flowId, message, nextRecorded()))
      for (const delivery of operation.entry.deliveries ?? []) rows.deliveries.push(toDeliveryJson(flowId, delivery))
      const before = entriesOf.get(flowId)
      if (before) before.push(operation)
      else entriesOf.set(flowId, [operation])
    }
  }
  for (const [flowId, operations] of entriesOf) addEntries(rows, flowId, operations)
  // Sorted, because two processes that store the same definitions in different orders could deadlock.
  rows.definitions = [...definitions.values()].sort(byHash).map(toDefinitionJson)
  let mask = 0
  const values: string[] = []
  for (const part of JOURNAL_STATEMENTS) {
    if (rows[part].length === 0) continue
    mask |= JOURNAL_PART[part]
    values.push(toStorableJson(rows[part]))
  }
  return { mask, values, definitionHashes: [...definitions.keys()] }
}

/** Only the last operation of a flow in a batch gets a row of its own: it is the one that may carry the outcome. */
function addEntries(rows: Rows, flowId: string, operations: readonly EntryOperation[]): void {
  for (const intent of openIntents(operations)) rows.intents.push(toIntentJson(flowId, intent))
  const updates = operations.flatMap(({ entry }) => entry.updates ?? [])
  if (updates.length > 0) {
    const last = Math.max(...updates.map((update) => update.seq))
    rows.updates.push({ flow_id: flowId, last_seq: last, batch: toUpdateBatch(updates) })
  }
  // One statement cannot write a row twice, so only the last form of a wait is written.
  const waits = new Map(operations.flatMap(({ entry }) => entry.waits ?? []).map((wait) => [waitKey(wait), wait]))
  for (const wait of waits.values()) rows.waits.push(toWaitJson(wait))
  for (const { entry, outcome } of operations.slice(-1)) {
    if (outcome) rows.outcomes.push(toOutcomeJson(flowId, entry.epoch, outcome))
    if (outcome?.status === 'PAUSED') rows.pauses.push({ flow_id: flowId, wake_at: outcome.wakeAt })
    else rows.entries.push({ flow_id: flowId, epoch: entry.epoch })
  }
}

/** A result removes the stored intents of its step only: those before it in the same statement are left out. */
function openIntents(operations: readonly EntryOperation[]): readonly CallIntent[] {
  let open: readonly CallIntent[] = NO_INTENTS
  for (const { entry } of operations) {
    const { results, intents, turns } = entry
    if (results && open.length > 0) open = open.filter((intent) => !sharesStep([intent], results))
    if (turns && open.length > 0) open = open.filter((intent) => !turns.some((turn) => settles(turn, intent)))
    if (intents) open = open.length > 0 ? [...open, ...intents] : intents
  }
  return open
}

const NO_INTENTS: readonly CallIntent[] = []

const toDefinitionJson = (definition: StoredDefinition): DefinitionJson => ({
  hash: definition.hash,
  json: definition.json,
  version: definition.version,
  is_data: definition.isData,
})

const byHash = (a: StoredDefinition, b: StoredDefinition) => (a.hash < b.hash ? -1 : 1)

const toDeliveryJson = (flowId: string, { webhookId, seq, type, timestamp, facts }: NewDelivery): DeliveryJson => ({
  webhook_id: webhookId,
  flow_id: flowId,
  seq,
  type,
  created_at: timestamp,
  facts,
  due_at: timestamp,
})

const toMessageJson = (flowId: string, message: Message, recorded: number): MessageJson => ({
  flow_id: flowId,
  id: message.id,
  thread_id: message.threadId,
  role: message.role,
  created_at: message.createdAt,
  recorded,
  content: message.content,
  metadata: message.metadata,
})

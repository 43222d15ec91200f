import type { StepResult } from '../domain/step-result.ts'
import { FLOW_SCHEMA_VERSION } from './entities/flow.ts'
import { JOURNAL_PART, JOURNAL_PARTS, type JournalPart, type JournalReplyRow, type JournalRow } from './journal-sql.ts'
import type { Claim, FlowOutcome, JournalEntry, NewFlow, StoredUpdate } from './repository.ts'
import { toAttemptRow, toStepResultRow } from './step-result-rows.ts'
import { toStorableJson } from './storable.ts'
import { toUpdateBatch } from './update-rows.ts'

interface Waiting {
  readonly flowId: string
  /** With the flow's row of the reply, where it has one. `repeated`: an earlier try may have been written although its answer was lost. */
  readonly settle: (reply: JournalReplyRow | undefined, repeated: boolean) => void
  readonly fail: (error: unknown) => void
}

/** One write that waits. */
export type Operation = Waiting &
  (
    | { readonly kind: 'create'; readonly flow: NewFlow }
    | { readonly kind: 'claim'; readonly claim: Claim }
    | { readonly kind: 'entry'; readonly entry: JournalEntry; readonly outcome?: FlowOutcome }
  )

/**
 * Takes what may go into one statement, in order, and leaves the rest in the queue. Within a statement a flow is created, or claimed, or gets entries of one
 * epoch of which the last may carry the outcome: its parts see one snapshot and could not follow on each other. Nothing is taken of `flowsUnderWay`.
 */
export function takeBatch(queue: Operation[], limit: number, flowsUnderWay: ReadonlySet<string>): Operation[] {
  const taken: Operation[] = []
  const left: Operation[] = []
  const takenOf = new Map<string, Operation[]>()
  const leftOf = new Set<string>()
  for (const operation of queue) {
    const before = takenOf.get(operation.flowId)
    if (
      taken.length < limit &&
      !flowsUnderWay.has(operation.flowId) &&
      !leftOf.has(operation.flowId) &&
      (!before || joins(before, operation))
    ) {
      taken.push(operation)
      if (before) before.push(operation)
      else takenOf.set(operation.flowId, [operation])
    } else {
      left.push(operation)
      leftOf.add(operation.flowId)
    }
  }
  queue.splice(0, queue.length, ...left)
  return taken
}

const joins = (before: readonly Operation[], next: Operation): boolean =>
  next.kind === 'entry' &&
  before.every(
    (earlier) =>
      earlier.kind === 'entry' &&
      !earlier.outcome &&
      earlier.entry.epoch === next.entry.epoch &&
      !sharesStep(earlier.entry.results, next.entry.results),
  )

// One statement cannot write a row twice.
const sharesStep = (a: readonly StepResult[] = [], b: readonly StepResult[] = []): boolean =>
  a.some((one) =>
    b.some((other) => one.stepId === other.stepId && one.iteration === other.iteration && one.sample === other.sample),
  )

type Rows = { [Part in JournalPart]: JournalRow<Part>[] }

export interface JournalStatement {
  /** Which parts there are. */
  readonly mask: number
  /** JSON text per part. */
  readonly values: readonly string[]
  readonly definitionHashes: readonly string[]
}

/** A batch as rows. `isKnown` tells which definitions are surely stored already. */
export function toStatement(
  batch: readonly Operation[],
  isKnown: (definitionHash: string) => boolean,
  recorded: () => number,
): JournalStatement {
  const rows: Rows = { definitions: [], flows: [], claims: [], entries: [], outcomes: [], results: [], attempts: [], updates: [] }
  const definitions = new Map<string, JournalRow<'definitions'>>()
  const updatesOf = new Map<string, StoredUpdate[]>()
  const heldFlows = new Map<string, Operation>()
  for (const operation of batch) {
    const { flowId } = operation
    if (operation.kind === 'claim') {
      rows.claims.push(toClaimRow(operation.claim))
    } else if (operation.kind === 'create') {
      const { definition, carried = [] } = operation.flow
      rows.flows.push(toFlowRow(operation.flow))
      for (const result of carried) addResult(rows, flowId, result, recorded())
      if (!isKnown(definition.hash)) definitions.set(definition.hash, toDefinitionRow(operation.flow))
    } else {
      const { results = [], updates = [] } = operation.entry
      heldFlows.set(flowId, operation)
      for (const result of results) addResult(rows, flowId, result, recorded())
      if (updates.length > 0) updatesOf.set(flowId, [...(updatesOf.get(flowId) ?? []), ...updates])
    }
  }
  for (const operation of heldFlows.values()) addHold(rows, operation)
  for (const [flowId, updates] of updatesOf) {
    rows.updates.push({
      flow_id: flowId,
      last_seq: Math.max(...updates.map((update) => update.seq)),
      batch: toUpdateBatch(updates),
    })
  }
  // In one order everywhere, or two processes storing the same definitions could wait for each other.
  rows.definitions = [...definitions.keys()].sort().flatMap((hash) => definitions.get(hash) ?? [])
  const parts = JOURNAL_PARTS.filter((part) => rows[part].length > 0)
  return {
    mask: parts.reduce((mask, part) => mask | JOURNAL_PART[part], 0),
    values: parts.map((part) => toStorableJson(rows[part])),
    definitionHashes: [...definitions.keys()],
  }
}

/** The last operation of a flow in a batch stands for all: it is the one that may carry the outcome. */
function addHold(rows: Rows, operation: Operation): void {
  if (operation.kind !== 'entry') return
  const { flowId, entry, outcome } = operation
  if (!outcome) {
    rows.entries.push({ flow_id: flowId, epoch: entry.epoch })
    return
  }
  rows.outcomes.push({
    flow_id: flowId,
    epoch: entry.epoch,
    simulated: outcome.simulated,
    completed_at: outcome.completedAt,
    status: outcome.status,
    result: outcome.result,
    error: outcome.error,
  })
}

function addResult(rows: Rows, flowId: string, result: StepResult, recorded: number): void {
  rows.results.push(toStepResultRow(flowId, result, recorded))
  for (const attempt of result.attempts) rows.attempts.push(toAttemptRow(flowId, result, attempt))
}

const toClaimRow = (claim: Claim): JournalRow<'claims'> => ({
  flow_id: claim.flowId,
  allowed: claim.from,
  owner_id: claim.ownerId,
  started_at: claim.startedAt,
  input: claim.input,
  metadata: claim.metadata,
})

const toDefinitionRow = ({ definition }: NewFlow): JournalRow<'definitions'> => ({
  hash: definition.hash,
  json: definition.json,
  version: definition.version,
  is_data: definition.isData,
})

const toFlowRow = (flow: NewFlow): JournalRow<'flows'> => ({
  id: flow.id,
  thread_id: flow.threadId,
  user_id: flow.userId,
  name: flow.name,
  description: flow.description,
  flow_type: flow.flowType,
  definition_hash: flow.definition.hash,
  parent_flow_id: flow.parentFlowId,
  created_at: flow.createdAt,
  schema_version: FLOW_SCHEMA_VERSION,
  simulated: flow.simulated,
  input: flow.input,
  metadata: flow.metadata,
})

import { FLOW_SCHEMA_VERSION, type FlowStart } from '../../domain/execution/flow.ts'
import type { Claim, FlowInsert, FlowOutcome, StoredFlow } from '../repository.ts'

// Changes are written out instead of being derived from the marks of `FLOW_COLUMNS`, because a loop over them takes
// three times as long (measured 2026-11). `test/repositories/columns.test.ts` compares both.

/** A new flow, with every property of a stored flow: later copies keep its shape, which makes them cheap. */
export function createStoredFlow(flow: FlowInsert): StoredFlow {
  const { schemaVersion = FLOW_SCHEMA_VERSION } = flow
  const stored: { readonly [Property in keyof Required<StoredFlow>]: StoredFlow[Property] } = {
    id: flow.id,
    threadId: flow.threadId,
    userId: flow.userId,
    name: flow.name,
    description: flow.description,
    flowType: flow.flowType,
    definition: flow.definition,
    status: 'PENDING',
    createdAt: flow.createdAt,
    startedAt: undefined,
    completedAt: undefined,
    input: flow.input,
    metadata: flow.metadata,
    attachments: flow.attachments,
    parentFlowId: flow.parentFlowId,
    newerVersion: schemaVersion > FLOW_SCHEMA_VERSION ? schemaVersion : undefined,
    ownerEpoch: 0,
    ownerId: undefined,
    result: undefined,
    error: undefined,
    runOptions: undefined,
    simulated: flow.simulated,
  }
  return stored
}

/** The flow as the claim leaves it: RUNNING under the next epoch. */
export const claimFlow = (flow: StoredFlow, claim: Claim): StoredFlow => ({
  ...flow,
  status: 'RUNNING',
  ownerEpoch: flow.ownerEpoch + 1,
  ownerId: claim.ownerId,
  startedAt: claim.startedAt,
  completedAt: undefined,
  input: claim.input ?? flow.input,
  metadata: claim.metadata ?? flow.metadata,
  attachments: claim.attachments ?? flow.attachments,
  result: undefined,
  error: undefined,
  runOptions: claim.runOptions,
})

/** The flow as its entry into the queue leaves it: RUNNING without an owner. The epoch stays. */
export const enqueueFlow = (flow: StoredFlow, start: FlowStart): StoredFlow => ({
  ...flow,
  status: 'RUNNING',
  ownerId: undefined,
  startedAt: start.startedAt,
  completedAt: undefined,
  input: start.input ?? flow.input,
  metadata: start.metadata ?? flow.metadata,
  attachments: start.attachments ?? flow.attachments,
  result: undefined,
  error: undefined,
  runOptions: start.runOptions,
})

export const finishFlow = (flow: StoredFlow, outcome: FlowOutcome): StoredFlow => ({
  ...flow,
  status: outcome.status,
  completedAt: outcome.completedAt,
  result: outcome.result,
  error: outcome.error,
  simulated: outcome.simulated,
})

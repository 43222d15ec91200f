import { SETTLED } from '../domain/flow.ts'
import { type Attempt, type StepResult, stepResultId } from '../domain/step-result.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type {
  FlowRepository,
  Journal,
  JournalEntry,
  ListFlowsQuery,
  NewFlow,
  StoredDefinition,
  StoredFlow,
  StoredUpdate,
  UpdateRepository,
} from './repository.ts'

/** All that is known of one flow. Results and updates are created with the first of them: many flows wait long for it. */
interface FlowRecord {
  flow: StoredFlow
  /** By id, in the order they were recorded. */
  results: Map<string, StepResult> | undefined
  updates: StoredUpdate[] | undefined
}

export interface MemoryFlows {
  readonly flows: FlowRepository
  readonly updates: UpdateRepository
  readonly journal: Journal
  deleteFlowsOfThread(threadId: string): void
  /** Ends the RUNNING flows of the owners that `isDead` names; answers their ids. */
  interruptFlowsOf(isDead: (ownerId: string | undefined) => boolean): string[]
}

const done = Promise.resolve()

export function createMemoryFlows({ maxFlows, now }: { readonly maxFlows: number; readonly now: () => number }): MemoryFlows {
  const records = new Map<string, FlowRecord>()
  const definitions = createDefinitionPool()
  // Both in the order in which flows came to rest, so that the oldest is found without a search.
  const settled = new Set<string>()
  const waiting = new Set<string>()

  const remove = (record: FlowRecord) => {
    records.delete(record.flow.id)
    settled.delete(record.flow.id)
    waiting.delete(record.flow.id)
    definitions.release(record.flow.definition)
  }

  const rest = (record: FlowRecord) => {
    const isSettled = SETTLED.includes(record.flow.status)
    const resting = isSettled ? settled : waiting
    resting.add(record.flow.id)
    if (resting.size <= (isSettled ? maxFlows : maxFlows * 10)) return
    const [oldestId] = resting
    const oldest = oldestId === undefined ? undefined : records.get(oldestId)
    if (oldest) remove(oldest)
  }

  const recordUnder = (entry: JournalEntry): FlowRecord | undefined => {
    const record = records.get(entry.flowId)
    return record?.flow.ownerEpoch === entry.epoch ? record : undefined
  }

  const journal: Journal = {
    createFlow: (flow) => {
      if (records.has(flow.id))
        return Promise.reject(new OrchestratorError('INTERNAL', `Expected a new flow id, found ${flow.id} in use.`))
      const record: FlowRecord = {
        flow: toStoredFlow(flow, definitions.keep(flow.definition)),
        results: undefined,
        updates: undefined,
      }
      if (flow.carried) recordResults(record, flow.carried)
      records.set(flow.id, record)
      rest(record)
      return done
    },
    claim: ({ flowId, from, ownerId, startedAt, input, metadata }) => {
      const record = records.get(flowId)
      if (!record || !from.includes(record.flow.status)) return Promise.resolve({ status: record?.flow.status })
      const { flow } = record
      const epoch = flow.ownerEpoch + 1
      record.flow = {
        ...flow,
        status: 'RUNNING',
        ownerEpoch: epoch,
        ownerId,
        startedAt,
        completedAt: undefined,
        input,
        metadata: metadata ?? flow.metadata,
        result: undefined,
        error: undefined,
      }
      settled.delete(flowId)
      waiting.delete(flowId)
      return Promise.resolve({ epoch })
    },
    append: (entry) => {
      const record = recordUnder(entry)
      if (!record) return Promise.reject(interrupted(entry))
      write(record, entry)
      return done
    },
    finish: (entry) => {
      const record = recordUnder(entry)
      if (!record) return Promise.reject(interrupted(entry))
      write(record, entry)
      const { status, completedAt, result, error, simulated } = entry.outcome
      record.flow = { ...record.flow, status, completedAt, result, error, simulated }
      rest(record)
      return done
    },
  }

  const flows: FlowRepository = {
    find: (flowId) => Promise.resolve(records.get(flowId)?.flow),
    list: async (query) => listFlows(records.values(), query),
    delete: async (flowId) => {
      const record = records.get(flowId)
      if (!record) return 'missing'
      if (record.flow.status === 'RUNNING') return 'running'
      remove(record)
      return 'deleted'
    },
    stepResults: async (flowId, options) => {
      const results = [...(records.get(flowId)?.results?.values() ?? [])]
      return options?.samples ? results : results.filter((result) => result.sample === 0)
    },
  }

  const updates: UpdateRepository = {
    read: async (flowId, afterSeq, limit) => {
      const stored = records.get(flowId)?.updates ?? []
      const start = firstAbove(stored, afterSeq)
      return stored.slice(start, start + limit)
    },
    lastSeq: async (flowId) => records.get(flowId)?.updates?.at(-1)?.seq ?? 0,
    prune: async (settledBefore) => {
      let touched = 0
      for (const flowId of settled) {
        const record = records.get(flowId)
        if (!record?.updates || !record.flow.completedAt || record.flow.completedAt >= settledBefore) continue
        record.updates = undefined
        touched++
      }
      return touched
    },
  }

  return {
    flows,
    updates,
    journal,
    deleteFlowsOfThread: (threadId) => {
      for (const record of records.values()) if (record.flow.threadId === threadId) remove(record)
    },
    interruptFlowsOf: (isDead) => {
      const ids: string[] = []
      for (const record of records.values()) {
        const { flow } = record
        if (flow.status !== 'RUNNING' || !isDead(flow.ownerId)) continue
        const timestamp = new Date(now())
        const error = new OrchestratorError('FLOW_INTERRUPTED', `The process that ran flow ${flow.id} is gone.`, {
          details: { flowId: flow.id },
        }).toJSON()
        const seq = (record.updates?.at(-1)?.seq ?? 0) + 1
        write(record, { updates: [{ seq, type: 'error', data: error, timestamp }] })
        record.flow = { ...flow, status: 'FAILED', ownerEpoch: flow.ownerEpoch + 1, completedAt: timestamp, error }
        rest(record)
        ids.push(flow.id)
      }
      return ids
    },
  }
}

function write(record: FlowRecord, { results, updates }: Pick<JournalEntry, 'results' | 'updates'>) {
  if (results) recordResults(record, results)
  if (!updates) return
  record.updates ??= []
  for (const update of updates) record.updates.push(update)
}

function recordResults(record: FlowRecord, results: readonly StepResult[]) {
  record.results ??= new Map()
  const flowId = record.flow.id
  for (const result of results) {
    const own = result.flowId === flowId ? result : { ...result, flowId, id: stepResultId(flowId, result) }
    const earlier = record.results.get(own.id)
    if (earlier?.status === 'SUCCESS') continue
    if (earlier) record.results.delete(own.id)
    record.results.set(own.id, earlier ? { ...own, attempts: mergeAttempts(earlier.attempts, own.attempts) } : own)
  }
}

/** A ledger only grows: what a former run of the step paid stays. */
function mergeAttempts(earlier: readonly Attempt[], later: readonly Attempt[]): readonly Attempt[] {
  const known = new Set(earlier.map((attempt) => attempt.number))
  return [...earlier, ...later.filter((attempt) => !known.has(attempt.number))].sort((a, b) => a.number - b.number)
}

const interrupted = ({ flowId, epoch }: JournalEntry) =>
  new OrchestratorError('FLOW_INTERRUPTED', `Flow ${flowId} is no longer owned under epoch ${epoch}.`, {
    details: { flowId, epoch },
  })

function toStoredFlow(flow: NewFlow, definition: StoredDefinition): StoredFlow {
  const { id, threadId, userId, name, description, flowType, createdAt, input, metadata, parentFlowId, simulated } = flow
  return {
    id,
    threadId,
    userId,
    name,
    description,
    flowType,
    definition,
    status: 'PENDING',
    createdAt,
    input,
    metadata,
    parentFlowId,
    ownerEpoch: 0,
    simulated,
  }
}

/** Keeps one definition per content, as long as a flow has it. */
function createDefinitionPool() {
  const pool = new Map<string, { readonly definition: StoredDefinition; flows: number }>()
  return {
    keep(definition: StoredDefinition): StoredDefinition {
      const kept = pool.get(definition.hash)
      if (!kept) pool.set(definition.hash, { definition, flows: 1 })
      else kept.flows++
      return kept?.definition ?? definition
    },
    release({ hash }: StoredDefinition) {
      const kept = pool.get(hash)
      if (kept && --kept.flows === 0) pool.delete(hash)
    },
  }
}

function listFlows(records: Iterable<FlowRecord>, { threadId, status, type, limit, offset, sortBy, sortOrder }: ListFlowsQuery) {
  const found: StoredFlow[] = []
  for (const { flow } of records) {
    if (flow.threadId === threadId && (!status || flow.status === status) && (!type || flow.flowType === type)) found.push(flow)
  }
  const direction = sortOrder === 'ASC' ? 1 : -1
  found.sort((a, b) => direction * (compare(a[sortBy], b[sortBy]) || compare(a.id, b.id)))
  return found.slice(offset, offset + limit)
}

/** As Postgres orders: what is absent comes after everything else. */
function compare(a: Date | string | undefined, b: Date | string | undefined): number {
  if (a === undefined || b === undefined) return Number(a === undefined) - Number(b === undefined)
  return a < b ? -1 : a > b ? 1 : 0
}

function firstAbove(updates: readonly StoredUpdate[], seq: number): number {
  let low = 0
  let high = updates.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((updates[middle]?.seq ?? 0) > seq) high = middle
    else low = middle + 1
  }
  return low
}

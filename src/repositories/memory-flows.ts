import { SETTLED } from '../domain/flow.ts'
import { type Attempt, type StepResult, stepResultId } from '../domain/step-result.ts'
import { threadNotFound } from '../domain/thread-access.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { createFlowRecords, type FlowRecord, type FlowRecordsOptions, type FlowRow } from './memory-records.ts'
import type {
  FlowRepository,
  Journal,
  JournalEntry,
  ListFlowsQuery,
  NewFlow,
  StoredFlow,
  StoredUpdate,
  UpdateRepository,
} from './repository.ts'

export interface MemoryFlows {
  readonly flows: FlowRepository
  readonly updates: UpdateRepository
  readonly journal: Journal
  deleteFlowsOfThread(threadId: string): void
  /** Ends the RUNNING flows of the owners that `isDead` names; answers their ids. */
  interruptFlowsOf(isDead: (ownerId: string | undefined) => boolean): string[]
}

const done = Promise.resolve()

export interface MemoryFlowsOptions extends FlowRecordsOptions {
  readonly now: () => number
  hasThread(threadId: string): boolean
}

export function createMemoryFlows({ now, hasThread, ...options }: MemoryFlowsOptions): MemoryFlows {
  const records = createFlowRecords(options)

  const recordUnder = (entry: JournalEntry): FlowRecord | undefined => {
    const record = records.take(entry.flowId)
    return record?.flow.ownerEpoch === entry.epoch ? record : undefined
  }

  const journal: Journal = {
    createFlow: (flow) => {
      if (!hasThread(flow.threadId)) return Promise.reject(threadNotFound(flow.threadId))
      if (records.status(flow.id)) {
        return Promise.reject(new OrchestratorError('INTERNAL', `Expected a new flow id, found ${flow.id} in use.`))
      }
      const record = records.add(toStoredFlow(flow))
      if (flow.carried) recordResults(record, flow.carried)
      records.rest(record)
      return done
    },
    claim: ({ flowId, from, ownerId, startedAt, input, metadata, runOptions }) => {
      const status = records.status(flowId)
      const record = status && from.includes(status) ? records.take(flowId) : undefined
      if (!record) return Promise.resolve({ status })
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
        runOptions,
      }
      records.wake(flowId)
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
      records.rest(record)
      return done
    },
  }

  const flows: FlowRepository = {
    find: (flowId) => Promise.resolve(records.read(flowId)?.flow),
    list: async (query) => selectFlowIds(records.rows(), query).flatMap((flowId) => records.read(flowId)?.flow ?? []),
    delete: async (flowId) => {
      const status = records.status(flowId)
      if (!status) return 'missing'
      if (status === 'RUNNING') return 'running'
      records.remove(flowId)
      return 'deleted'
    },
    stepResults: async (flowId, options) => {
      const results = [...(records.read(flowId)?.results?.values() ?? [])]
      return options?.samples ? results : results.filter((result) => result.sample === 0)
    },
  }

  const updates: UpdateRepository = {
    read: async (flowId, afterSeq, limit) => {
      const stored = records.read(flowId)?.updates ?? []
      const start = firstAbove(stored, afterSeq)
      return stored.slice(start, start + limit)
    },
    lastSeq: async (flowId) => records.read(flowId)?.updates?.at(-1)?.seq ?? 0,
    prune: async (settledBefore) => {
      let touched = 0
      for (const { id, status, completedAtMs, hasUpdates } of [...records.rows()]) {
        const isOld = completedAtMs !== undefined && completedAtMs < settledBefore.getTime()
        if (!isOld || !hasUpdates || !SETTLED.includes(status)) continue
        records.forgetUpdates(id)
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
      for (const row of [...records.rows()]) if (row.threadId === threadId) records.remove(row.id)
    },
    interruptFlowsOf: (isDead) => {
      const ids: string[] = []
      for (const record of [...records.running()]) {
        const { flow } = record
        if (!isDead(flow.ownerId)) continue
        const timestamp = new Date(now())
        const error = new OrchestratorError('FLOW_INTERRUPTED', `The process that ran flow ${flow.id} is gone.`, {
          details: { flowId: flow.id },
        }).toJSON()
        const seq = (record.updates?.at(-1)?.seq ?? 0) + 1
        write(record, { updates: [{ seq, type: 'error', data: error, timestamp }] })
        record.flow = { ...flow, status: 'FAILED', ownerEpoch: flow.ownerEpoch + 1, completedAt: timestamp, error }
        records.rest(record)
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

/** Has every key from the start, also those that have no value yet: later copies keep its shape, which makes them cheap. */
function toStoredFlow(flow: NewFlow): StoredFlow {
  const { id, threadId, userId, name, description, flowType, definition, createdAt, input, metadata, parentFlowId, simulated } =
    flow
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
    startedAt: undefined,
    completedAt: undefined,
    input,
    metadata,
    parentFlowId,
    ownerEpoch: 0,
    ownerId: undefined,
    result: undefined,
    error: undefined,
    runOptions: undefined,
    simulated,
  }
}

const SORT_KEYS = { name: 'name', createdAt: 'createdAtMs', completedAt: 'completedAtMs' } as const

function selectFlowIds(rows: Iterable<FlowRow>, query: ListFlowsQuery): string[] {
  const { threadId, status, type, limit, offset, sortBy, sortOrder } = query
  const found: FlowRow[] = []
  for (const row of rows) {
    if (row.threadId === threadId && (!status || row.status === status) && (!type || row.flowType === type)) found.push(row)
  }
  const direction = sortOrder === 'ASC' ? 1 : -1
  const key = SORT_KEYS[sortBy]
  found.sort((a, b) => absentLast(a[key], b[key]) || direction * (compare(a[key], b[key]) || compare(a.id, b.id)))
  return found.slice(offset, offset + limit).map((row) => row.id)
}

type SortValue = number | string | undefined

const absentLast = (a: SortValue, b: SortValue): number => Number(a === undefined) - Number(b === undefined)

function compare(a: SortValue, b: SortValue): number {
  if (a === undefined || b === undefined) return 0
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

import type { ClaimRefusal, FlowStart } from '../../domain/execution/flow.ts'
import type { Message } from '../../domain/users/thread.ts'
import { threadNotFound } from '../../domain/users/thread.ts'
import { SETTLED } from '../../domain/vocabulary.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type {
  ClaimedDelivery,
  FlowRepository,
  Journal,
  JournalEntry,
  NewDelivery,
  QueueRepository,
  StoredUpdate,
  UpdateRepository,
  UsageRepository,
  WaitRepository,
} from '../repository.ts'
import { claimFlow, createStoredFlow, enqueueFlow, finishFlow } from './flow-changes.ts'
import { byStepAndNumber, recordResults, writeEntry } from './flow-entries.ts'
import type { OpenFlow } from './flow-head.ts'
import { newestOf, selectFlowIds, selectNames } from './flow-lists.ts'
import { createMemoryClaims } from './queue/claims.ts'
import { createMemoryQueue, type FindDead } from './queue/queue.ts'
import { createMemoryWaits, type MemoryWaitsDeps } from './queue/waits.ts'
import { createFlowRecords, type FlowRecordsOptions } from './records.ts'
import { createMemoryUsage } from './usage.ts'

export interface MemoryFlows {
  readonly flows: FlowRepository
  readonly updates: UpdateRepository
  readonly journal: Journal
  readonly usage: UsageRepository
  /** Facts of a flow for its webhooks; undefined for an unknown one. */
  namesOf(flowId: string): ClaimedDelivery['flow']
  readonly waits: WaitRepository
  /** Takes the owners that are dead from `OwnerRepository`. */
  readonly queue: (findDead: FindDead) => QueueRepository
  deleteFlowsOfThread(threadId: string): void
  /** Interrupts the RUNNING flows of the owners for which `isDead` is true, and returns their ids. */
  interruptFlowsOf(isDead: (ownerId: string | undefined) => boolean, deliverTo: readonly string[]): string[]
}

const done = Promise.resolve()

export interface MemoryFlowsOptions extends FlowRecordsOptions {
  readonly now: () => number
  hasThread(threadId: string): boolean
  addMessages(messages: readonly Message[]): void
  addDeliveries(flowId: string, deliveries: readonly NewDelivery[]): void
  readonly rightsOf: MemoryWaitsDeps['rightsOf']
}

export function createMemoryFlows({
  now,
  hasThread,
  addMessages,
  addDeliveries,
  rightsOf,
  ...options
}: MemoryFlowsOptions): MemoryFlows {
  const records = createFlowRecords(options)
  const claims = createMemoryClaims(now)
  const waits = createMemoryWaits({ claims, rightsOf })

  const checkOutUnder = (entry: JournalEntry): OpenFlow | undefined => {
    const record = records.checkOut(entry.flowId)
    return record?.flow.ownerEpoch === entry.epoch ? record : undefined
  }

  const checkOutToStart = ({ flowId, from, epoch }: FlowStart): OpenFlow | ClaimRefusal => {
    const status = records.status(flowId)
    const known = status && records.read(flowId)?.flow
    const hasChanged = known && epoch !== undefined && known.ownerEpoch !== epoch && ({ hasChanged: true } as const)
    const record = status && !hasChanged && from.includes(status) ? records.checkOut(flowId) : undefined
    if (!record) return { status, ...hasChanged }
    const { newerVersion } = record.flow
    return newerVersion === undefined ? record : { status, newerVersion }
  }

  const journal: Journal = {
    createFlow: (flow) => {
      if (!hasThread(flow.threadId)) return Promise.reject(threadNotFound(flow.threadId))
      if (records.status(flow.id)) {
        return Promise.reject(new OrchestratorError('INTERNAL', `Expected a new flow id, found ${flow.id} in use.`))
      }
      const record = records.add(createStoredFlow(flow))
      if (flow.carried) recordResults(record, flow.carried)
      records.markSettled(record)
      return done
    },
    claim: (claim) => {
      const { flowId } = claim
      const record = checkOutToStart(claim)
      if ('status' in record) return Promise.resolve(record)
      record.flow = claimFlow(record.flow, claim)
      records.markRunning(flowId)
      claims.own(record.flow, claim)
      return Promise.resolve({ epoch: record.flow.ownerEpoch })
    },
    enqueue: (start) => {
      const { flowId } = start
      const record = checkOutToStart(start)
      if ('status' in record) return Promise.resolve(record)
      record.flow = enqueueFlow(record.flow, start)
      records.markRunning(flowId)
      claims.queue(record.flow, start.requires)
      return Promise.resolve({ epoch: record.flow.ownerEpoch })
    },
    append: (entry) => {
      const record = checkOutUnder(entry)
      if (!record) return Promise.reject(interrupted(entry))
      writeEntry(record, entry)
      if (entry.messages) addMessages(entry.messages)
      if (entry.deliveries) addDeliveries(entry.flowId, entry.deliveries)
      if (entry.waits) waits.write(entry.waits)
      return done
    },
    finish: (entry) => {
      const record = checkOutUnder(entry)
      if (!record) return Promise.reject(interrupted(entry))
      writeEntry(record, entry)
      if (entry.messages) addMessages(entry.messages)
      if (entry.deliveries) addDeliveries(entry.flowId, entry.deliveries)
      if (entry.waits) waits.write(entry.waits)
      record.flow = finishFlow(record.flow, entry.outcome)
      if (entry.outcome.status === 'PAUSED') claims.pause(record.flow, entry.outcome.wakeAt)
      else claims.end(entry.flowId)
      records.markSettled(record)
      return done
    },
  }

  const flows: FlowRepository = {
    find: (flowId) => Promise.resolve(records.read(flowId)?.flow),
    list: async (query) =>
      selectFlowIds(records.listEntries(), query).flatMap((flowId) => {
        const head = records.readHead(flowId)
        return head ? [{ ...head.flow, definition: head.definition }] : []
      }),
    findNewestByName: async (userId, name, notInThreads = []) => {
      const newest = newestOf(
        records.listEntries(),
        (row) => row.userId === userId && row.name === name && !notInThreads.includes(row.threadId),
      )
      return newest && records.read(newest.id)?.flow
    },
    namesOf: async (userId, limit) => selectNames(records.listEntries(), userId, limit),
    findInterrupted: async (fromId, limit) => {
      const failed = Array.from(records.listEntries()).filter(({ id, status }) => id >= fromId && status === 'FAILED')
      const interrupted = failed.filter(({ id }) => {
        const flow = records.read(id)?.flow
        const mayResume = flow?.runOptions !== undefined && flow.runOptions.resumeAfterCrash === undefined
        return mayResume && flow.error?.code === 'FLOW_INTERRUPTED'
      })
      return interrupted
        .map(({ id }) => id)
        .sort()
        .slice(0, limit)
    },
    delete: async (flowId) => {
      const status = records.status(flowId)
      if (!status) return 'missing'
      if (status === 'RUNNING') return 'running'
      records.remove(flowId)
      claims.end(flowId)
      waits.remove(flowId)
      return 'deleted'
    },
    stepResults: async (flowId, options) => {
      const results = [...(records.read(flowId)?.results?.values() ?? [])]
      const { samples = false, paths } = options ?? {}
      return results.filter(({ sample, path }) => (samples || sample === 0) && (!paths || paths.includes(path)))
    },
    intents: async (flowId) => records.read(flowId)?.intents ?? [],
    turns: async (flowId) => (records.read(flowId)?.turns ?? []).map((row) => ({ ...row, attempts: [] })).sort(byStepAndNumber),
    stepStates: async (flowIds) => new Map(flowIds.map((flowId) => [flowId, records.readHead(flowId)?.states ?? []])),
  }

  const updates: UpdateRepository = {
    read: async (flowId, afterSeq, limit) => {
      const stored = records.read(flowId)?.updates ?? []
      const start = firstAbove(stored, afterSeq)
      return stored.slice(start, start + limit)
    },
    lastSeq: async (flowId) => records.read(flowId)?.updates?.at(-1)?.seq ?? 0,
    heads: async (flowIds) =>
      new Map(
        flowIds.flatMap((flowId) => {
          const record = records.read(flowId)
          return record ? [[flowId, { status: record.flow.status, lastSeq: record.updates?.at(-1)?.seq ?? 0 }]] : []
        }),
      ),
    // Ended flows are compressed in pages, which makes their text chunks small.
    compact: async () => {},
    prune: async (settledBefore) => {
      let touched = 0
      for (const { id, status, completedAtMs, hasUpdates } of [...records.listEntries()]) {
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
    usage: createMemoryUsage(records),
    namesOf: (flowId) => {
      const head = records.readHead(flowId)
      return head && { threadId: head.flow.threadId, userId: head.flow.userId, name: head.flow.name }
    },
    waits: waits.repository,
    queue: (findDead) => createMemoryQueue({ records, claims, findDead }),
    deleteFlowsOfThread: (threadId) => {
      for (const row of [...records.listEntries()]) {
        if (row.threadId !== threadId) continue
        records.remove(row.id)
        claims.end(row.id)
        waits.remove(row.id)
      }
    },
    interruptFlowsOf: (isDead, deliverTo) => {
      const ids: string[] = []
      for (const record of [...records.running()]) {
        const { flow } = record
        if (claims.isQueued(flow.id) || !isDead(flow.ownerId)) continue
        const timestamp = new Date(now())
        const error = new OrchestratorError('FLOW_INTERRUPTED', `The process that ran flow ${flow.id} is gone.`, {
          details: { flowId: flow.id },
        }).toJSON()
        const seq = (record.updates?.at(-1)?.seq ?? 0) + 1
        writeEntry(record, { updates: [{ seq, type: 'error', data: error, timestamp }] })
        record.flow = { ...flow, status: 'FAILED', ownerEpoch: flow.ownerEpoch + 1, completedAt: timestamp, error }
        records.markSettled(record)
        const facts = { status: 'FAILED', errorCode: error.code }
        addDeliveries(
          flow.id,
          deliverTo.map((webhookId) => ({ webhookId, seq, type: 'error', timestamp, facts })),
        )
        claims.end(flow.id)
        ids.push(flow.id)
      }
      return ids
    },
  }
}

const interrupted = ({ flowId, epoch }: JournalEntry) =>
  new OrchestratorError('FLOW_INTERRUPTED', `Flow ${flowId} is no longer owned under epoch ${epoch}.`, {
    details: { flowId, epoch },
  })

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

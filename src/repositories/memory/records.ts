import { SETTLED } from '../../domain/vocabulary.ts'
import type { StoredDefinition, StoredFlow } from '../repository.ts'
import { type OpenFlow, toFlowHead } from './flow-head.ts'
import { createPage, type FlowContents, type PackedFlowHead, type Page } from './pages.ts'

/** A settled flow in a page, with the properties by which lists and retention select it. */
interface PackedFlow {
  readonly id: string
  readonly threadId: string
  readonly userId: string
  readonly status: StoredFlow['status']
  readonly flowType: StoredFlow['flowType']
  readonly name: string
  readonly createdAtMs: number
  readonly completedAtMs: number | undefined
  hasUpdates: boolean
  readonly definition: StoredDefinition
  readonly page: Page<FlowContents>
  readonly heads: Page<PackedFlowHead>
  readonly position: number
}

/** The properties by which lists sort and filter. */
export interface FlowListEntry
  extends Pick<PackedFlow, 'id' | 'threadId' | 'userId' | 'status' | 'flowType' | 'name' | 'createdAtMs' | 'completedAtMs'> {
  readonly hasUpdates: boolean
}

export interface FlowRecordsOptions {
  /** Settled flows that are kept. */
  readonly maxFlows: number
  /** Flows that are kept while they wait to be executed or resumed. */
  readonly maxWaitingFlows: number
  /** Settled flows that stay uncompressed before they are packed. */
  readonly recentFlows: number
}

const PAGE_FLOWS = 64
// A page is packed synchronously, which blocks the event loop.
const PAGE_CHARACTERS = 500_000

export type FlowRecords = ReturnType<typeof createFlowRecords>

/** All flows of the process: settled flows are packed after a while, and the oldest of them are dropped. */
export function createFlowRecords({ maxFlows, maxWaitingFlows, recentFlows }: FlowRecordsOptions) {
  const open = new Map<string, OpenFlow>()
  const definitions = createDefinitionPool()
  // All three are in the order in which flows stopped running, so that the oldest is found without a search.
  const packed = new Map<string, PackedFlow>()
  const unpacked = new Set<string>()
  const waiting = new Set<string>()

  const read = (flowId: string): OpenFlow | undefined => {
    const record = open.get(flowId)
    if (record) return record
    const packedFlow = packed.get(flowId)
    const contents = packedFlow?.page.read(packedFlow.position)
    return packedFlow && contents && toRecord(contents, packedFlow)
  }

  const remove = (flowId: string) => {
    const definition = (open.get(flowId)?.flow ?? packed.get(flowId))?.definition
    if (definition) definitions.release(definition)
    for (const flows of [open, packed, unpacked, waiting]) flows.delete(flowId)
  }

  const dropOldest = (flows: Iterable<string>) => {
    for (const flowId of flows) return remove(flowId)
  }

  const packOldest = () => {
    const records: OpenFlow[] = []
    let characters = 0
    for (const flowId of unpacked) {
      const record = open.get(flowId)
      if (!record || records.length === PAGE_FLOWS || characters > PAGE_CHARACTERS) break
      records.push(record)
      for (const result of record.results?.values() ?? []) characters += result.output?.length ?? 0
    }
    const page = createPage(records.map(toContents))
    const heads = createPage(records.map(toFlowHead))
    for (const [position, record] of records.entries()) {
      unpacked.delete(record.flow.id)
      open.delete(record.flow.id)
      packed.set(record.flow.id, toPackedFlow(record, page, heads, position))
    }
  }

  return {
    /** For reading only: changes to the record of a packed flow are lost. */
    read,
    /** The part of the flow that lists show. */
    readHead(flowId: string): (PackedFlowHead & { readonly definition: StoredDefinition }) | undefined {
      const record = open.get(flowId)
      if (record) return { ...toFlowHead(record), definition: record.flow.definition }
      const packedFlow = packed.get(flowId)
      const head = packedFlow?.heads.read(packedFlow.position)
      return packedFlow && head && { ...head, definition: packedFlow.definition }
    },
    /** For writing: unpacks the flow. */
    checkOut(flowId: string): OpenFlow | undefined {
      const record = read(flowId)
      if (record && packed.delete(flowId)) {
        open.set(flowId, record)
        unpacked.add(flowId)
      }
      return record
    },
    status: (flowId: string): StoredFlow['status'] | undefined => (open.get(flowId)?.flow ?? packed.get(flowId))?.status,
    add(flow: StoredFlow): OpenFlow {
      const definition = definitions.keep(flow.definition)
      const record = {
        flow: definition === flow.definition ? flow : { ...flow, definition },
        results: undefined,
        updates: undefined,
        intents: undefined,
        turns: undefined,
      }
      open.set(flow.id, record)
      return record
    },
    remove,
    /** Marks the flow as not running: it may be packed once it is settled, and the oldest flows may be dropped. */
    markSettled({ flow }: OpenFlow) {
      if (!SETTLED.includes(flow.status)) {
        waiting.add(flow.id)
        if (waiting.size > maxWaitingFlows) dropOldest(waiting)
        return
      }
      unpacked.add(flow.id)
      if (packed.size + unpacked.size > maxFlows) dropOldest(packed.size > 0 ? packed.keys() : unpacked)
      if (unpacked.size >= recentFlows + (recentFlows === 0 ? 1 : PAGE_FLOWS)) packOldest()
    },
    /** Marks the flow as running: it is neither packed nor dropped. */
    markRunning(flowId: string) {
      unpacked.delete(flowId)
      waiting.delete(flowId)
    },
    forgetUpdates(flowId: string) {
      const kept = open.get(flowId) ?? packed.get(flowId)
      if (kept && 'page' in kept) kept.hasUpdates = false
      else if (kept) kept.updates = undefined
    },
    *running(): Generator<OpenFlow> {
      for (const record of open.values()) if (record.flow.status === 'RUNNING') yield record
    },
    *listEntries(): Generator<FlowListEntry> {
      for (const record of open.values()) yield toListEntry(record)
      yield* packed.values()
    },
  }
}

const toListEntry = ({ flow, updates }: OpenFlow): FlowListEntry => ({
  id: flow.id,
  threadId: flow.threadId,
  userId: flow.userId,
  status: flow.status,
  flowType: flow.flowType,
  name: flow.name,
  createdAtMs: flow.createdAt.getTime(),
  completedAtMs: flow.completedAt?.getTime(),
  hasUpdates: updates !== undefined,
})

// The properties are listed, because V8 keeps the last keys of an object with a spread in a second object.
const toPackedFlow = (
  { flow, updates }: OpenFlow,
  page: Page<FlowContents>,
  heads: Page<PackedFlowHead>,
  position: number,
): PackedFlow => ({
  id: flow.id,
  threadId: flow.threadId,
  userId: flow.userId,
  status: flow.status,
  flowType: flow.flowType,
  name: flow.name,
  createdAtMs: flow.createdAt.getTime(),
  completedAtMs: flow.completedAt?.getTime(),
  hasUpdates: updates !== undefined,
  definition: flow.definition,
  page,
  heads,
  position,
})

function toContents({ flow, results, updates, intents, turns }: OpenFlow): FlowContents {
  return {
    flow: { ...flow, definition: undefined },
    results: results ? [...results.values()] : [],
    updates: updates ?? [],
    intents,
    turns,
  }
}

function toRecord({ flow, results, updates, intents, turns }: FlowContents, { definition, hasUpdates }: PackedFlow): OpenFlow {
  return {
    flow: { ...flow, definition },
    results: results.length > 0 ? new Map(results.map((result) => [result.id, result])) : undefined,
    updates: hasUpdates ? [...updates] : undefined,
    intents: intents && [...intents],
    turns: turns && [...turns],
  }
}

/** Keeps one definition per content, for as long as a flow has it. */
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

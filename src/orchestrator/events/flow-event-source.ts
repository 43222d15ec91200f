import type { PolyphonyEvent } from '../../domain/event.ts'
import type { FlowUpdate } from '../../domain/execution/flow-update.ts'
import type { NotificationBus } from '../../notifications/notification.ts'
import type { FlowRepository, StoredUpdate, UpdateRepository } from '../../repositories/repository.ts'
import { toStoredUpdate } from '../updates/update-log.ts'
import { toFlowEvent } from './flow-events.ts'

export interface FlowEventSourceDeps {
  readonly updates: Pick<UpdateRepository, 'read' | 'lastSeq'>
  readonly flows: Pick<FlowRepository, 'find'>
  readonly bus: Pick<NotificationBus, 'publish' | 'subscribe' | 'mayHaveSubscribersElsewhere'>
  readonly deliver: (event: PolyphonyEvent) => void
}

const TOPIC = 'flow_events'
const PAGE = 512
/** Flows of which the user and the last delivered update are remembered, the newest ones. */
const MAX_FLOWS = 10_000

/** What was delivered of a flow. */
interface KnownFlow {
  readonly userId?: string
  lastSeq: number
}

/**
 * Turns updates of flows into events while a handler wants them. Those of this process are in memory; those of other
 * processes are read from where they are stored, after a message that names the flow. Without a handler nothing is
 * read, and nothing is sent once it is known that no other process has one.
 */
export function createFlowEventSource({ updates, flows, bus, deliver }: FlowEventSourceDeps) {
  const known = new Map<string, KnownFlow>()
  let endSubscription: (() => void) | undefined
  let work: Promise<void> = Promise.resolve()

  const flowOf = async (flowId: string, afterSeq: number): Promise<KnownFlow> => {
    const found = known.get(flowId)
    known.delete(flowId)
    const owner = found ?? (await ownerOf(flowId))
    const flow: KnownFlow = found ?? { ...owner, lastSeq: afterSeq }
    // A user that could not be read is read again with the next update.
    if (owner) known.set(flowId, flow)
    for (const oldest of known.keys()) {
      if (known.size <= MAX_FLOWS) break
      known.delete(oldest)
    }
    return flow
  }
  /** Without its user an event reaches operators only. */
  const ownerOf = async (flowId: string): Promise<{ readonly userId: string } | undefined> => {
    const flow = await flows.find(flowId).catch(() => undefined)
    return flow && { userId: flow.userId }
  }
  const pass = (flowId: string, flow: KnownFlow, stored: readonly StoredUpdate[]) => {
    for (const update of stored) {
      if (update.seq <= flow.lastSeq) continue
      flow.lastSeq = update.seq
      const event = toFlowEvent(flowId, update, flow.userId)
      if (event) deliver(event)
    }
  }
  /** One after another, so that the events of a flow stay in order. */
  const enqueue = (task: () => Promise<void>) => {
    work = work.then(task).catch(() => {})
  }
  const readFrom = async (flowId: string, afterSeq: number) => {
    const flow = await flowOf(flowId, afterSeq)
    for (let isLast = false; !isLast && endSubscription; ) {
      const page = await updates.read(flowId, flow.lastSeq, PAGE)
      pass(flowId, flow, page)
      isLast = page.length < PAGE
    }
  }

  return {
    /** Called with updates that this process has stored. Must be cheap. */
    stored(flowId: string, given: readonly FlowUpdate[]): void {
      const isSent = bus.mayHaveSubscribersElsewhere(TOPIC)
      if (!endSubscription && !isSent) return
      const meant = given.filter(({ type }) => type !== 'step_progress')
      const [first] = meant
      if (!first) return
      if (isSent) bus.publish(TOPIC, `${flowId} ${first.seq - 1}`)
      if (!endSubscription) return
      const stored = meant.map(toStoredUpdate)
      enqueue(async () => pass(flowId, await flowOf(flowId, first.seq - 1), stored))
    },
    /** Called after a flow was ended that no process drives; its last update is stored with its end. */
    ended(flowId: string): void {
      const isSent = bus.mayHaveSubscribersElsewhere(TOPIC)
      if (!endSubscription && !isSent) return
      enqueue(async () => {
        const lastSeq = await updates.lastSeq(flowId)
        if (lastSeq === 0) return
        if (isSent) bus.publish(TOPIC, `${flowId} ${lastSeq - 1}`)
        if (endSubscription) await readFrom(flowId, lastSeq - 1)
      })
    },
    start(): void {
      endSubscription ??= bus.subscribe(TOPIC, {
        onMessage(payload) {
          const [flowId, afterSeq] = payload.split(' ')
          if (flowId) enqueue(() => readFrom(flowId, Number(afterSeq)))
        },
      })
    },
    stop(): void {
      endSubscription?.()
      endSubscription = undefined
      known.clear()
    },
  }
}

export type FlowEventSource = ReturnType<typeof createFlowEventSource>

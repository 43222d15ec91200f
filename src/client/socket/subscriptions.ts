import { onAbort } from '../../async/on-abort.ts'
import type { ClientFrameInput } from '../../protocol/socket.ts'
import type { WireUpdate } from '../../protocol/update.ts'
import { inputError, type PolyphonyError } from '../polyphony-error.ts'
import { canHeal } from '../stream-flow.ts'
import { createUpdateQueue, type UpdateQueue } from './update-queue.ts'

export interface ClientSubscriptionsDeps {
  readonly nextId: () => string
  /** Sends to the server; does nothing while there is no connection. */
  readonly tell: (frame: ClientFrameInput) => void
  readonly isOpen: () => boolean
  /** Refusals in a row, of those that may heal, after which a loop throws the last of them. */
  readonly maxFailures: number
  readonly pause: (failures: number, error: PolyphonyError) => Promise<void>
}

/** What the server does for one flow on this connection, and who wants it. */
interface Slot {
  readonly flowId: string
  /**
   * `off`: the server sends nothing. `on`: it was asked to. `stopping`: it was asked to stop and may still send; what arrives now is dropped, because
   * after a new subscription nobody could tell it from what belongs to that one. `waiting`: it refused for now.
   */
  state: 'off' | 'on' | 'stopping' | 'waiting'
  requestId: string
  queue: UpdateQueue | undefined
  failures: number
}

/**
 * The flows that one socket follows. A browser's WebSocket cannot be told to read slower: a loop that falls behind by a full queue is unsubscribed,
 * and subscribed again from where it stands when it has taken all.
 */
export function createClientSubscriptions({ nextId, tell, isOpen, maxFailures, pause }: ClientSubscriptionsDeps) {
  const slots = new Map<string, Slot>()

  /** Asks the server for what is wanted, one step at a time. */
  function settle(slot: Slot): void {
    const { flowId, state, queue } = slot
    const isWanted = queue !== undefined && !queue.isFull
    if (queue === undefined && (state === 'off' || state === 'waiting')) slots.delete(flowId)
    else if (!isOpen()) return
    else if (state === 'off' && isWanted)
      ask(slot, 'on', { type: 'subscribe', requestId: nextId(), flowId, afterSeq: queue.lastSeq })
    else if (state === 'on' && !isWanted) ask(slot, 'stopping', { type: 'unsubscribe', requestId: nextId(), flowId })
  }

  function ask(slot: Slot, state: Slot['state'], frame: ClientFrameInput & { requestId: string }): void {
    slot.state = state
    slot.requestId = frame.requestId
    tell(frame)
  }

  function release(slot: Slot, queue: UpdateQueue): void {
    if (slot.queue !== queue) return
    slot.queue = undefined
    settle(slot)
  }

  function finish(slot: Slot, error?: PolyphonyError): void {
    slot.state = 'off'
    const { queue } = slot
    slot.queue = undefined
    queue?.end(error)
    settle(slot)
  }

  function slotOf(flowId: string): Slot {
    const slot = slots.get(flowId) ?? { flowId, state: 'off', requestId: '', queue: undefined, failures: 0 }
    if (slot.queue) throw inputError(`flow "${flowId}" is followed on this socket already`)
    slots.set(flowId, slot)
    return slot
  }

  async function* take(slot: Slot, queue: UpdateQueue, signal: AbortSignal): AsyncGenerator<WireUpdate, void> {
    const leave = () => {
      queue.clear()
      release(slot, queue)
    }
    const unlink = onAbort(signal, leave)
    try {
      if (signal.aborted) return
      for (let update = await queue.take(); update !== undefined; update = await queue.take()) {
        yield update
        // Full once and empty now: go on from here.
        if (slot.queue === queue) settle(slot)
      }
    } finally {
      unlink()
      release(slot, queue)
    }
  }

  return {
    get size() {
      return slots.size
    },
    follow(flowId: string, afterSeq: number, signal: AbortSignal): AsyncGenerator<WireUpdate, void> {
      const slot = slotOf(flowId)
      const queue = createUpdateQueue(afterSeq)
      slot.queue = queue
      slot.failures = 0
      settle(slot)
      return take(slot, queue, signal)
    },
    opened(): void {
      for (const slot of [...slots.values()]) settle(slot)
    },
    lost(): void {
      for (const slot of [...slots.values()]) {
        slot.state = 'off'
        settle(slot)
      }
    },
    receive(update: WireUpdate, characters: number): void {
      const slot = slots.get(update.flowId)
      if (slot?.state !== 'on') return
      slot.failures = 0
      slot.queue?.push(update, characters)
      settle(slot)
    },
    unsubscribed(flowId: string): void {
      const slot = slots.get(flowId)
      if (slot?.state !== 'stopping') return
      slot.state = 'off'
      settle(slot)
    },
    ended(flowId: string): void {
      const slot = slots.get(flowId)
      if (slot?.state === 'on') finish(slot)
    },
    /** A subscription that was not made, or that the server ended. */
    refused(requestId: string | undefined, flowId: string | undefined, error: PolyphonyError): void {
      const slot = slots.get(flowId ?? '') ?? [...slots.values()].find((candidate) => candidate.requestId === requestId)
      if (!slot || (requestId !== undefined && requestId !== slot.requestId)) return
      if (slot.state === 'stopping') {
        slot.state = 'off'
        settle(slot)
      } else if (++slot.failures > maxFailures || !canHeal(error)) {
        finish(slot, error)
      } else {
        slot.state = 'waiting'
        void pause(slot.failures, error).then(() => {
          if (slot.state !== 'waiting') return
          slot.state = 'off'
          settle(slot)
        })
      }
    },
    failAll(error: PolyphonyError): void {
      for (const slot of [...slots.values()]) finish(slot, error)
    },
    /** Ends all loops quietly. */
    endAll(): void {
      for (const slot of [...slots.values()]) {
        slot.queue?.clear()
        finish(slot)
      }
    },
  }
}

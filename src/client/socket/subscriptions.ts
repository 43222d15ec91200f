import { onAbort } from '../../async/on-abort.ts'
import type { ClientFrameInput } from '../../protocol/socket.ts'
import type { WireUpdate } from '../../protocol/update.ts'
import { inputError, type PolyphonyError } from '../polyphony-error.ts'
import { isRecoverable } from '../stream-flow.ts'
import { createUpdateQueue, type UpdateQueue } from './update-queue.ts'

export interface ClientSubscriptionsDeps {
  readonly nextId: () => string
  /** Sends a frame to the server; does nothing without a connection. */
  readonly sendFrame: (frame: ClientFrameInput) => void
  readonly isOpen: () => boolean
  /** Recoverable refusals in a row after which a loop throws the last one. */
  readonly maxFailures: number
  /** Waits before the next attempt to subscribe. */
  readonly pause: (failures: number, error: PolyphonyError) => Promise<void>
}

/** The subscription to one flow: its state on the connection, and the queue of the loop that reads it. */
interface Subscription {
  readonly flowId: string
  /**
   * `off`: not subscribed. `on`: subscribed. `stopping`: unsubscribe was sent, but updates may still arrive; they are
   * dropped, because they could not be distinguished from those of a new subscription. `waiting`: refused for now.
   */
  state: 'off' | 'on' | 'stopping' | 'waiting'
  requestId: string
  queue: UpdateQueue | undefined
  failures: number
}

/**
 * The subscriptions of one socket. A browser's WebSocket has no flow control, so a loop whose queue is full is
 * unsubscribed, and subscribed again after its last update when the queue is empty.
 */
export function createClientSubscriptions({ nextId, sendFrame, isOpen, maxFailures, pause }: ClientSubscriptionsDeps) {
  const subscriptions = new Map<string, Subscription>()

  /** Sends the next frame that the loop of the subscription needs: subscribe or unsubscribe. */
  function reconcile(subscription: Subscription): void {
    const { flowId, state, queue } = subscription
    const isWanted = queue !== undefined && !queue.isFull
    if (queue === undefined && (state === 'off' || state === 'waiting')) subscriptions.delete(flowId)
    else if (!isOpen()) return
    else if (state === 'off' && isWanted)
      change(subscription, 'on', { type: 'subscribe', requestId: nextId(), flowId, afterSeq: queue.lastSeq })
    else if (state === 'on' && !isWanted) change(subscription, 'stopping', { type: 'unsubscribe', requestId: nextId(), flowId })
  }

  function change(
    subscription: Subscription,
    state: Subscription['state'],
    frame: ClientFrameInput & { requestId: string },
  ): void {
    subscription.state = state
    subscription.requestId = frame.requestId
    sendFrame(frame)
  }

  function release(subscription: Subscription, queue: UpdateQueue): void {
    if (subscription.queue !== queue) return
    subscription.queue = undefined
    reconcile(subscription)
  }

  function finish(subscription: Subscription, error?: PolyphonyError): void {
    subscription.state = 'off'
    const { queue } = subscription
    subscription.queue = undefined
    queue?.end(error)
    reconcile(subscription)
  }

  function subscriptionOf(flowId: string): Subscription {
    const subscription = subscriptions.get(flowId) ?? { flowId, state: 'off', requestId: '', queue: undefined, failures: 0 }
    if (subscription.queue) throw inputError(`flow "${flowId}" already has a loop on this socket`)
    subscriptions.set(flowId, subscription)
    return subscription
  }

  async function* consume(subscription: Subscription, queue: UpdateQueue, signal: AbortSignal): AsyncGenerator<WireUpdate, void> {
    const leave = () => {
      queue.clear()
      release(subscription, queue)
    }
    const unlink = onAbort(signal, leave)
    try {
      if (signal.aborted) return
      for (let next = await queue.take(); next !== undefined; next = await queue.take()) {
        yield next
        // If the queue was full and is empty now, this subscribes again.
        if (subscription.queue === queue) reconcile(subscription)
      }
    } finally {
      unlink()
      release(subscription, queue)
    }
  }

  return {
    get size() {
      return subscriptions.size
    },
    follow(flowId: string, afterSeq: number, signal: AbortSignal): AsyncGenerator<WireUpdate, void> {
      const subscription = subscriptionOf(flowId)
      const queue = createUpdateQueue(afterSeq)
      subscription.queue = queue
      subscription.failures = 0
      reconcile(subscription)
      return consume(subscription, queue, signal)
    },
    opened(): void {
      for (const subscription of [...subscriptions.values()]) reconcile(subscription)
    },
    lost(): void {
      for (const subscription of [...subscriptions.values()]) {
        subscription.state = 'off'
        reconcile(subscription)
      }
    },
    receive(received: WireUpdate, characters: number): void {
      const subscription = subscriptions.get(received.flowId)
      if (subscription?.state !== 'on') return
      subscription.failures = 0
      subscription.queue?.push(received, characters)
      reconcile(subscription)
    },
    unsubscribed(flowId: string): void {
      const subscription = subscriptions.get(flowId)
      if (subscription?.state !== 'stopping') return
      subscription.state = 'off'
      reconcile(subscription)
    },
    ended(flowId: string): void {
      const subscription = subscriptions.get(flowId)
      if (subscription?.state === 'on') finish(subscription)
    },
    /** The server refused a subscription or ended it. */
    refused(requestId: string | undefined, flowId: string | undefined, error: PolyphonyError): void {
      const subscription =
        subscriptions.get(flowId ?? '') ?? [...subscriptions.values()].find((candidate) => candidate.requestId === requestId)
      if (!subscription || (requestId !== undefined && requestId !== subscription.requestId)) return
      if (subscription.state === 'stopping') {
        subscription.state = 'off'
        reconcile(subscription)
      } else if (++subscription.failures > maxFailures || !isRecoverable(error)) {
        finish(subscription, error)
      } else {
        subscription.state = 'waiting'
        void pause(subscription.failures, error).then(() => {
          if (subscription.state !== 'waiting') return
          subscription.state = 'off'
          reconcile(subscription)
        })
      }
    },
    failAll(error: PolyphonyError): void {
      for (const subscription of [...subscriptions.values()]) finish(subscription, error)
    },
    /** Ends all loops without an error. */
    endAll(): void {
      for (const subscription of [...subscriptions.values()]) {
        subscription.queue?.clear()
        finish(subscription)
      }
    },
  }
}

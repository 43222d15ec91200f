import { flowNotFound } from '../../domain/execution/flow-errors.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ServerFrame } from '../../protocol/socket.ts'
import type { Caller } from '../access/caller.ts'
import type { FeedEnd } from '../streaming/flow-feeds.ts'
import type { Subscription, Subscriptions } from '../streaming/subscriptions.ts'
import type { SocketWriter } from './socket-writer.ts'

export interface SubscriptionSetDeps {
  readonly caller: Caller
  readonly subscriptions: Subscriptions
  readonly maxSubscriptions: number
  readonly writer: SocketWriter
  readonly send: (frame: ServerFrame) => void
  /** Sends the client the reason why a subscription has ended. */
  readonly refuse: (error: OrchestratorError, of: { readonly flowId: string }) => void
}

/** The subscriptions of one WebSocket, each with its own sequence number. */
export interface SubscriptionSet {
  readonly count: number
  /**
   * Subscribes to the updates of the flow after `afterSeq`, in place of an earlier subscription to it. Rejects with
   * FLOW_NOT_FOUND, and with INPUT_INVALID for one flow too many.
   */
  add(flowId: string, afterSeq: number, requestId: string | undefined): Promise<void>
  remove(flowId: string): void
  /** Ends the subscriptions to flows that the caller may no longer read. */
  recheck(): Promise<undefined>
  /** Must be called when the WebSocket has capacity again. */
  resume(): void
  /** Ends all subscriptions, and those that are being opened. */
  stop(): void
}

export function createSubscriptionSet(deps: SubscriptionSetDeps): SubscriptionSet {
  const { caller, subscriptions, maxSubscriptions, writer, send, refuse } = deps
  const open = new Map<string, Subscription>()
  let isStopped = false

  const remove = (flowId: string) => {
    open.get(flowId)?.stop()
    open.delete(flowId)
  }

  return {
    get count() {
      return open.size
    },
    async add(flowId, afterSeq, requestId) {
      if (!open.has(flowId) && open.size >= maxSubscriptions) {
        throw new OrchestratorError('INPUT_INVALID', `expected at most ${maxSubscriptions} flows on one socket`)
      }
      const end = (ended: FeedEnd, lastSeq: number) => {
        open.delete(flowId)
        if ('error' in ended) refuse(ended.error, { flowId })
        else send({ type: 'end', flowId, status: ended.status, lastSeq })
      }
      const sink = { isFull: writer.isFull, send: ({ bytes }: { readonly bytes: Buffer }) => writer.send(bytes), end }
      const subscription = await subscriptions.open(caller, flowId, afterSeq, sink)
      if (isStopped) return subscription.stop()
      remove(flowId)
      open.set(flowId, subscription)
      send({ type: 'subscribed', requestId, flowId, afterSeq })
    },
    remove,
    async recheck() {
      await Promise.all(
        [...open.values()].map(async (subscription) => {
          const { flowId } = subscription
          if ((await subscription.isAllowed()) || open.get(flowId) !== subscription) return
          remove(flowId)
          refuse(flowNotFound(flowId), { flowId })
        }),
      )
      return undefined
    },
    resume() {
      for (const subscription of open.values()) subscription.resume()
    },
    stop() {
      isStopped = true
      for (const subscription of open.values()) subscription.stop()
      open.clear()
    },
  }
}

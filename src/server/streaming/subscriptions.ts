import { createSemaphore } from '../../async/semaphore.ts'
import type { Metrics } from '../../telemetry/telemetry.ts'
import type { Caller } from '../access/caller.ts'
import type { ServerDeps } from '../server-deps.ts'
import { createFlowFeeds, type FlowFeeds } from './flow-feeds.ts'
import { createSubscriptionCursor, type SubscriptionCursor, type UpdateSink } from './subscription-cursor.ts'

export interface SubscriptionsDeps extends Pick<ServerDeps, 'orchestrator' | 'permissions' | 'config'> {
  readonly metrics: Pick<Metrics, 'subscriptions'>
}

/** One subscription of one caller to one flow. */
export interface Subscription extends SubscriptionCursor {
  readonly flowId: string
  /** Whether the caller may still read the flow. */
  isAllowed(): Promise<boolean>
}

/** All subscriptions of one server. Implemented by createServerSubscriptions. */
export interface Subscriptions {
  /**
   * Rejects with FLOW_NOT_FOUND for a flow that the caller may not read. The sink receives nothing before the next
   * turn of the event loop.
   */
  open(caller: Caller, flowId: string, afterSeq: number, sink: UpdateSink): Promise<Subscription>
  readonly feeds: FlowFeeds
  /** Ends all feeds. */
  close(): void
}

/**
 * Maximum number of concurrent reads from the database, because a thousand readers that resume together must not hold a
 * thousand pages.
 */
const MAX_CONCURRENT_READS = 16
/** Twice the interval at which processes search for the flows of dead processes. */
const RESUMED_WITHIN_MS = 10_000

export function createServerSubscriptions({ orchestrator, permissions, config, metrics }: SubscriptionsDeps): Subscriptions {
  const feeds = createFlowFeeds({
    stream: (flowId, userId, afterSeq, signal) => orchestrator.streamFlow(flowId, userId, { afterSeq, signal }),
    statusOf: (flowId) => orchestrator.getFlowStatus(flowId),
    resumedWithinMs: config.server.resumeInterrupted ? RESUMED_WITHIN_MS : 0,
  })
  const readBackLimit = createSemaphore(MAX_CONCURRENT_READS)
  let count = 0
  const changeCount = (change: number) => {
    count += change
    metrics.subscriptions(count)
  }
  return {
    feeds,
    async open({ userId }, flowId, afterSeq, sink) {
      const threadId = await orchestrator.getThreadId(flowId, userId)
      let isCounted = true
      const countDown = () => {
        if (isCounted) changeCount(-1)
        isCounted = false
      }
      changeCount(1)
      const cursor = createSubscriptionCursor({
        feed: feeds.open(flowId, userId, afterSeq),
        afterSeq,
        sink: {
          isFull: sink.isFull,
          send: sink.send,
          end(end, lastSeq) {
            countDown()
            sink.end(end, lastSeq)
          },
        },
        readBack: (after, signal) => orchestrator.streamFlow(flowId, userId, { afterSeq: after, signal }),
        readBackLimit,
      })
      return {
        flowId,
        get lastSeq() {
          return cursor.lastSeq
        },
        resume: cursor.resume,
        stop() {
          countDown()
          cursor.stop()
        },
        isAllowed: () => permissions.can(userId, threadId, 'read'),
      }
    },
    close: () => feeds.close(),
  }
}

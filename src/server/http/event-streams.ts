import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ServerSettings } from '../../config/config.ts'
import { flowNotFound } from '../../domain/execution/flow-errors.ts'
import type { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { toProblem } from '../errors/problem-details.ts'
import { callerOf } from '../requests/routes.ts'
import { createBackpressureMonitor } from '../streaming/backpressure.ts'
import { beginEvents } from '../streaming/begin-events.ts'
import type { FeedEnd, FeedEntry } from '../streaming/flow-feeds.ts'
import type { InFlight } from '../streaming/in-flight.ts'
import type { Subscription, Subscriptions } from '../streaming/subscriptions.ts'

export interface EventStreamsDeps {
  readonly subscriptions: Subscriptions
  readonly inFlight: InFlight
  readonly settings: Pick<ServerSettings, 'sockets'>
}

/** Streams of server-sent events (SSE). */
export interface EventStreams {
  /**
   * Answers with the updates of a flow after `afterSeq`, until the flow ends. Rejects before anything is sent: with
   * FLOW_NOT_FOUND for a flow that the caller may not read, with RATE_LIMITED for one stream too many.
   */
  send(request: FastifyRequest, reply: FastifyReply, flowId: string, afterSeq: number): Promise<void>
  /** Stops the heartbeats. Must be called after the streams have been ended. */
  close(): void
}

/** Milliseconds between comments that keep proxies from closing a quiet stream. */
const HEARTBEAT_INTERVAL_MS = 15_000
/** Bytes per write. A long event is written in slices, so that the progress of its reader can be measured. */
const SLICE_BYTES = 131_072

export function createEventStreams({ subscriptions, inFlight, settings }: EventStreamsDeps): EventStreams {
  // One timer for all streams: a timer of each one would keep the asynchronous context of its request in memory.
  const heartbeats = new Set<() => void>()
  const timer = setInterval(() => {
    for (const beat of heartbeats) beat()
  }, HEARTBEAT_INTERVAL_MS).unref()

  return {
    async send(request, reply, flowId, afterSeq) {
      const response = reply.raw
      const caller = callerOf(request)
      const backpressure = createBackpressureMonitor(settings.sockets)
      const isFull = (): boolean => backpressure.isFull(response.writableLength)
      let subscription: Subscription | undefined
      let endedBecause: OrchestratorError | undefined

      const beat = () => {
        if (!isFull()) response.write(': ping\n\n')
      }
      const close = () => {
        release()
        heartbeats.delete(beat)
        subscription?.stop()
        // The client reads what is buffered, or its connection is closed.
        response.socket?.setTimeout(settings.sockets.slowAfterMs)
        response.end()
      }
      const release = inFlight.add({
        caller,
        limit: 'event streams',
        respondNow(reason) {
          endedBecause = reason
          if (!subscription) return
          // A client whose stream ends without an event reconnects, as it should when the server shuts down.
          if (reason.code !== 'SERVER_CLOSING') response.write(problemEvent(reason, request))
          close()
        },
        recheck: async () => (!subscription || (await subscription.isAllowed()) ? undefined : flowNotFound(flowId)),
        closeIfSlow() {
          if (backpressure.isTooSlow(response.writableLength)) response.destroy()
        },
      })
      const sink = {
        isFull,
        send(entry: FeedEntry) {
          const event = toEvent(entry)
          for (let at = 0; at < event.length; at += SLICE_BYTES) response.write(event.subarray(at, at + SLICE_BYTES))
        },
        end(end: FeedEnd, lastSeq: number) {
          if ('error' in end) response.write(problemEvent(end.error, request))
          else response.write(`event: end\ndata: ${JSON.stringify({ flowId, status: end.status, lastSeq })}\n\n`)
          close()
        },
      }
      try {
        subscription = await subscriptions.open(caller, flowId, afterSeq, sink)
        if (endedBecause) throw endedBecause
      } catch (error) {
        release()
        subscription?.stop()
        throw error
      }
      reply.hijack()
      if (response.destroyed) return close()
      response.on('close', close)
      response.on('drain', () => {
        backpressure.hasRoomAgain(response.writableLength)
        subscription?.resume()
      })
      beginEvents(reply)
      response.write('retry: 1000\n\n')
      heartbeats.add(beat)
    },
    close: () => clearInterval(timer),
  }
}

/** Events by their feed entries: an update is formatted once for all streams of its flow. */
const events = new WeakMap<FeedEntry, Buffer>()

function toEvent(entry: FeedEntry): Buffer {
  const known = events.get(entry)
  if (known) return known
  const { seq, update, bytes } = entry
  const event = Buffer.concat([Buffer.from(`id: ${seq}\nevent: ${update.type}\ndata: `), bytes, Buffer.from('\n\n')])
  events.set(entry, event)
  return event
}

const problemEvent = (error: OrchestratorError, { id: requestId }: FastifyRequest): string =>
  `event: problem\ndata: ${JSON.stringify(toProblem(error, { requestId }))}\n\n`

import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ServerSettings } from '../../config/config.ts'
import { flowNotFound } from '../../domain/execution/flow-errors.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { toProblem } from '../errors/problem-details.ts'
import { callerOf } from '../requests/routes.ts'
import { createBackpressureMonitor } from '../streaming/backpressure.ts'
import { beginEvents } from '../streaming/begin-events.ts'
import type { FeedEntry } from '../streaming/flow-feeds.ts'
import type { InFlight } from '../streaming/in-flight.ts'
import type { Subscriptions } from '../streaming/subscriptions.ts'

export interface EventStreamsDeps {
  readonly subscriptions: Subscriptions
  readonly inFlight: InFlight
  readonly settings: Pick<ServerSettings, 'sockets'>
}

/** Streams of server-sent events (SSE). */
export interface EventStreams {
  /**
   * Answers with what the source writes, until its client or this server ends it. Rejects before anything is sent, as
   * `start` does, and with RATE_LIMITED for one stream too many.
   */
  open(request: FastifyRequest, reply: FastifyReply, start: StartSource): Promise<void>
  /**
   * Answers with the updates of a flow after `afterSeq`, until the flow ends. Rejects before anything is sent: with
   * FLOW_NOT_FOUND for a flow that the caller may not read, with RATE_LIMITED for one stream too many.
   */
  send(request: FastifyRequest, reply: FastifyReply, flowId: string, afterSeq: number): Promise<void>
  /** Stops the heartbeats. Must be called after the streams have been ended. */
  close(): void
}

/** Writes one stream. */
export interface StreamSource {
  /** Whether the caller may still read it. */
  isAllowed(): Promise<boolean>
  /** Called when the sink has capacity again. */
  resume(): void
  stop(): void
}

export interface StreamSink {
  /** True when the client has more unread data than is allowed. */
  isFull(): boolean
  write(text: Buffer | string): void
  /** Ends the stream, with an error as its last event. */
  end(error?: OrchestratorError): void
}

/** Must write nothing before the next turn of the event loop. */
export type StartSource = (sink: StreamSink) => Promise<StreamSource>

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

  async function open(
    request: FastifyRequest,
    reply: FastifyReply,
    start: StartSource,
    notAllowed: () => OrchestratorError = noLongerAllowed,
  ): Promise<void> {
    const response = reply.raw
    const caller = callerOf(request)
    const backpressure = createBackpressureMonitor(settings.sockets)
    const isFull = (): boolean => backpressure.isFull(response.writableLength)
    let source: StreamSource | undefined
    let endedBecause: OrchestratorError | undefined

    const beat = () => {
      if (!isFull()) response.write(': ping\n\n')
    }
    const close = () => {
      release()
      heartbeats.delete(beat)
      source?.stop()
      // The client reads what is buffered, or its connection is closed.
      response.socket?.setTimeout(settings.sockets.slowAfterMs)
      response.end()
    }
    const release = inFlight.add({
      caller,
      limit: 'event streams',
      respondNow(reason) {
        endedBecause = reason
        if (!source) return
        // A client whose stream ends without an event reconnects, as it should when the server shuts down.
        if (reason.code !== 'SERVER_CLOSING') response.write(problemEvent(reason, request))
        close()
      },
      recheck: async () => (!source || (await source.isAllowed()) ? undefined : notAllowed()),
      closeIfSlow() {
        if (backpressure.isTooSlow(response.writableLength)) response.destroy()
      },
    })
    const sink: StreamSink = {
      isFull,
      write(text) {
        const bytes = typeof text === 'string' ? Buffer.from(text) : text
        for (let at = 0; at < bytes.length; at += SLICE_BYTES) response.write(bytes.subarray(at, at + SLICE_BYTES))
      },
      end(error) {
        if (error) response.write(problemEvent(error, request))
        close()
      },
    }
    try {
      source = await start(sink)
      if (endedBecause) throw endedBecause
    } catch (error) {
      release()
      source?.stop()
      throw error
    }
    reply.hijack()
    if (response.destroyed) return close()
    response.on('close', close)
    response.on('drain', () => {
      backpressure.hasRoomAgain(response.writableLength)
      source?.resume()
    })
    beginEvents(reply)
    response.write('retry: 1000\n\n')
    heartbeats.add(beat)
  }

  return {
    open,
    send(request, reply, flowId, afterSeq) {
      const start: StartSource = ({ isFull, write, end: endStream }) =>
        subscriptions.open(callerOf(request), flowId, afterSeq, {
          isFull,
          send: (entry) => write(toEvent(entry)),
          end(end, lastSeq) {
            if ('error' in end) return endStream(end.error)
            write(`event: end\ndata: ${JSON.stringify({ flowId, status: end.status, lastSeq })}\n\n`)
            endStream()
          },
        })
      return open(request, reply, start, () => flowNotFound(flowId))
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

const noLongerAllowed = (): OrchestratorError =>
  new OrchestratorError('PERMISSION_DENIED', 'The flow of the streamed events can no longer be read')

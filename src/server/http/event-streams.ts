import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ServerSettings } from '../../config/config.ts'
import { flowNotFound } from '../../domain/execution/flow-errors.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Authenticator } from '../access/authenticator.ts'
import { createConnectionLimiter } from '../access/connection-limiter.ts'
import { toProblem } from '../errors/problem-details.ts'
import { callerOf } from '../requests/routes.ts'
import { createBackpressureMonitor } from '../streaming/backpressure.ts'
import { beginEvents } from '../streaming/begin-events.ts'
import type { FeedEnd, FeedEntry } from '../streaming/flow-feeds.ts'
import { createPeriodicCheck } from '../streaming/periodic-check.ts'
import type { Subscription, Subscriptions } from '../streaming/subscriptions.ts'

export interface EventStreamDeps {
  readonly subscriptions: Subscriptions
  readonly authenticator: Authenticator
  readonly settings: Pick<ServerSettings, 'sockets'>
  /** Milliseconds between looks at the rights of those who follow. */
  readonly recheckIntervalMs: number
}

/** Milliseconds between comments that keep proxies from closing a quiet stream. */
const HEARTBEAT_MS = 15_000
const SLICE_BYTES = 131_072
/** At most, between looks for readers that take nothing. */
const SLOW_LOOK_MS = 1_000

interface OpenStream {
  beat(): void
  /** Ends the stream of a caller who may no longer read the flow. */
  recheck(): Promise<void>
  /** Cuts a reader that has taken nothing for too long; what it missed it gets when it comes back. */
  cutIfSlow(): void
  close(): void
}

/** Open streams of server-sent events. */
export function createEventStreams({ subscriptions, authenticator, settings, recheckIntervalMs }: EventStreamDeps) {
  const { slowAfterMs } = settings.sockets
  const open = new Set<OpenStream>()
  const places = createConnectionLimiter({ ...settings.sockets, name: 'event streams' })

  /** Answers with the updates of a flow after `afterSeq`. Rejects, before anything is sent, for a flow that the caller may not read. */
  async function send(request: FastifyRequest, reply: FastifyReply, flowId: string, afterSeq: number): Promise<void> {
    const caller = callerOf(request)
    const response = reply.raw
    const slowness = createBackpressureMonitor(settings.sockets)
    const isFull = (): boolean => slowness.isFull(response.writableLength)
    const end = (feedEnd: FeedEnd, lastSeq: number) => {
      if ('error' in feedEnd) response.write(problemEvent(feedEnd.error, request))
      else response.write(`event: end\ndata: ${JSON.stringify({ flowId, status: feedEnd.status, lastSeq })}\n\n`)
      close()
    }
    const giveBack = places.acquire(caller.userId)
    const close = () => {
      if (!open.delete(stream)) return
      giveBack()
      subscription.stop()
      // What still waits is taken, or the connection is given up.
      response.socket?.setTimeout(slowAfterMs)
      response.end()
    }
    const subscription = await subscribe()
    const stream: OpenStream = {
      beat() {
        if (!isFull()) response.write(': ping\n\n')
      },
      async recheck() {
        const isCurrent = await authenticator.isCurrent(caller)
        if ((isCurrent && (await subscription.isAllowed())) || !open.has(stream)) return
        const error = isCurrent ? flowNotFound(flowId) : new OrchestratorError('UNAUTHENTICATED', 'Not authenticated any more')
        response.write(problemEvent(error, request))
        close()
      },
      cutIfSlow() {
        if (slowness.isTooSlow(response.writableLength)) response.destroy()
      },
      close,
    }
    open.add(stream)
    reply.hijack()
    if (response.destroyed) return close()
    response.on('close', close)
    response.on('drain', () => {
      slowness.hasRoomAgain(response.writableLength)
      subscription.resume()
    })
    beginEvents(reply)
    response.write('retry: 1000\n\n')

    /** In slices: how far a reader is in a long one is seen. */
    function write(event: Buffer): void {
      for (let at = 0; at < event.length; at += SLICE_BYTES) response.write(event.subarray(at, at + SLICE_BYTES))
    }
    async function subscribe(): Promise<Subscription> {
      try {
        const sink = { isFull, send: (entry: FeedEntry) => write(toEvent(entry)), end }
        return await subscriptions.open(caller, flowId, afterSeq, sink)
      } catch (error) {
        giveBack()
        throw error
      }
    }
  }

  const look = createPeriodicCheck(() => Promise.all([...open].map((stream) => stream.recheck())))
  const each = (work: (stream: OpenStream) => void) => () => {
    for (const stream of open) work(stream)
  }
  const timers = [
    setInterval(look, recheckIntervalMs),
    setInterval(
      each((stream) => stream.cutIfSlow()),
      Math.min(SLOW_LOOK_MS, slowAfterMs),
    ),
    setInterval(
      each((stream) => stream.beat()),
      HEARTBEAT_MS,
    ),
  ].map((timer) => timer.unref())

  return {
    send,
    get size(): number {
      return open.size
    },
    close(): void {
      for (const timer of timers) clearInterval(timer)
      for (const stream of open) stream.close()
    },
  }
}

export type EventStreams = ReturnType<typeof createEventStreams>

/** An update is written as an event once, however many follow the flow. */
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

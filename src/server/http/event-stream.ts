import type { ServerResponse } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ServerSettings } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Authenticator } from '../access/authenticate.ts'
import { createLook, flowNotFound } from '../live/look.ts'
import type { Subscriptions } from '../live/subscriptions.ts'
import { toProblem } from './problem-details.ts'
import { callerOf } from './requests.ts'

export interface EventStreamParts {
  readonly subscriptions: Subscriptions
  readonly authenticator: Authenticator
  readonly settings: Pick<ServerSettings, 'sockets'>
  /** Milliseconds between looks at the rights of those who follow. */
  readonly lookEveryMs: number
}

interface OpenStream {
  /** Ends the stream of a caller who may no longer read the flow. */
  look(): Promise<void>
  beat(): void
  close(): void
}

/** Milliseconds between comments that keep proxies from closing a quiet stream. */
const HEARTBEAT_MS = 15_000

/** Open streams of server-sent events. */
export function createEventStreams({ subscriptions, authenticator, settings, lookEveryMs }: EventStreamParts) {
  const open = new Set<OpenStream>()
  const look = createLook(() => Promise.all([...open].map((stream) => stream.look())))
  const timers = [
    setInterval(look, lookEveryMs),
    setInterval(() => {
      for (const stream of open) stream.beat()
    }, HEARTBEAT_MS),
  ].map((timer) => timer.unref())

  /** Answers with the updates of a flow after `afterSeq`. Rejects, before anything is sent, for a flow that the caller may not read. */
  async function send(request: FastifyRequest, reply: FastifyReply, flowId: string, afterSeq: number): Promise<void> {
    const caller = callerOf(request)
    const stream = createWriter(reply.raw, settings.sockets)
    const subscription = await subscriptions.open(caller, flowId, afterSeq, {
      isFull: stream.isFull,
      send: ({ seq, update, bytes }) => {
        stream.write(`id: ${seq}\nevent: ${update.type}\ndata: `)
        stream.write(bytes)
        stream.write('\n\n')
      },
      end: (end, lastSeq) => {
        if ('error' in end) stream.write(problemEvent(end.error, request))
        else stream.write(`event: end\ndata: ${JSON.stringify({ flowId, status: end.status, lastSeq })}\n\n`)
        close()
      },
    })
    if (reply.raw.destroyed) return subscription.stop()
    const close = () => {
      open.delete(opened)
      subscription.stop()
      reply.raw.end()
    }
    const opened: OpenStream = {
      close,
      beat() {
        if (stream.isStuck()) reply.raw.destroy()
        else if (!stream.isFull()) stream.write(': ping\n\n')
      },
      async look() {
        const [isCurrent, isAllowed] = await Promise.all([authenticator.isCurrent(caller), subscription.isAllowed()])
        if ((isCurrent && isAllowed) || !open.has(opened)) return
        const gone = isCurrent ? flowNotFound(flowId) : new OrchestratorError('UNAUTHENTICATED', 'Not authenticated any more')
        stream.write(problemEvent(gone, request))
        close()
      },
    }
    open.add(opened)
    reply.raw.on('close', close)
    reply.raw.on('drain', () => subscription.resume())
    reply.hijack()
    reply.raw.writeHead(200, {
      ...toHeaders(reply),
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
    })
    reply.raw.write('retry: 1000\n\n')
  }

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

function createWriter(response: ServerResponse, { maxBufferedBytes, slowAfterMs }: ServerSettings['sockets']) {
  let fullSinceMs: number | undefined
  return {
    write(piece: string | Buffer): void {
      response.write(piece)
    },
    isFull(): boolean {
      const full = response.writableLength >= maxBufferedBytes
      if (!full) fullSinceMs = undefined
      else fullSinceMs ??= performance.now()
      return full
    },
    isStuck: (): boolean => fullSinceMs !== undefined && performance.now() - fullSinceMs > slowAfterMs,
  }
}

const problemEvent = (error: OrchestratorError, { id: requestId }: FastifyRequest): string =>
  `event: problem\ndata: ${JSON.stringify(toProblem(error, { requestId }))}\n\n`

/** Headers that hooks have set: security, CORS, the request id. */
const toHeaders = (reply: FastifyReply): Record<string, string | string[] | number> =>
  Object.fromEntries(Object.entries(reply.getHeaders()).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))

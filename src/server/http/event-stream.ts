import type { ServerResponse } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { ServerSettings } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Authenticator } from '../access/authenticate.ts'
import type { Subscription, Subscriptions } from '../live/subscriptions.ts'
import { toProblem } from './problem-details.ts'
import { callerOf } from './requests.ts'

export interface EventStreamParts {
  readonly subscriptions: Subscriptions
  readonly authenticator: Authenticator
  readonly settings: Pick<ServerSettings, 'sockets'>
}

/** Milliseconds between comments that keep proxies from closing a quiet stream, and between looks at the caller's rights. */
const HEARTBEAT_MS = 15_000
const LOOK_EVERY_MS = 5_000

/** Open streams of server-sent events. */
export function createEventStreams({ subscriptions, authenticator, settings }: EventStreamParts) {
  const open = new Set<() => void>()

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
    const timers = startTimers(subscription)
    const close = () => {
      open.delete(close)
      for (const timer of timers) clearInterval(timer)
      subscription.stop()
      reply.raw.end()
    }
    open.add(close)
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

    function startTimers({ isAllowed }: Subscription) {
      const heartbeat = setInterval(() => {
        if (stream.isStuck()) reply.raw.destroy()
        else if (!stream.isFull()) stream.write(': ping\n\n')
      }, HEARTBEAT_MS)
      const look = setInterval(() => {
        void Promise.all([authenticator.isCurrent(caller), isAllowed()])
          .then(([isCurrent, allowed]) => {
            if (isCurrent && allowed) return
            const code = isCurrent ? 'FLOW_NOT_FOUND' : 'UNAUTHENTICATED'
            stream.write(
              problemEvent(
                new OrchestratorError(code, isCurrent ? `No flow "${flowId}"` : 'Not authenticated any more'),
                request,
              ),
            )
            close()
          })
          // A database that is away for a moment is asked again.
          .catch(() => {})
      }, LOOK_EVERY_MS)
      return [heartbeat.unref(), look.unref()]
    }
  }

  return {
    send,
    get size(): number {
      return open.size
    },
    close(): void {
      for (const close of open) close()
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

import { once } from 'node:events'
import type { FastifyReply, FastifyRequest } from 'fastify'
import * as z from 'zod'
import type { ServerSettings } from '../../config/config.ts'
import { logLine } from '../../protocol/service.ts'
import type { LogLine, Services } from '../../services/service.ts'
import { callerOf } from '../requests/routes.ts'
import { createBackpressureMonitor } from '../streaming/backpressure.ts'
import { beginEvents } from '../streaming/begin-events.ts'
import type { InFlight } from '../streaming/in-flight.ts'

export interface LogAnswersDeps {
  readonly services: Pick<Services, 'get' | 'logs'>
  readonly inFlight: Pick<InFlight, 'add'>
  readonly settings: Pick<ServerSettings, 'sockets'>
}

export interface LogRequest {
  readonly serviceId: string
  readonly lines: number
  readonly follow: boolean
}

/** Answers requests for logs as text, or as server-sent events where the client accepts those. */
export type SendLog = (request: FastifyRequest, reply: FastifyReply, log: LogRequest) => Promise<string | undefined>

export function createLogAnswers({ services, inFlight, settings }: LogAnswersDeps): SendLog {
  async function readAll(log: LogRequest): Promise<string> {
    let text = ''
    for await (const line of services.logs(log.serviceId, { lines: log.lines })) text += `${line.text}\n`
    return text
  }

  return async (request, reply, log) => {
    services.get(log.serviceId)
    const asEvents = String(request.headers.accept ?? '').includes('text/event-stream')
    if (!log.follow && !asEvents) {
      reply.type('text/plain; charset=utf-8')
      return readAll(log)
    }
    await stream(request, reply, log, asEvents)
    return undefined
  }

  /** One line after another: while the client does not read, the log is not read either. */
  async function stream(request: FastifyRequest, reply: FastifyReply, log: LogRequest, asEvents: boolean): Promise<void> {
    const response = reply.raw
    const ended = new AbortController()
    const backpressure = createBackpressureMonitor(settings.sockets)
    const release = inFlight.add({
      caller: callerOf(request),
      limit: 'event streams',
      respondNow: () => ended.abort(),
      closeIfSlow() {
        if (backpressure.isTooSlow(response.writableLength)) response.destroy()
      },
    })
    reply.hijack()
    response.on('close', () => ended.abort())
    const { lines, follow } = log
    try {
      if (asEvents) beginEvents(reply)
      else response.writeHead(200, { ...plainHeaders(reply), 'content-type': 'text/plain; charset=utf-8' })
      response.flushHeaders()
      for await (const line of services.logs(log.serviceId, { lines, follow, signal: ended.signal })) {
        if (response.destroyed) break
        response.write(asEvents ? toEvent(line) : `${line.text}\n`)
        if (!backpressure.isFull(response.writableLength)) continue
        await once(response, 'drain', { signal: ended.signal })
        backpressure.hasRoomAgain(response.writableLength)
      }
    } catch (error) {
      // The status has been sent, so an incomplete answer is the only way to report a failure.
      if (!ended.signal.aborted) request.log.error({ err: error }, 'a log could not be read')
    } finally {
      release()
      response.end()
    }
  }
}

const toEvent = (line: LogLine): string => `event: line\ndata: ${JSON.stringify(z.encode(logLine, line))}\n\n`

const plainHeaders = (reply: FastifyReply): Record<string, string | string[] | number> =>
  Object.fromEntries(Object.entries(reply.getHeaders()).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))

import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'

/** Begins server-sent events in place of an answer that was taken over from Fastify, with the headers that hooks have set. */
export function beginEvents(reply: FastifyReply): void {
  reply.raw.writeHead(200, {
    ...toHeaders(reply),
    ...EVENT_STREAM_HEADERS,
  })
}

const EVENT_STREAM_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
} as const

/** Security, CORS, the request id. */
const toHeaders = (reply: FastifyReply): Record<string, string | string[] | number> =>
  Object.fromEntries(Object.entries(reply.getHeaders()).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))

/** Answers HEAD with the headers of an event stream, whose length nobody knows. */
export const sendEventHeaders = (reply: FastifyReply): FastifyReply => reply.headers(EVENT_STREAM_HEADERS).send(Readable.from([]))

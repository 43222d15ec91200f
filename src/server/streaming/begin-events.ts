import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'

/**
 * Starts server-sent events on a response that was taken over from Fastify, with the headers that the hooks have set.
 */
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

/** The headers of the hooks: security, CORS, the request id. */
const toHeaders = (reply: FastifyReply): Record<string, string | string[] | number> =>
  Object.fromEntries(Object.entries(reply.getHeaders()).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))

/** Answers HEAD with the headers of an event stream. An empty stream keeps Fastify from adding a content length. */
export const sendEventHeaders = (reply: FastifyReply): FastifyReply => reply.headers(EVENT_STREAM_HEADERS).send(Readable.from([]))

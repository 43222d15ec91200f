import type { FastifyReply } from 'fastify'

/** Begins server-sent events in place of an answer that was taken over from Fastify, with the headers that hooks have set. */
export function beginEvents(reply: FastifyReply): void {
  reply.raw.writeHead(200, {
    ...toHeaders(reply),
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-cache, no-transform',
    'x-accel-buffering': 'no',
  })
}

/** Security, CORS, the request id. */
const toHeaders = (reply: FastifyReply): Record<string, string | string[] | number> =>
  Object.fromEntries(Object.entries(reply.getHeaders()).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))

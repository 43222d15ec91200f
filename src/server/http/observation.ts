import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Metrics, RequestContext } from '../../telemetry/telemetry.ts'

export interface ObservationDeps {
  readonly requestContext: RequestContext
  readonly metrics: Pick<Metrics, 'httpRequest'> | undefined
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Records the end of the request; undefined after that. */
    recordEnd: ((status: number) => void) | undefined
  }
}

/**
 * Records one span, one count and one log line per request, under the pattern of its route, because paths contain ids.
 * All work of the request runs within its span, which continues the trace of the caller's `traceparent` header.
 */
export function addObservation(app: FastifyInstance, { requestContext, metrics }: ObservationDeps): void {
  app.decorateRequest('recordEnd', undefined)

  app.addHook('onRequest', (request, reply, done) => {
    const startedMs = performance.now()
    const { method } = request
    const route = request.is404 ? undefined : request.routeOptions.url
    const parent = propagation.extract(context.active(), request.headers)
    const span = trace
      .getTracer('polyphony')
      .startSpan(
        `${method} ${route ?? 'unknown'}`,
        { kind: SpanKind.SERVER, attributes: { 'http.request.method': method, ...(route && { 'http.route': route }) } },
        parent,
      )
    request.recordEnd = (status) => {
      request.recordEnd = undefined
      const seconds = (performance.now() - startedMs) / 1_000
      metrics?.httpRequest({ method, route, status, seconds })
      span.setAttribute('http.response.status_code', status)
      if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR })
      span.end()
      const facts = {
        method,
        route,
        status,
        ms: Math.round(seconds * 1_000),
        flowId: flowIdOf(request) ?? reply.getHeader(FLOW_HEADER),
        via: request.caller?.via,
      }
      if (status >= 500) request.log.error(facts, 'request')
      else request.log.info(facts, 'request')
    }
    // Fastify calls no `onResponse` hook when a client leaves, nor for a stream.
    reply.raw.once('close', () => request.recordEnd?.(reply.raw.headersSent ? reply.raw.statusCode : CLIENT_LEFT))
    const ids = { requestId: request.id, flowId: flowIdOf(request) }
    context.with(trace.setSpan(parent, span), () => requestContext.run(ids, done))
  })

  app.addHook('onResponse', async (request, reply) => request.recordEnd?.(reply.statusCode))
}

/** Response header with the flow that was created to answer the request. */
const FLOW_HEADER = 'x-polyphony-flow-id'

/** Status that nginx records for a client that left before its response. It is never sent. */
const CLIENT_LEFT = 499

function flowIdOf({ params }: FastifyRequest): string | undefined {
  if (typeof params !== 'object' || params === null || !('flowId' in params)) return undefined
  const { flowId } = params
  // Other values are arbitrary text of the client, which does not belong into the log.
  return typeof flowId === 'string' && /^[\w-]{1,64}$/.test(flowId) ? flowId : undefined
}

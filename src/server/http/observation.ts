import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Metrics, RequestContext } from '../../telemetry/telemetry.ts'

export interface ObserveDeps {
  readonly requestContext: RequestContext
  readonly metrics: Pick<Metrics, 'httpRequest'> | undefined
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Told of the end of the request, once. */
    tellEnd: ((status: number) => void) | undefined
  }
}

/**
 * One span, one count and one log line per request, under the pattern of its route: addresses hold ids. Everything the request causes runs within its
 * span and its ids, which go on from the caller's `traceparent`.
 */
export function addObservation(app: FastifyInstance, { requestContext, metrics }: ObserveDeps): void {
  app.decorateRequest('tellEnd', undefined)

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
    request.tellEnd = (status) => {
      request.tellEnd = undefined
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
    // A client that leaves, and an answer that is a stream, end here.
    reply.raw.once('close', () => request.tellEnd?.(reply.raw.headersSent ? reply.raw.statusCode : CLIENT_LEFT))
    const ids = { requestId: request.id, flowId: flowIdOf(request) }
    context.with(trace.setSpan(parent, span), () => requestContext.run(ids, done))
  })

  app.addHook('onResponse', async (request, reply) => request.tellEnd?.(reply.statusCode))
}

/** Set where a request made the flow that answers it. */
const FLOW_HEADER = 'x-polyphony-flow-id'

/** What nginx counts for a client that left before its answer; no answer ever carries it. */
const CLIENT_LEFT = 499

function flowIdOf({ params }: FastifyRequest): string | undefined {
  if (typeof params !== 'object' || params === null || !('flowId' in params)) return undefined
  const { flowId } = params
  // Only what can be an id: the rest is text of a stranger.
  return typeof flowId === 'string' && /^[\w-]{1,64}$/.test(flowId) ? flowId : undefined
}

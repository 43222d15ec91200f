import type { RequestContext } from './request-context.ts'

export type { RequestContext, RequestIds } from './request-context.ts'

/**
 * Public telemetry API: metrics and request context. Spans and log lines need no call; see docs/observability.md.
 * Implemented by `createTelemetry`.
 *
 * ```ts
 * const metrics = await polyphony.telemetry.metrics()
 * console.log(await metrics.text())
 * ```
 */
export interface Telemetry {
  /**
   * Metrics of this Polyphony instance, the same object every time. The first call loads the library and starts
   * counting, so unused metrics cost nothing. The server calls it once, before it accepts requests.
   */
  metrics(): Promise<Metrics>
  /** Adds request and flow ids to log lines and spans. Shared by the whole process. */
  readonly requestContext: RequestContext
}

/**
 * Metrics in their own registry, never in the global one of prom-client. No label holds a user, a flow, a model or free
 * text. Implemented by `createMetrics`. No method throws.
 */
export interface Metrics {
  /** Called once per finished HTTP request. */
  httpRequest(request: HttpRequestFacts): void
  /** Sets the number of open WebSockets. Called at every change. */
  openSockets(count: number): void
  /** Sets the number of open subscriptions to flows, over all sockets and event streams. Called at every change. */
  subscriptions(count: number): void
  /** All metrics in the text format of Prometheus, including those of the process. Called once per scrape. */
  text(): Promise<string>
  /** Media type of `text()`. */
  readonly contentType: string
}

/** One finished HTTP request. */
export interface HttpRequestFacts {
  readonly method: string
  /** Pattern of the route (`/api/v1/flows/:flowId`), never the address. Absent if no route matched. */
  readonly route?: string
  /** Status of the response. Counted by its class (`2xx`). */
  readonly status: number
  /** Duration of the request. */
  readonly seconds: number
}

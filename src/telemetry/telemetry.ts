import type { RequestContext } from './request-context.ts'

export type { RequestContext, RequestIds } from './request-context.ts'

/** What is seen of Polyphony from outside. Spans and log lines come by themselves; see docs/observability.md. */
export interface Telemetry {
  /**
   * Metrics of this Polyphony, the same object every time. Loads their library at first use and counts from then on; who never asks pays
   * nothing. Called by the server once, before it takes requests.
   */
  metrics(): Promise<Metrics>
  /** Request and flow ids that stand in every log line written within. One for the whole process. */
  readonly requestContext: RequestContext
}

/** Counts in a registry of their own, never in the global one. No label ever holds a user, a flow, a model or free text. */
export interface Metrics {
  /** Called once per finished HTTP request. */
  httpRequest(request: HttpRequestFacts): void
  /** How many WebSockets are open now. Called at every change. */
  openSockets(count: number): void
  /** How many subscriptions to flows are open now, over all sockets and event streams. Called at every change. */
  subscriptions(count: number): void
  /** Everything in the text format of Prometheus, figures of the process included. Called once per scrape. */
  text(): Promise<string>
  /** Media type of `text()`. */
  readonly contentType: string
}

export interface HttpRequestFacts {
  readonly method: string
  /** The pattern of the route (`/api/v1/flows/:flowId`), never the address. Absent where no route matched. */
  readonly route?: string
  /** Status of the answer; counted by its class (`2xx`). */
  readonly status: number
  readonly seconds: number
}

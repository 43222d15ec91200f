import type { FlowObserver } from '../domain/observation.ts'
import { joinObservers } from './observers.ts'
import { requestContext } from './request-context.ts'
import type { Metrics, Telemetry } from './telemetry.ts'

export interface TelemetryOptions {
  readonly providers: readonly ObservedProvider[]
}

/** What is known of a configured provider. */
export interface ObservedProvider {
  readonly id: string
}

export interface CreatedTelemetry {
  readonly telemetry: Telemetry
  /** Who the flows are to tell. */
  readonly observer: FlowObserver
}

/** Everything that looks at Polyphony from outside. */
export function createTelemetry({ providers }: TelemetryOptions): CreatedTelemetry {
  const observers: FlowObserver[] = []
  let metrics: Promise<Metrics> | undefined

  async function startMetrics(): Promise<Metrics> {
    const { createMetrics } = await import('./metrics.ts')
    const created = createMetrics({ providerIds: providers.map(({ id }) => id) })
    observers.push(created.observer)
    return created.metrics
  }

  return {
    observer: joinObservers(observers),
    telemetry: {
      requestContext,
      metrics: () => {
        metrics ??= startMetrics()
        return metrics
      },
    },
  }
}

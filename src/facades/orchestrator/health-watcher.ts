import type { AgentLoad } from './agent-balancer.ts'
import type { EventDispatcher } from './events/event-dispatcher.ts'
import type { SystemMetrics } from './metrics-window.ts'

export type HealthStatus = 'healthy' | 'degraded' | 'unhealthy' | 'unknown'

/** Health of one part of an orchestrator. */
export interface ComponentHealth {
  readonly status: HealthStatus
  /** Why the status is not `healthy`. */
  readonly reason?: string
}

export interface SystemHealth {
  /** The worst status of a component that is known; `unknown` while the orchestrator does not run. */
  readonly status: HealthStatus
  readonly components: Readonly<Record<string, ComponentHealth>>
  readonly timestamp: Date
}

export interface HealthWatcherDeps {
  readonly intervalMs: number
  readonly events: EventDispatcher
  /** Rejects if the engine and its database do not answer. */
  checkEngine(): Promise<unknown>
  agents(): readonly AgentLoad[]
  metrics(): SystemMetrics
}

/** Part of failed workflows in the last minute from which `workflows` is degraded and unhealthy. */
const DEGRADED_ERRORS = 0.1
const UNHEALTHY_ERRORS = 0.5

const HEALTHY: ComponentHealth = { status: 'healthy' }
const ORDER: readonly HealthStatus[] = ['unhealthy', 'degraded', 'healthy']

/** Checks all components in an interval, and publishes `health:changed` when the status of the whole changes. */
export function createHealthWatcher({ intervalMs, events, checkEngine, agents, metrics }: HealthWatcherDeps) {
  let timer: NodeJS.Timeout | undefined
  let engine: ComponentHealth = { status: 'unknown' }
  let last: HealthStatus = 'unknown'

  function read(): SystemHealth {
    const components = {
      engine,
      agents: agentHealth(agents()),
      workflows: workflowHealth(metrics()),
      cache: HEALTHY,
      events: HEALTHY,
    }
    const known = Object.values(components).map(({ status }) => status)
    const status = timer === undefined ? 'unknown' : (ORDER.find((worst) => known.includes(worst)) ?? 'unknown')
    return { status, components, timestamp: new Date() }
  }

  async function check(): Promise<SystemHealth> {
    try {
      await checkEngine()
      engine = HEALTHY
    } catch (error) {
      engine = { status: 'unhealthy', reason: error instanceof Error ? error.name : 'the engine does not answer' }
    }
    const health = read()
    if (health.status !== last) {
      const previous = last
      last = health.status
      await events
        .createEvent('health:changed', 'watcher', { status: health.status, previous, components: health.components })
        .catch(() => undefined)
    }
    return health
  }

  return {
    async start(): Promise<void> {
      // The timer must not keep the process alive.
      timer ??= setInterval(() => void check(), intervalMs).unref()
      await check()
    },
    stop(): void {
      clearInterval(timer)
      timer = undefined
    },
    /** The last known state, without a new check of the engine. */
    read,
    check,
  }
}

export type HealthWatcher = ReturnType<typeof createHealthWatcher>

function agentHealth(agents: readonly AgentLoad[]): ComponentHealth {
  const away = agents.filter(({ isAvailable }) => !isAvailable).map(({ agentId }) => agentId)
  if (agents.length === 0) return { status: 'unknown', reason: 'no agent is registered' }
  if (away.length === 0) return HEALTHY
  return { status: away.length === agents.length ? 'unhealthy' : 'degraded', reason: `not available: ${away.join(', ')}` }
}

function workflowHealth({ throughput, errorRate }: SystemMetrics): ComponentHealth {
  if (throughput === 0 || errorRate < DEGRADED_ERRORS) return HEALTHY
  const reason = `${Math.round(errorRate * 100)} % of the workflows of the last minute failed`
  return { status: errorRate < UNHEALTHY_ERRORS ? 'degraded' : 'unhealthy', reason }
}

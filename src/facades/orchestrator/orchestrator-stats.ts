import type { Agent } from './agent.ts'
import type { AgentLoad } from './agent-balancer.ts'
import type { EventDispatcherStats } from './events/event-dispatcher.ts'
import type { HealthStatus } from './health-watcher.ts'
import type { OrchestratorCacheStats } from './orchestrator-cache.ts'

/** Result of `getStats`. */
export interface OrchestratorStats {
  readonly systemHealth: HealthStatus
  /** Milliseconds since `start`; 0 while the orchestrator does not run. */
  readonly uptime: number
  readonly agents: {
    readonly totalAgents: number
    readonly availableAgents: number
    /** Agents with a step that has not ended. */
    readonly busyAgents: number
    readonly agents: readonly AgentLoad[]
  }
  readonly cache: OrchestratorCacheStats
  readonly workflows: {
    readonly running: number
    readonly queued: number
    readonly completed: number
    readonly failed: number
    readonly cancelled: number
    readonly total: number
  }
  readonly events: EventDispatcherStats
}

/** The balancer of the agents, for those who watch it or ask it. */
export interface LoadBalancer {
  /** The strategy, and the figures of every agent. */
  getStats(): { readonly strategy: string; readonly agents: readonly AgentLoad[]; readonly queued: number }
  /**
   * Chooses the agent of a step as workflows do, and counts the choice until `end` is called. `undefined` if no agent
   * is registered. Throws AGENT_NOT_FOUND if none has all that is needed.
   */
  selectAgent(step?: { readonly type?: string; readonly needs?: string[] }): { readonly agent: Agent; end(): void } | undefined
}

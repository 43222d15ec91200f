import type { Clock } from '../../async/clock.ts'
import type { Cache } from '../../caches/cache.ts'
import type { PolyphonyConfigInput } from '../../config/config.ts'
import type { FunctionContext } from '../../domain/tools/functions.ts'
import type { AgentHealth, AgentStrategy } from './agent-balancer.ts'
import type { OpenPolyphony } from './open-polyphony.ts'
import type { OrchestratorSettings } from './orchestrator-config.ts'

/** Runs a step of an executor that the user registered. */
export type RunOwnStep = (input: unknown, context: FunctionContext) => Promise<unknown>

/** What the facade takes from the modules behind it; `main.ts` connects it. */
export interface OrchestratorDeps {
  readonly clock: Clock
  openPolyphony(config: PolyphonyConfigInput, logLevel: OrchestratorSettings['logLevel']): Promise<OpenPolyphony>
  /** The key of the arguments of a memoized call. */
  argumentsKey(namespace: string, given: readonly unknown[]): string
  createCache(settings: OrchestratorSettings['cacheConfig']): Cache<unknown>
  createStrategy(name: OrchestratorSettings['loadBalancingStrategy'], order: readonly string[]): AgentStrategy
  createAgentHealth(): AgentHealth
}

/**
 * The function that runs steps with executors of the user. Further orchestrators of one Polyphony add a number, so that
 * flows which another process resumes find the function of the same orchestrator.
 */
export const STEP_FUNCTION = 'workflow_step'

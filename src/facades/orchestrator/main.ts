import { type Clock, systemClock } from '../../async/clock.ts'
import { argumentsKey } from '../../caches/arguments-key.ts'
import { createCache } from '../../caches/create-cache.ts'
import { toEvidence, WORKS } from '../../calls/balance/evidence.ts'
import { createHealth } from '../../calls/balance/health.ts'
import { createSlowness } from '../../calls/balance/slowness.ts'
import { STRATEGIES } from '../../calls/balance/strategies/registry.ts'
import { loadConfig } from '../../config/config.ts'
import { createPolyphony } from '../../polyphony.ts'
import type { AgentHealth } from './agent-balancer.ts'
import { AgentOrchestrator } from './orchestrator.ts'
import type { OrchestratorConfig } from './orchestrator-config.ts'
import type { OrchestratorDeps } from './orchestrator-deps.ts'

/** Three failures in a row keep an agent without work, as they do with a member of a pool. */
const EJECTION = { failures: 3, baseMs: 5_000, maxMs: 60_000 }
const DECAY_MS = 10_000

const createAgentHealth = (clock: Clock) => (): AgentHealth => {
  const health = createHealth(EJECTION, clock)
  const slowness = createSlowness(DECAY_MS, clock)
  return {
    absence: health.absence,
    slowness: () => slowness.of(false),
    record(outcome) {
      const visit = health.enter()
      if ('result' in outcome) {
        const { usage, output = '', executionTime } = outcome.result
        slowness.whole(usage ?? { source: 'unknown' }, output, executionTime)
        health.leave(visit, WORKS)
        return
      }
      const evidence = toEvidence(outcome.error)
      if (evidence.kind === 'fault') slowness.failed(false)
      health.leave(visit, evidence)
    },
  }
}

const openPolyphony: OrchestratorDeps['openPolyphony'] = async (given, logLevel) => {
  const { sources, providers, replay } = await loadConfig(given)
  const hasProvider = Object.keys(providers).length > 0 || replay !== undefined
  return createPolyphony({
    ...given,
    // A program may have several orchestrators, and only one process can open the directory of an embedded database.
    ...(!sources.has('database') && { database: 'memory://' }),
    ...(!hasProvider && { simulator: true }),
    ...(logLevel !== undefined && { logLevel }),
  })
}

/** The modules behind an orchestrator. `clock` gives it time and chance. */
export const createOrchestratorDeps = (clock: Clock): OrchestratorDeps => ({
  clock,
  argumentsKey,
  openPolyphony,
  createCache: ({ ttl, strategy, maxEntries }) => createCache({ policy: strategy, maxEntries, ttlMs: ttl }),
  createStrategy(name, order) {
    const strategy = STRATEGIES[name].create({ order, random: clock.random })
    return { pick: (eligible) => strategy.pick(eligible, false) }
  },
  createAgentHealth: createAgentHealth(clock),
})

/**
 * An orchestrator of agents over Polyphony: workflows, load balancing, events, a cache, health and metrics.
 *
 * ```ts
 * import { Agent, Orchestrator } from 'polyphony'
 *
 * const orchestrator = new Orchestrator({ maxConcurrentWorkflows: 10 })
 * await orchestrator.start()
 * await orchestrator.registerAgent(new Agent({ id: 'coder', name: 'Coder', instructions: 'You write code.' }))
 * const { status } = await orchestrator.executeCompleteWorkflow('A REST API for notes')
 * console.log(status)
 * await orchestrator.stop()
 * ```
 */
export class Orchestrator extends AgentOrchestrator {
  /** Throws CONFIG_INVALID, which names every wrong field. */
  constructor(config: OrchestratorConfig = {}) {
    super(config, createOrchestratorDeps(systemClock))
  }
}

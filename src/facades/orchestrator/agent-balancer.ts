import type { Clock } from '../../async/clock.ts'
import { findSuggestion, withSuggestion } from '../../domain/definition/suggestion.ts'
import type { StepResult } from '../../domain/execution/step-result.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Agent } from './agent.ts'
import type { OrchestratorSettings } from './orchestrator-config.ts'
import type { WorkflowStep } from './workflows/workflow.ts'

/** An agent as strategies see it; the same as a member of a pool. */
export interface AgentCandidate {
  readonly id: string
  readonly weight: number
  readonly inFlight: number
  slowness(): number | undefined
}

/** Chooses among agents. Implemented by the strategies of pools. */
export interface AgentStrategy {
  pick<Candidate extends AgentCandidate>(eligible: readonly Candidate[]): Candidate | undefined
}

/** What calls have shown about one agent. Implemented by the health of members of pools. */
export interface AgentHealth {
  /** `undefined` if the agent may be given work. */
  absence(): { readonly state: string; readonly waitMs: number } | undefined
  /** Records the end of a step of the agent. */
  record(outcome: AgentOutcome): void
  /** How slow the agent answers; `undefined` before its first answer. */
  slowness(): number | undefined
}

/** `error`: code of the failure of the agent's model; absent if it answered. */
export type AgentOutcome = { readonly error: OrchestratorError } | { readonly result: StepResult }

/** Figures of one agent since the start of the orchestrator. */
export interface AgentLoad {
  readonly agentId: string
  readonly weight: number
  /** Steps that were assigned. */
  readonly assigned: number
  /** Steps that are assigned and have not ended. */
  readonly inFlight: number
  readonly failures: number
  /** Milliseconds; absent before the first answer. */
  readonly averageResponseTime?: number
  readonly isAvailable: boolean
}

export interface BalancerDeps {
  readonly clock: Clock
  readonly strategy: OrchestratorSettings['loadBalancingStrategy']
  createStrategy(name: OrchestratorSettings['loadBalancingStrategy'], order: readonly string[]): AgentStrategy
  createAgentHealth(): AgentHealth
  /** Whether the provider of an agent may be called at all. */
  isUsable(agent: Agent): boolean
}

interface Entry extends AgentCandidate {
  readonly agent: Agent
  readonly health: AgentHealth
  inFlight: number
  assigned: number
  failures: number
  answered: number
  totalMs: number
}

/** A step that an agent was given. */
export interface AgentTicket {
  readonly agent: Agent
  /** Other agents that may do the step, the least busy first. */
  readonly others: readonly Agent[]
  /** Must be called once, when the step has ended or will not run; `result` if it ran. */
  end(result?: StepResult): void
}

/** Distributes steps over agents: by capability, then health, then strategy. */
export function createAgentBalancer({ strategy, createStrategy, createAgentHealth, isUsable }: BalancerDeps) {
  const entries = new Map<string, Entry>()
  let picker = createStrategy(strategy, [])

  const renew = () => {
    picker = createStrategy(strategy, [...entries.keys()])
  }
  const isAvailable = ({ agent, health }: Entry) => health.absence() === undefined && isUsable(agent)

  /** Agents with all that the step needs. */
  function fittingOf({ needs = [], agent }: Pick<WorkflowStep, 'needs' | 'agent'>): readonly Entry[] {
    const all = [...entries.values()].filter((entry) => agent === undefined || entry.agent.id === agent)
    return all.filter((entry) => needs.every((need) => entry.agent.capabilities.includes(need)))
  }

  /** Agents with all that the step needs; of these only the ones that name its type as a capability, if any does. */
  function capableOf({ type, ...step }: Pick<WorkflowStep, 'needs' | 'type' | 'agent'>): readonly Entry[] {
    const capable = fittingOf(step)
    const experts = capable.filter((entry) => entry.agent.capabilities.includes(type))
    return experts.length > 0 ? experts : capable
  }

  function open(entry: Entry, others: readonly Entry[]): AgentTicket {
    entry.inFlight += 1
    entry.assigned += 1
    let isOpen = true
    return {
      agent: entry.agent,
      others: others.toSorted((a, b) => a.inFlight / a.weight - b.inFlight / b.weight).map(({ agent }) => agent),
      end(result) {
        if (!isOpen) return
        isOpen = false
        entry.inFlight -= 1
        if (result) record(entry, result)
      },
    }
  }

  function record(entry: Entry, result: StepResult): void {
    // With fallbacks the step may have succeeded although the agent's own model did not answer.
    const [own] = result.attempts
    const error = own?.error ?? (result.status === 'FAILED' ? result.error : undefined)
    if (error && !own?.aborted) {
      entry.failures += 1
      entry.health.record({ error: new OrchestratorError(error.code, error.message, { details: error.details }) })
      return
    }
    if (result.status !== 'SUCCESS') return
    entry.answered += 1
    entry.totalMs += result.executionTime
    entry.health.record({ result })
  }

  return {
    /** Throws AGENT_EXISTS. */
    add(agent: Agent): void {
      if (entries.has(agent.id)) {
        throw new OrchestratorError('AGENT_EXISTS', `expected an id of its own, found "${agent.id}" of a registered agent`, {
          details: { agent: agent.id },
        })
      }
      const health = createAgentHealth()
      entries.set(agent.id, {
        ...{ id: agent.id, weight: agent.weight, agent, health, slowness: health.slowness },
        ...{ inFlight: 0, assigned: 0, failures: 0, answered: 0, totalMs: 0 },
      })
      renew()
    },
    /** Steps that the agent was given already run on. Throws AGENT_NOT_FOUND. */
    remove(id: string): void {
      if (!entries.delete(id)) throw unknownAgent(id, [...entries.keys()])
      renew()
    },
    /** Ids of the agents that an assignment may choose for a step: with all that it needs and a usable provider. */
    candidates: (step: Pick<WorkflowStep, 'needs'>): readonly string[] =>
      fittingOf({ needs: step.needs }).flatMap(({ agent }) => (isUsable(agent) ? [agent.id] : [])),
    /** Gives a step to one agent, whatever the strategy; `undefined` if it is not registered any more. */
    begin(id: string): AgentTicket | undefined {
      const entry = entries.get(id)
      return entry && open(entry, [])
    },
    agents: (): readonly Agent[] => [...entries.values()].map(({ agent }) => agent),
    /**
     * Throws AGENT_NOT_FOUND if no registered agent could ever do the step; `undefined` if no agent is registered.
     */
    assign(step: Pick<WorkflowStep, 'id' | 'needs' | 'type' | 'agent'>): AgentTicket | undefined {
      const capable = capableOf(step)
      if (step.agent !== undefined && !entries.has(step.agent)) throw unknownAgent(step.agent, [...entries.keys()])
      if (capable.length === 0 && (entries.size > 0 || step.needs?.length)) throw noAgent(step, [...entries.keys()])
      const available = capable.filter(isAvailable)
      // Where no agent is available the step may still succeed when it runs, and its own error says more.
      const eligible = available.length > 0 ? available : capable
      const chosen = picker.pick(eligible)
      return (
        chosen &&
        open(
          chosen,
          eligible.filter((entry) => entry !== chosen),
        )
      )
    },
    /** The strategy, and the figures of every agent. */
    stats: () => ({ strategy, agents: [...entries.values()].map((entry) => toLoad(entry, isAvailable(entry))) }),
  }
}

export type AgentBalancer = ReturnType<typeof createAgentBalancer>

const toLoad = ({ agent, assigned, inFlight, failures, answered, totalMs }: Entry, isAvailable: boolean): AgentLoad => ({
  agentId: agent.id,
  weight: agent.weight,
  assigned,
  inFlight,
  failures,
  ...(answered > 0 && { averageResponseTime: totalMs / answered }),
  isAvailable,
})

function unknownAgent(id: string, known: readonly string[]): OrchestratorError {
  const message = withSuggestion(
    `expected a registered agent (${known.join(', ') || 'none is'}), found "${id}"`,
    findSuggestion(id, known),
  )
  return new OrchestratorError('AGENT_NOT_FOUND', message, { details: { agent: id } })
}

function noAgent({ id, needs = [] }: Pick<WorkflowStep, 'id' | 'needs'>, known: readonly string[]): OrchestratorError {
  const expected = `Step "${id}": expected an agent with the capabilities ${needs.join(', ')}`
  return new OrchestratorError('AGENT_NOT_FOUND', `${expected}, found none among ${known.join(', ') || 'no registered agents'}`, {
    details: { step: id, needs },
  })
}

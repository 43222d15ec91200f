import * as z from 'zod'
import type { AgentPreset, AgentPresets } from '../../domain/agents/agent.ts'
import { stepSettingsSchema, type Target } from '../../domain/definition/flow-definition.ts'
import { findSuggestion, quoted, withSuggestion } from '../../domain/definition/suggestion.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { parseOptions } from '../service-options.ts'

const MAX_SYSTEM_LENGTH = 200_000

const newAgentSchema = z.strictObject({
  id: z.string().min(1).max(200),
  name: z.string().min(1).max(200).optional(),
  provider: z.string().min(1).optional(),
  model: z.string().min(1).optional(),
  system: z.string().max(MAX_SYSTEM_LENGTH).optional(),
  settings: stepSettingsSchema.optional(),
  capabilities: z.array(z.string().min(1).max(100)).max(100).optional(),
  weight: z.number().min(0).max(1_000_000).optional(),
})

/** An agent to register. */
export interface NewAgent extends AgentPreset {
  /** The name that steps give as `agent`; 1 to 200 characters. */
  readonly id: string
  /** Name for people; default the id. */
  readonly name?: string | undefined
}

/** An agent of the directory. */
export interface RegisteredAgent extends NewAgent {
  readonly name: string
  readonly capabilities: readonly string[]
  readonly weight: number
}

/** The named agents of this process: built-in roles, those of the configuration, and those that code registers. */
export interface AgentDirectory {
  /**
   * Adds an agent, which definitions can use from then on. Throws AGENT_EXISTS, and INPUT_INVALID for an invalid field.
   *
   * ```ts
   * polyphony.agents.register({ id: 'writer', system: 'You write short texts.', capabilities: ['text'] })
   * ```
   */
  register(agent: NewAgent): RegisteredAgent
  /** Removes an agent. Flows that were created with it keep its settings. Throws AGENT_NOT_FOUND. */
  unregister(id: string): void
  /** Throws AGENT_NOT_FOUND; `details.suggestion` is the id that was probably meant. */
  get(id: string): RegisteredAgent
  /** All agents, or those that have every given capability, by their ids. */
  list(options?: { readonly capabilities?: readonly string[] }): readonly RegisteredAgent[]
}

export interface AgentDirectoryDeps {
  /** Agents that exist from the start, by id. */
  readonly initial: ReadonlyMap<string, Omit<NewAgent, 'id'>>
  /** Provider and model of agents that name neither. */
  readonly defaultTarget: Target | undefined
  /** What the operator can do without one. */
  readonly defaultTargetRemedy: string
}

/** The directory with what the parser of definitions reads of it. */
export interface OpenAgentDirectory extends AgentDirectory {
  /** A live view: a definition that is parsed later sees the agents of that time. */
  readonly presets: AgentPresets
  /** Rises with every change, so that parsed definitions are not kept beyond it. */
  readonly version: () => number
}

/** Keeps the named agents in memory. */
export function createAgentDirectory({ initial, ...defaults }: AgentDirectoryDeps): OpenAgentDirectory {
  const byId = new Map<string, RegisteredAgent>([...initial].map(([id, preset]) => [id, toAgent({ ...preset, id })]))
  let version = 0

  const get = (id: string): RegisteredAgent => {
    const agent = byId.get(id)
    if (agent) return agent
    const suggestion = findSuggestion(id, byId.keys())
    throw new OrchestratorError('AGENT_NOT_FOUND', withSuggestion(`No agent ${quoted(id)} is registered`, suggestion), {
      details: { agentId: id, ...(suggestion !== undefined && { suggestion }) },
    })
  }

  return {
    presets: { byId, ...defaults },
    version: () => version,
    register(given) {
      const agent = toAgent(parseOptions(newAgentSchema, given, 'agents.register'))
      if (byId.has(agent.id)) {
        throw new OrchestratorError('AGENT_EXISTS', `An agent ${quoted(agent.id)} is registered already`, {
          details: { agentId: agent.id },
        })
      }
      byId.set(agent.id, agent)
      version++
      return agent
    },
    unregister(id) {
      byId.delete(get(id).id)
      version++
    },
    get,
    list: ({ capabilities = [] } = {}) =>
      [...byId.values()]
        .filter((agent) => capabilities.every((capability) => agent.capabilities.includes(capability)))
        .sort((a, b) => (a.id < b.id ? -1 : 1)),
  }
}

const toAgent = (agent: NewAgent): RegisteredAgent =>
  Object.freeze({
    ...agent,
    name: agent.name ?? agent.id,
    capabilities: Object.freeze([...(agent.capabilities ?? [])]),
    weight: agent.weight ?? 1,
  })

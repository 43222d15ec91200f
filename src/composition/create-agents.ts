import { DEFAULT_TARGET_REMEDY, defaultModel, defaultTargetOf } from '../../templates/default-models.ts'
import type { PolyphonyConfig } from '../config/config.ts'
import { isPluggedProvider } from '../config/config-schema.ts'
import { BUILT_IN_ROLES } from '../domain/agents/built-in-roles.ts'
import type { Target } from '../domain/definition/flow-definition.ts'
import { createAgentDirectory, type NewAgent, type OpenAgentDirectory } from '../orchestrator/agents/agent-directory.ts'

type AgentConfig = Pick<PolyphonyConfig, 'agents' | 'providers' | 'simulator'>

/** The agents of a configuration: its own, and the built-in roles with the fields that it overrides. */
export function createAgents(config: AgentConfig): OpenAgentDirectory {
  const initial = new Map<string, Omit<NewAgent, 'id'>>(Object.entries(BUILT_IN_ROLES))
  for (const [id, agent] of Object.entries(config.agents)) initial.set(id, { ...initial.get(id), ...agent })
  return createAgentDirectory({ initial, defaultTarget: findDefaultTarget(config), defaultTargetRemedy: REMEDY })
}

const REMEDY = `${DEFAULT_TARGET_REMEDY} in agents.<agent>.model, or start with --simulate`

/** The default model of the accounts that have a key, or that of the simulator. */
function findDefaultTarget({ providers, simulator }: AgentConfig): Target | undefined {
  const usable = Object.entries(providers).flatMap(([id, account]) => {
    if (isPluggedProvider(account)) return [{ id, vendor: account.vendor }]
    if (account.kind === 'http' || !account.active) return []
    const hasKey = account.apiKey !== undefined || (account.apiKeys?.length ?? 0) > 0
    return hasKey ? [{ id, vendor: account.preset ?? account.kind ?? id }] : []
  })
  return defaultTargetOf(usable) ?? (simulator ? defaultModel('openai') : undefined)
}

import { DEFAULT_MODELS } from '../../templates/default-models.ts'
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
  return createAgentDirectory({ initial, defaultTarget: findDefaultTarget(config), defaultTargetRemedy: DEFAULT_TARGET_REMEDY })
}

const DEFAULT_TARGET_REMEDY =
  'set OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY, name a model of any other provider in agents.<agent>.model, or start with --simulate'

/**
 * The strong model of the first account with a key, in the order of the table of default models. An account of another
 * vendor has no model that is known to suit every key, so agents must name one there.
 */
function findDefaultTarget({ providers, simulator }: AgentConfig): Target | undefined {
  const usable = Object.entries(providers).flatMap(([id, account]) => {
    if (isPluggedProvider(account)) return [{ id, kind: id }]
    if (account.kind === 'http' || !account.active) return []
    const hasKey = account.apiKey !== undefined || (account.apiKeys?.length ?? 0) > 0
    return hasKey ? [{ id, kind: account.kind ?? id }] : []
  })
  for (const [kind, { strong }] of Object.entries(DEFAULT_MODELS)) {
    const account = usable.find((candidate) => candidate.id === kind) ?? usable.find((candidate) => candidate.kind === kind)
    if (account) return { provider: account.id, model: strong }
  }
  return simulator ? { provider: 'openai', model: DEFAULT_MODELS.openai.strong } : undefined
}

import { DEFAULT_TARGET_REMEDY, defaultTargetOf } from '../../../templates/default-models.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Agent } from './agent.ts'
import type { OpenPolyphony } from './open-polyphony.ts'

/**
 * `provider/model` of an agent, or of steps without one: the agent's own, or the default model. A name without a
 * provider is a model of the provider of the default model. Throws CONFIG_INVALID without a default model.
 */
export function modelOf(agent: Agent | undefined, { providers }: Pick<OpenPolyphony, 'providers'>): string {
  if (agent?.model?.includes('/')) return agent.model
  const active = providers.list().filter(({ active }) => active)
  const target = defaultTargetOf(active)
  if (target) return `${target.provider}/${agent?.model ?? target.model}`
  const subject = agent ? `Agent "${agent.id}"` : 'A step without an agent'
  const known = active.map(({ id }) => id).join(', ') || 'none'
  throw new OrchestratorError(
    'CONFIG_INVALID',
    `${subject}: expected a provider with a default model (configured: ${known}): ${DEFAULT_TARGET_REMEDY}`,
  )
}

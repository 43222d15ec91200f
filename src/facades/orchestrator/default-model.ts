import { DEFAULT_MODELS, type DefaultProvider } from '../../../templates/default-models.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { Agent } from './agent.ts'
import type { OpenPolyphony } from './open-polyphony.ts'

/** Vendors with a default model, in the order in which they are preferred. */
const PREFERRED: readonly DefaultProvider[] = ['openai', 'anthropic', 'google']

/**
 * `provider/model` of an agent, or of steps without one: the agent's own, or the default model of the first provider
 * that has one. Throws CONFIG_INVALID.
 */
export function modelOf(agent: Agent | undefined, { providers }: Pick<OpenPolyphony, 'providers'>): string {
  if (agent?.model?.includes('/')) return agent.model
  const active = providers.list().filter(({ active }) => active)
  const provider = PREFERRED.map((vendor) => active.find((info) => info.id === vendor || info.kind === vendor)).find(Boolean)
  if (provider && agent?.model !== undefined) return `${provider.id}/${agent.model}`
  const vendor = PREFERRED.find((known) => known === provider?.id || known === provider?.kind)
  if (provider && vendor) return `${provider.id}/${DEFAULT_MODELS[vendor].strong}`
  const subject = agent ? `Agent "${agent.id}"` : 'A step without an agent'
  const known = active.map(({ id }) => id).join(', ') || 'none'
  throw new OrchestratorError(
    'CONFIG_INVALID',
    `${subject}: expected model as "provider/model", since no provider has a default model (configured: ${known})`,
  )
}

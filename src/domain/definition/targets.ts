import { type AgentPreset, type AgentPresets, chooseAgent, hasCapabilities, knownCapabilities } from '../agents/agent.ts'
import type { DefinitionProblem, Target } from './flow-definition.ts'
import { findSuggestion, quoted } from './suggestion.ts'

/** A provider and model in a definition: two fields, or one as `provider/model`. */
export interface TargetInput {
  readonly provider?: string | undefined
  readonly model?: string | undefined
}

export interface TargetsInput extends TargetInput {
  readonly id?: string | undefined
  readonly agent?: string | undefined
  readonly needs?: readonly string[] | undefined
  readonly fallbacks?: readonly TargetInput[] | undefined
}

export interface ResolvedTargets extends Target {
  readonly fallbacks: readonly Target[]
  readonly preset: AgentPreset | undefined
  /** The agent that the step names, or that was chosen for what it needs. */
  readonly agent?: string | undefined
}

/**
 * Resolves the provider, model and fallbacks of a step. If one is missing, returns `undefined` and adds a problem,
 * unless the same field already has one.
 */
export function resolveTargets(
  step: TargetsInput,
  path: string,
  agents: AgentPresets,
  problems: DefinitionProblem[],
): ResolvedTargets | undefined {
  const fields = [path, `${path}.provider`, `${path}.model`, `${path}.agent`, `${path}.needs`]
  if (problems.some((problem) => fields.includes(problem.path))) return undefined
  const found = findAgent(step, path, agents)
  if ('message' in found) {
    problems.push(found)
    return undefined
  }
  const { agent, preset } = found
  const target = complete(splitTarget(step), preset ? targetOf(preset, agents) : {})
  if (typeof target === 'string') {
    const message = hasNoTarget(step) && preset && hasNoTarget(preset) ? noDefaultTarget(agent, agents) : target
    problems.push({ path: `${path}.model`, message })
    return undefined
  }
  const fallbacks: Target[] = []
  for (const [index, given] of (step.fallbacks ?? []).entries()) {
    const fallback = complete(splitTarget(given), { provider: target.provider })
    if (typeof fallback === 'string') problems.push({ path: `${path}.fallbacks[${index}].model`, message: fallback })
    else fallbacks.push(fallback)
  }
  return { ...target, fallbacks, preset, agent }
}

interface FoundAgent {
  readonly agent?: string | undefined
  readonly preset?: AgentPreset | undefined
}

/** The agent that the step names or that has what it needs, or the problem with its fields. */
function findAgent(
  { id = '', agent, needs = [] }: TargetsInput,
  path: string,
  agents: AgentPresets,
): FoundAgent | DefinitionProblem {
  const known = needs.length > 0 ? knownCapabilities(agents) : []
  const unknown = needs.find((need) => !known.includes(need))
  if (unknown !== undefined) {
    const suggestion = findSuggestion(unknown, known)
    const names = known.length > 0 ? known.map(quoted).join(', ') : 'none'
    return {
      path: `${path}.needs`,
      message: `no agent has the capability ${quoted(unknown)}; known: ${names}`,
      ...(suggestion !== undefined && { suggestion }),
    }
  }
  const wanted = needs.map(quoted).join(', ')
  if (agent === undefined) {
    if (needs.length === 0) return {}
    const chosen = chooseAgent(agents, needs, `${id} ${needs.join(' ')}`)
    if (chosen === undefined) return { path: `${path}.needs`, message: `no single agent has all of the capabilities ${wanted}` }
    return { agent: chosen, preset: agents.byId.get(chosen) }
  }
  const preset = agents.byId.get(agent)
  if (!preset) {
    const suggestion = findSuggestion(agent, agents.byId.keys())
    return { path: `${path}.agent`, message: `no agent ${quoted(agent)}`, ...(suggestion !== undefined && { suggestion }) }
  }
  if (hasCapabilities(preset, needs)) return { agent, preset }
  return { path: `${path}.needs`, message: `agent ${quoted(agent)} does not have all of the capabilities ${wanted}` }
}

/** Provider and model of an agent, or the default ones if it names neither. */
const targetOf = (preset: AgentPreset, { defaultTarget }: AgentPresets): TargetInput =>
  hasNoTarget(preset) && defaultTarget ? defaultTarget : splitTarget(preset)

const hasNoTarget = ({ provider, model }: TargetInput): boolean => provider === undefined && model === undefined

const noDefaultTarget = (agent = '', { defaultTargetRemedy }: AgentPresets): string =>
  `expected a model for agent ${quoted(agent)}, which names none, but there is no default model${defaultTargetRemedy ? `: ${defaultTargetRemedy}` : ''}`

/**
 * With a provider, the model is used unchanged and may contain slashes. Without one, it is split at its first slash.
 */
function splitTarget({ provider, model }: TargetInput): TargetInput {
  const slash = provider === undefined && model !== undefined ? model.indexOf('/') : -1
  return slash === -1 ? { provider, model } : { provider: model?.slice(0, slash), model: model?.slice(slash + 1) }
}

function complete(own: TargetInput, defaults: TargetInput): Target | string {
  const provider = own.provider ?? defaults.provider
  const model = own.model ?? defaults.model
  if (provider && model) return { provider, model }
  if (provider === '' || model === '') return 'expected text on both sides of the first slash of "provider/model"'
  if (model) return `expected a provider beside model ${quoted(model)}, or both as "provider/model"`
  return provider
    ? `expected a model of provider ${quoted(provider)}`
    : 'expected a provider and a model, or an agent that gives them'
}

import type { DefinitionProblem, StepSettings, Target } from './flow-definition.ts'
import { findSuggestion, quoted } from './suggestion.ts'

/** A named preset of the configuration: defaults for the steps that refer to it. */
export interface AgentPreset {
  readonly provider?: string
  /** The name alone, or `provider/model`, which is split at the first slash. */
  readonly model?: string
  /** System prompt. */
  readonly system?: string
  readonly settings?: StepSettings
}

/** A provider and model in a definition: two fields, or one as `provider/model`. */
export interface TargetInput {
  readonly provider?: string | undefined
  readonly model?: string | undefined
}

export interface TargetsInput extends TargetInput {
  readonly agent?: string | undefined
  readonly fallbacks?: readonly TargetInput[] | undefined
}

export interface ResolvedTargets extends Target {
  readonly fallbacks: readonly Target[]
  readonly preset: AgentPreset | undefined
}

/**
 * Resolves the provider, model and fallbacks of a step. If one is missing, returns `undefined` and adds a problem,
 * unless the same field already has one.
 */
export function resolveTargets(
  step: TargetsInput,
  path: string,
  agents: ReadonlyMap<string, AgentPreset>,
  problems: DefinitionProblem[],
): ResolvedTargets | undefined {
  const fields = [path, `${path}.provider`, `${path}.model`, `${path}.agent`]
  if (problems.some((problem) => fields.includes(problem.path))) return undefined
  const preset = step.agent === undefined ? undefined : agents.get(step.agent)
  if (step.agent !== undefined && !preset) {
    const suggestion = findSuggestion(step.agent, agents.keys())
    problems.push({
      path: `${path}.agent`,
      message: `no agent ${quoted(step.agent)}`,
      ...(suggestion !== undefined && { suggestion }),
    })
    return undefined
  }
  const target = complete(splitTarget(step), preset ? splitTarget(preset) : {})
  if (typeof target === 'string') {
    problems.push({ path: `${path}.model`, message: target })
    return undefined
  }
  const fallbacks: Target[] = []
  for (const [index, given] of (step.fallbacks ?? []).entries()) {
    const fallback = complete(splitTarget(given), { provider: target.provider })
    if (typeof fallback === 'string') problems.push({ path: `${path}.fallbacks[${index}].model`, message: fallback })
    else fallbacks.push(fallback)
  }
  return { ...target, fallbacks, preset }
}

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

import type { DefinitionProblem, FlowDefinition, FlowDefinitionInput, FlowStep } from '../../domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { CallRange, Executor } from '../../executors/executor.ts'
import type { DataSharingService, DecideSharing } from '../../policies/policy.ts'
import { stepReferences } from '../../prompts/step-references.ts'
import type { TokenCounter } from '../../prompts/token-count.ts'
import type { ModelNames, NamedProvider, PriceBook, ProviderService } from '../../providers/provider.ts'
import type { FlowFinding } from './flow-finding.ts'
import { joinFindings } from './join-findings.ts'
import { modelFindings } from './model-findings.ts'
import { stepSources } from './step-sources.ts'

/** Answer of checkFlow. Costs are estimates in US dollars: `low` takes short answers and the fewest calls, `high` every answer at its maxTokens and the most calls. */
export interface FlowCheck {
  /** True when nothing would stop the run. */
  readonly ok: boolean
  readonly problems: readonly FlowFinding[]
  readonly warnings: readonly FlowFinding[]
  readonly calls: { readonly min: number; readonly max: number }
  readonly cost: { readonly lowUsd: number; readonly highUsd: number; readonly unpriced: readonly string[] }
}

export interface CheckFlowDeps {
  readonly parser: { parse(input: unknown): FlowDefinition }
  readonly executors: Readonly<Record<string, Executor>>
  readonly providers: ProviderService
  readonly prices: PriceBook
  readonly dataSharing: DataSharingService
  readonly decideSharing: DecideSharing
  readonly tokens: TokenCounter
  readonly modelNames: ModelNames
  readonly pricingOf: (provider: string) => NamedProvider
}

export type CheckFlow = (definition: FlowDefinitionInput, userId: string) => Promise<FlowCheck>

/** Output of a call that names no bound, and of a short answer. */
const DEFAULT_MAX_TOKENS = 4_096
const SHORT_ANSWER_TOKENS = 200

/** Everything knowable before the first call. */
export function createCheckFlow(deps: CheckFlowDeps): CheckFlow {
  return async (input, userId) => {
    let definition: FlowDefinition
    try {
      definition = deps.parser.parse(input)
    } catch (error) {
      return {
        ok: false,
        problems: definitionProblems(error),
        warnings: [],
        calls: { min: 0, max: 0 },
        cost: { lowUsd: 0, highUsd: 0, unpriced: [] },
      }
    }
    const ranges = new Map(deps.executors[definition.type]?.calls(definition).map((range) => [range.stepId, range]))
    const providers = providerFindings(deps, definition)
    const sharing = await sharingFindings(deps, definition, userId)
    const cost = await costRange(deps, definition, ranges)
    const limits = limitFindings(definition, cost)
    const joins = joinFindings(definition)
    const models = await modelFindings(deps, definition)
    const problems = [...joins.problems, ...providers.problems, ...sharing.problems, ...limits.problems]
    const warnings = [...joins.warnings, ...providers.warnings, ...models, ...sharing.warnings, ...limits.warnings]
    const calls = [...ranges.values()].reduce((sum, { min, max }) => ({ min: sum.min + min, max: sum.max + max }), {
      min: 0,
      max: 0,
    })
    return { ok: problems.length === 0, problems, warnings, calls, cost }
  }
}

interface Findings {
  readonly problems: FlowFinding[]
  readonly warnings: FlowFinding[]
}

function definitionProblems(error: unknown): readonly FlowFinding[] {
  if (!OrchestratorError.is(error) || error.code !== 'FLOW_INVALID') throw error
  const found = error.details.problems
  const problems: readonly DefinitionProblem[] | undefined = Array.isArray(found) ? found : undefined
  if (!problems) return [{ code: 'FLOW_INVALID', path: '', message: error.message, details: {} }]
  return problems.map(({ path, message, suggestion }) => ({
    code: 'FLOW_INVALID',
    path,
    message,
    details: suggestion ? { suggestion } : {},
  }))
}

function providerFindings({ providers }: CheckFlowDeps, { steps }: FlowDefinition): Findings {
  const findings: Findings = { problems: [], warnings: [] }
  steps.forEach((step, index) => {
    const problem = usability(providers, step.provider, `steps[${index}].provider`)
    if (problem) findings.problems.push(problem)
    step.fallbacks.forEach((fallback, position) => {
      const warning = usability(providers, fallback.provider, `steps[${index}].fallbacks[${position}]`)
      if (warning) findings.warnings.push(warning)
    })
  })
  return findings
}

function usability(providers: ProviderService, id: string, path: string): FlowFinding | undefined {
  try {
    providers.assertUsable(id)
    return undefined
  } catch (error) {
    const { code, message, details } = OrchestratorError.from(error)
    return { code, path, message, details }
  }
}

/** Judges what each step would be given, from the definition alone. Prompt functions are judged when they run. */
async function sharingFindings(deps: CheckFlowDeps, definition: FlowDefinition, userId: string): Promise<Findings> {
  const findings: Findings = { problems: [], warnings: [] }
  if (!definition.contextPolicy.shareStepOutputs) return findings
  const executor = deps.executors[definition.type] ?? {}
  for (const [index, step] of definition.steps.entries()) {
    const policy = await deps.dataSharing.get(userId, step.provider)
    for (const { source, isRequired, isStandIn } of stepSources(definition, executor, step)) {
      if (!isRequired && (isStandIn || !showsInput(step))) continue
      const decision = deps.decideSharing({ kind: 'step_output', name: source.id, from: source.provider }, step.provider, policy)
      if (decision.allowed) continue
      const finding: FlowFinding = {
        code: 'DATA_SHARING_DENIED',
        path: `steps[${index}]`,
        message: `step "${step.id}" ${isRequired ? 'needs' : 'would be given'} the output of "${source.id}" (${source.provider}), which may not go to ${step.provider}: ${decision.rule}`,
        details: {
          stepId: step.id,
          piece: source.id,
          kind: 'step_output',
          from: source.provider,
          to: step.provider,
          rule: decision.rule,
          userId,
        },
      }
      ;(isRequired ? findings.problems : findings.warnings).push(finding)
    }
    if (definition.contextPolicy.shareConversationHistory && !policy?.allowConversationHistory) {
      findings.warnings.push({
        code: 'DATA_SHARING_DENIED',
        path: 'contextPolicy.shareConversationHistory',
        message: `the conversation will be withheld from ${step.provider} in step "${step.id}"`,
        details: {
          stepId: step.id,
          kind: 'conversation_history',
          to: step.provider,
          rule: policy ? 'allowConversationHistory' : 'no_policy',
          userId,
        },
      })
    }
  }
  return findings
}

/** A prompt that is complete in itself is given no output by position alone. */
const showsInput = (step: FlowStep): boolean =>
  step.inputFrom !== undefined ||
  step.dependsOn !== undefined ||
  (step.prompt !== 'original' && typeof step.prompt !== 'function' && stepReferences(step).steps.length === 0)

async function costRange(
  deps: CheckFlowDeps,
  definition: FlowDefinition,
  ranges: ReadonlyMap<string, CallRange>,
): Promise<FlowCheck['cost']> {
  let lowUsd = 0
  let highUsd = 0
  const unpriced = new Set<string>()
  let upstreamTokens = 0
  for (const step of definition.steps) {
    const own = await ownTokens(deps, definition, step)
    const maxTokens = step.settings?.maxTokens ?? DEFAULT_MAX_TOKENS
    const { min, max } = ranges.get(step.id) ?? { min: 1, max: 1 }
    const samples = step.samples ?? 1
    const provider = deps.pricingOf(step.provider)
    const low = await deps.prices.worstCase(provider, step.model, own, Math.min(maxTokens, SHORT_ANSWER_TOKENS))
    const high = await deps.prices.worstCase(
      provider,
      step.model,
      own + Math.min(upstreamTokens, definition.contextPolicy.maxSharedTokens),
      maxTokens,
    )
    if (low === undefined || high === undefined) {
      if (!provider.simulated) unpriced.add(`${step.provider}/${step.model}`)
    } else {
      lowUsd += low * min * samples
      highUsd += high * max * samples
    }
    upstreamTokens += maxTokens
  }
  return { lowUsd, highUsd, unpriced: [...unpriced] }
}

async function ownTokens({ tokens, pricingOf }: CheckFlowDeps, definition: FlowDefinition, step: FlowStep): Promise<number> {
  const { vendor } = pricingOf(step.provider)
  const texts = [step.prompt, step.system, definition.input].filter((text) => typeof text === 'string')
  let sum = 0
  for (const text of texts) sum += await tokens.count(text, vendor, step.model)
  return sum
}

function limitFindings(definition: FlowDefinition, cost: FlowCheck['cost']): Findings {
  const findings: Findings = { problems: [], warnings: [] }
  const max = definition.limits?.maxCostUsd
  if (max === undefined) return findings
  const details = { limit: 'maxCostUsd', max, lowUsd: cost.lowUsd, highUsd: cost.highUsd }
  const add = (list: FlowFinding[], message: string) =>
    list.push({ code: 'LIMIT_EXCEEDED', path: 'limits.maxCostUsd', message, details })
  if (cost.unpriced.length > 0) add(findings.problems, `a cost limit needs prices; there is none for ${cost.unpriced.join(', ')}`)
  if (cost.lowUsd > max) add(findings.problems, `even short answers cost about $${cost.lowUsd.toFixed(4)}, the limit is $${max}`)
  else if (cost.highUsd > max)
    add(findings.warnings, `long answers may cost up to $${cost.highUsd.toFixed(4)}, the limit is $${max}`)
  return findings
}

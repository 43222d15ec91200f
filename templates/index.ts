import type { WritableFlowDefinition } from '../src/domain/definition/flow-definition.ts'
import { findSuggestion, withSuggestion } from '../src/domain/definition/suggestion.ts'
import { OrchestratorError } from '../src/errors/orchestrator-error.ts'
import { analysisTemplate, createSequentialAnalysisFlow } from './analysis.ts'
import { comparisonTemplate, createComparisonFlow } from './comparison.ts'
import { consensusTemplate, createConsensusFlow } from './consensus.ts'
import { createCritiqueFlow, critiqueTemplate } from './critique.ts'
import { createDevelopmentFlow, developmentTemplate } from './development.ts'
import { createQualityAssuranceFlow, qaTemplate } from './qa.ts'
import { createRefinementFlow, refinementTemplate } from './refinement.ts'
import { createResearchFlow, researchTemplate } from './research.ts'
import { createConditionalRoutingFlow, routingTemplate } from './routing.ts'
import type { TemplateFacts } from './template.ts'

export type { AnalysisOptions } from './analysis.ts'
export type { ComparisonOptions } from './comparison.ts'
export type { ConsensusOptions } from './consensus.ts'
export type { CritiqueOptions } from './critique.ts'
export { DEFAULT_MODELS } from './default-models.ts'
export type { DevelopmentOptions } from './development.ts'
export type { QualityAssuranceOptions } from './qa.ts'
export type { RefinementOptions } from './refinement.ts'
export type { ResearchOptions } from './research.ts'
export type { RoutingOptions } from './routing.ts'
export type { ModelChoice, TemplateFacts, TemplateParameter } from './template.ts'
export {
  createComparisonFlow,
  createConditionalRoutingFlow,
  createConsensusFlow,
  createCritiqueFlow,
  createDevelopmentFlow,
  createQualityAssuranceFlow,
  createRefinementFlow,
  createResearchFlow,
  createSequentialAnalysisFlow,
}

/** The registry: every template with its function. Names, facts, lists, checks and tests derive from it. */
const registry = [
  { template: critiqueTemplate, create: createCritiqueFlow },
  { template: comparisonTemplate, create: createComparisonFlow },
  { template: refinementTemplate, create: createRefinementFlow },
  { template: analysisTemplate, create: createSequentialAnalysisFlow },
  { template: routingTemplate, create: createConditionalRoutingFlow },
  { template: consensusTemplate, create: createConsensusFlow },
  { template: qaTemplate, create: createQualityAssuranceFlow },
  { template: researchTemplate, create: createResearchFlow },
  { template: developmentTemplate, create: createDevelopmentFlow },
] as const

type Entry = (typeof registry)[number]
export type FlowTemplateName = Entry['template']['name']
type FlowTemplates = {
  readonly [Name in FlowTemplateName]: Extract<Entry, { readonly template: { readonly name: Name } }>['create']
}

/** The functions of the templates by name. Each takes positional arguments, one options object, or nothing. */
export const flowTemplates = functionsByName(registry)

function functionsByName(entries: typeof registry): FlowTemplates
function functionsByName(entries: readonly Entry[]): Readonly<Record<string, Entry['create']>> {
  return Object.fromEntries(entries.map(({ template, create }) => [template.name, create]))
}

/**
 * The definition of the template with this name; the other arguments are those of the template's own function. Throws
 * TEMPLATE_NOT_FOUND, with a suggestion if a name is close, and INPUT_INVALID for wrong options.
 *
 * ```ts
 * import { getFlowTemplate } from 'polyphony/flow-templates'
 *
 * const definition = getFlowTemplate('critique', { rounds: 2 })
 * ```
 */
export function getFlowTemplate<Name extends FlowTemplateName>(
  name: Name,
  ...options: Parameters<FlowTemplates[Name]>
): WritableFlowDefinition
export function getFlowTemplate(name: string, ...options: unknown[]): WritableFlowDefinition
export function getFlowTemplate(name: string, ...options: unknown[]): WritableFlowDefinition {
  const entry = registry.find(({ template }) => template.name === name)
  if (!entry) throw templateNotFound(name)
  return Reflect.apply(entry.create, undefined, options)
}

function templateNotFound(name: string): OrchestratorError {
  const names = registry.map(({ template }) => template.name)
  const suggestion = findSuggestion(name, names)
  return new OrchestratorError(
    'TEMPLATE_NOT_FOUND',
    withSuggestion(`no template "${name}" among ${names.join(', ')}`, suggestion),
    { details: { name, known: names, ...(suggestion && { suggestion }) } },
  )
}

/**
 * Name, title, description, example and parameters of every template, as plain data for the command line and the
 * server.
 */
export const listFlowTemplates = (): readonly TemplateFacts[] =>
  registry.map(({ template: { name, title, description, example, type, parameters } }) => {
    return { name, title, description, example, type, parameters }
  })

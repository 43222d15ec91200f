import type { WritableFlowDefinition } from '../src/domain/definition/flow-definition.ts'
import { findSuggestion, withSuggestion } from '../src/domain/definition/suggestion.ts'
import { OrchestratorError } from '../src/errors/orchestrator-error.ts'
import { analysisTemplate, createSequentialAnalysisFlow } from './analysis.ts'
import { comparisonTemplate, createComparisonFlow } from './comparison.ts'
import { consensusTemplate, createConsensusFlow } from './consensus.ts'
import { createCritiqueFlow, critiqueTemplate } from './critique.ts'
import { createQualityAssuranceFlow, qaTemplate } from './qa.ts'
import { createRefinementFlow, refinementTemplate } from './refinement.ts'
import { createConditionalRoutingFlow, routingTemplate } from './routing.ts'
import type { TemplateFacts } from './template.ts'

export type { AnalysisOptions } from './analysis.ts'
export type { ComparisonOptions } from './comparison.ts'
export type { ConsensusOptions } from './consensus.ts'
export type { CritiqueOptions } from './critique.ts'
export { DEFAULT_MODELS } from './default-models.ts'
export type { QualityAssuranceOptions } from './qa.ts'
export type { RefinementOptions } from './refinement.ts'
export type { RoutingOptions } from './routing.ts'
export type { ModelChoice, TemplateFacts, TemplateParameter } from './template.ts'
export {
  createComparisonFlow,
  createConditionalRoutingFlow,
  createConsensusFlow,
  createCritiqueFlow,
  createQualityAssuranceFlow,
  createRefinementFlow,
  createSequentialAnalysisFlow,
}

/** The ready-made flows by name. Each takes positional arguments, one options object, or nothing. */
export const flowTemplates = {
  critique: createCritiqueFlow,
  comparison: createComparisonFlow,
  refinement: createRefinementFlow,
  analysis: createSequentialAnalysisFlow,
  routing: createConditionalRoutingFlow,
  consensus: createConsensusFlow,
  qa: createQualityAssuranceFlow,
} as const

export type FlowTemplateName = keyof typeof flowTemplates

/** The ready-made flow of that name, with the arguments of its own function. Throws TEMPLATE_NOT_FOUND with a suggestion. */
export function getFlowTemplate<Name extends FlowTemplateName>(
  name: Name,
  ...options: Parameters<(typeof flowTemplates)[Name]>
): WritableFlowDefinition
export function getFlowTemplate(name: string, ...options: unknown[]): WritableFlowDefinition
export function getFlowTemplate(name: string, ...options: unknown[]): WritableFlowDefinition {
  const create = Object.entries(flowTemplates).find(([known]) => known === name)?.[1]
  if (!create) throw templateNotFound(name)
  return Reflect.apply(create, undefined, options)
}

function templateNotFound(name: string): OrchestratorError {
  const names = Object.keys(flowTemplates)
  const suggestion = findSuggestion(name, names)
  return new OrchestratorError(
    'TEMPLATE_NOT_FOUND',
    withSuggestion(`no template "${name}" among ${names.join(', ')}`, suggestion),
    {
      details: { name, known: names, ...(suggestion && { suggestion }) },
    },
  )
}

/** What there is to choose from, for the command line and the server: plain data. */
export const listFlowTemplates = (): readonly TemplateFacts[] =>
  [
    critiqueTemplate,
    comparisonTemplate,
    refinementTemplate,
    analysisTemplate,
    routingTemplate,
    consensusTemplate,
    qaTemplate,
  ].map(({ name, title, description, example, type, parameters }) => ({ name, title, description, example, type, parameters }))

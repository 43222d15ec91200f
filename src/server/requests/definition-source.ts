import { getFlowTemplate, listFlowTemplates, type TemplateFacts } from '../../../templates/index.ts'
import type { FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

export interface DefinitionRequest {
  readonly definition?: FlowDefinitionInput
  readonly template?: string
  readonly parameters?: Readonly<Record<string, unknown>>
}

/**
 * The definition of a request: given as data, or built from a template and its parameters. Throws TEMPLATE_NOT_FOUND,
 * and INPUT_INVALID for invalid parameters.
 */
export function toDefinition({ definition, template, parameters = {} }: DefinitionRequest): FlowDefinitionInput {
  if (template !== undefined) return getFlowTemplate(template, parameters)
  if (definition) return definition
  throw new OrchestratorError('INPUT_INVALID', 'expected either `definition` or `template`')
}

/** The facts of a template. Throws TEMPLATE_NOT_FOUND with a suggestion. */
export function getTemplateFacts(name: string): TemplateFacts {
  const facts = listFlowTemplates().find((template) => template.name === name)
  if (facts) return facts
  getFlowTemplate(name)
  throw new OrchestratorError('TEMPLATE_NOT_FOUND', `no template "${name}"`)
}

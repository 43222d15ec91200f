import type * as z from 'zod'
import { definitionSource } from '../../protocol/flow.ts'

/** Argument of tools: parameters of a template. */
export const parameters = definitionSource.parameters.describe(
  'Parameters of the template, as describe_template lists them; models as "provider/model"',
)

/** Arguments of tools: a template with its parameters, or a definition. */
export const source = {
  template: definitionSource.template.describe('A name of list_templates; leave out `definition` then'),
  parameters,
  definition: definitionSource.definition.meta({
    type: 'object',
    description:
      'A flow of your own as data, instead of a template: {name, type, steps: [{id, model: "provider/model", action, prompt}]}. Prompts are Liquid templates over {{ original }}, {{ previous }} and {{ steps.<id>.output }}; describe_template shows a whole one',
  }),
}

interface Source {
  readonly definition?: unknown
  readonly template?: unknown
  readonly parameters?: unknown
}

/** Requires either a template or a definition, and refuses parameters without a template. */
export const oneSource = <Schema extends z.ZodType<Source>>(schema: Schema) =>
  schema
    .refine(
      ({ definition, template }) => (definition === undefined) !== (template === undefined),
      'expected either `template` or `definition`',
    )
    .refine(
      ({ template, parameters: given }) => given === undefined || template !== undefined,
      'expected `parameters` only with `template`',
    )

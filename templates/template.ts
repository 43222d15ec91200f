import * as z from 'zod'
import type { DefinitionProblem, Target, WritableFlowDefinition } from '../src/domain/definition/flow-definition.ts'
import { toProblems } from '../src/domain/definition/problems.ts'
import { withSuggestion } from '../src/domain/definition/suggestion.ts'
import type { FlowType } from '../src/domain/vocabulary.ts'
import { OrchestratorError } from '../src/errors/orchestrator-error.ts'

/**
 * Kind of value that a parameter takes, for forms and `--set key=value`. A model may be written as `provider/model`.
 */
export type TemplateParameterType = 'model' | 'models' | 'integer' | 'number' | 'text'

export interface TemplateParameter {
  readonly name: string
  readonly type: TemplateParameterType
  readonly description: string
  /** Value of a parameter that is not given; absent if the template derives it from the others. */
  readonly default?: unknown
}

/** Describes a template to its users. Plain data, safe to send to clients. */
export interface TemplateFacts<Name extends string = string> {
  readonly name: Name
  readonly title: string
  readonly description: string
  /** A prompt that shows what the template does; the simulator has scripted answers for it. */
  readonly example: string
  readonly type: FlowType
  readonly parameters: readonly TemplateParameter[]
}

/** A template: its description, and a function from options to a definition. */
export interface FlowTemplate<Options, Name extends string = string> extends TemplateFacts<Name> {
  /** Returns a new definition, pure data. Throws INPUT_INVALID with the path of every wrong parameter. */
  create(options?: Options): WritableFlowDefinition
}

type ParameterShape = Readonly<Record<string, z.ZodType>>
type ParameterSchema<Shape extends ParameterShape> = z.ZodObject<Shape, z.core.$strict>

interface TemplatePlan<Shape extends ParameterShape, Name extends string> extends Omit<TemplateFacts<Name>, 'parameters'> {
  /** One schema for each parameter, wrapped in `parameter()`. */
  readonly parameters: Shape
  /** Returns the definition without name, description and type. Receives parsed options, defaults included. */
  build(options: z.output<ParameterSchema<Shape>>): Omit<WritableFlowDefinition, 'name' | 'description' | 'type'>
}

/**
 * Defines a template. The names of the parameters become the options of `create`, and their schemas check the values.
 *
 * ```ts
 * import { defaultModel } from './default-models.ts'
 * import { defineTemplate, modelChoice, parameter } from './template.ts'
 *
 * export const haikuTemplate = defineTemplate({
 *   name: 'haiku',
 *   title: 'A haiku',
 *   description: 'One model writes a haiku.',
 *   example: 'Rain',
 *   type: 'sequential',
 *   parameters: { poet: parameter(modelChoice.default(defaultModel('openai')), 'model', 'Writes the haiku.') },
 *   build: ({ poet }) => ({ steps: [{ id: 'haiku', ...poet, action: 'generate', prompt: 'original' }] }),
 * })
 * ```
 */
export function defineTemplate<Shape extends ParameterShape, const Name extends string>(
  plan: TemplatePlan<Shape, Name>,
): FlowTemplate<z.input<ParameterSchema<Shape>>, Name> {
  const { name, title, description, example, type, build } = plan
  const schema = z.strictObject(plan.parameters)
  return {
    name,
    title,
    description,
    example,
    type,
    parameters: Object.entries(plan.parameters).map(([key, value]) => toParameter(key, value)),
    create(options) {
      const parsed = schema.safeParse(options ?? {})
      if (!parsed.success) throw invalidOptions(name, schema, parsed.error, options)
      return { name, description, type, ...build(parsed.data) }
    },
  }
}

const parameterFacts = z.registry<Pick<TemplateParameter, 'type' | 'description'>>()

/**
 * Attaches the kind and the description of a parameter to its schema. Must wrap the outermost schema, default included.
 */
export const parameter = <Schema extends z.ZodType>(schema: Schema, type: TemplateParameterType, description: string): Schema => {
  parameterFacts.add(schema, { type, description })
  return schema
}

function toParameter(name: string, schema: z.ZodType): TemplateParameter {
  const facts = parameterFacts.get(schema) ?? { type: 'text', description: '' }
  const byDefault = schema.safeParse(undefined).data
  return { name, ...facts, ...(byDefault === undefined ? {} : { default: byDefault }) }
}

function invalidOptions(name: string, schema: z.ZodType, error: z.ZodError, options: unknown): OrchestratorError {
  const problems = error.issues.flatMap((issue) => {
    // The message of a union names what it accepts; the issues of its members would repeat that in fragments.
    const { path, message } = issue
    const whole: z.core.$ZodIssue = issue.code === 'invalid_union' ? { code: 'custom', path, message } : issue
    const found = toProblems(schema, [whole], options)
    return issue.path.length === 0 && issue.code !== 'unrecognized_keys'
      ? found.map((one) => ({ ...one, path: 'options' }))
      : found
  })
  const lines = problems.map(
    ({ path, message, suggestion }: DefinitionProblem) => `${path}: ${withSuggestion(message, suggestion)}`,
  )
  return new OrchestratorError('INPUT_INVALID', `Template "${name}": ${lines.join('; ')}`, {
    details: { template: name, problems },
  })
}

const targetChoice = z.strictObject({ provider: z.string().min(1), model: z.string().min(1) })

/** A model as `{ provider, model }` or as `provider/model`, split at the first slash. */
export const modelChoice = z.union(
  [
    targetChoice,
    z
      .string()
      .regex(/^[^/]+\/.+$/)
      .transform(toTarget),
  ],
  {
    error: 'expected { provider, model } or "provider/model"',
  },
)
export type ModelChoice = z.input<typeof modelChoice>

const asList = z.string().transform((text): ModelChoice[] => text.split(',').map((part) => part.trim()))

/** Between `min` and `max` models: a list, one model, or one comma-separated string. */
export const modelChoices = (min: number, max: number) =>
  z
    .union([z.array(modelChoice), targetChoice.transform((one): Target[] => [one]), asList.pipe(z.array(modelChoice))], {
      error: 'expected a list of models, each { provider, model } or "provider/model"',
    })
    .refine(({ length }) => length >= min && length <= max, `expected ${min} to ${max} models`)

/** Whether the first argument of a template function is a list of models rather than an object with options. */
export const isModelList = (value: unknown): value is readonly ModelChoice[] | string =>
  Array.isArray(value) || typeof value === 'string'

function toTarget(text: string): Target {
  const slash = text.indexOf('/')
  return { provider: text.slice(0, slash), model: text.slice(slash + 1) }
}

/**
 * A model from two positional arguments; `undefined` if neither is given. Half a pair becomes an empty name, which the
 * schema of the options refuses.
 */
export const positionalModel = (provider: string | undefined, model: string | undefined): ModelChoice | undefined =>
  provider === undefined && model === undefined ? undefined : { provider: provider ?? '', model: model ?? '' }

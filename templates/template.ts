import * as z from 'zod'
import type { DefinitionProblem, Target, WritableFlowDefinition } from '../src/domain/definition/flow-definition.ts'
import { toPathText, toProblems } from '../src/domain/definition/problems.ts'
import { withSuggestion } from '../src/domain/definition/suggestion.ts'
import type { FlowType } from '../src/domain/vocabulary.ts'
import { OrchestratorError } from '../src/errors/orchestrator-error.ts'

/** What kind of value a parameter takes, for forms and `--set key=value`. Models may be written `provider/model`. */
export type TemplateParameterType = 'model' | 'models' | 'integer' | 'number' | 'text'

export interface TemplateParameter {
  readonly name: string
  readonly type: TemplateParameterType
  readonly description: string
  /** Value used when the parameter is left out; absent where the template works it out from the others. */
  readonly default?: unknown
}

/** What users see of a template before they use it. Plain data, safe to send to clients. */
export interface TemplateFacts {
  readonly name: string
  readonly title: string
  readonly description: string
  /** A prompt that shows what it does; the simulator has a worked scene for it. */
  readonly example: string
  readonly type: FlowType
  readonly parameters: readonly TemplateParameter[]
}

export interface FlowTemplate<Options> extends TemplateFacts {
  /** A fresh definition, pure data. Throws INPUT_INVALID, naming every parameter that is wrong. */
  create(options?: Options): WritableFlowDefinition
}

type ParameterShape = Readonly<Record<string, z.ZodType>>
type ParameterSchema<Shape extends ParameterShape> = z.ZodObject<Shape, z.core.$strict>

interface TemplatePlan<Shape extends ParameterShape> extends Omit<TemplateFacts, 'parameters'> {
  /** One schema per parameter, each named for people by `parameter`. */
  readonly parameters: Shape
  /** Everything but name, description and type. */
  build(options: z.output<ParameterSchema<Shape>>): Omit<WritableFlowDefinition, 'name' | 'description' | 'type'>
}

export function defineTemplate<Shape extends ParameterShape>(
  plan: TemplatePlan<Shape>,
): FlowTemplate<z.input<ParameterSchema<Shape>>> {
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

/** Says what a parameter is for; goes around the whole schema. */
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
    // A union says what it wants as a whole; its members' own complaints would only confuse.
    if (issue.code === 'invalid_union') return [{ path: toPathText(issue.path), message: issue.message }]
    const found = toProblems(schema, [issue], options)
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

/** Whether a first argument is a list of models and not an object with options. */
export const isPanel = (value: unknown): value is readonly ModelChoice[] | string =>
  Array.isArray(value) || typeof value === 'string'

function toTarget(text: string): Target {
  const slash = text.indexOf('/')
  return { provider: text.slice(0, slash), model: text.slice(slash + 1) }
}

/** A model given as two positional arguments; neither given: the default. Half a pair is refused with the rest of the options. */
export const positionalModel = (provider: string | undefined, model: string | undefined): ModelChoice | undefined =>
  provider === undefined && model === undefined ? undefined : { provider: provider ?? '', model: model ?? '' }

/** Letters that stand for authors wherever one model reads the texts of several. */
const ANONYMOUS_LABELS = ['A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J'] as const

export interface PanelMember extends Target {
  readonly label: string
  /** Step that writes this member's text. */
  readonly stepId: string
}

/** Gives every model of a panel a stable anonymous label, in the order of the list. */
export const labelled = (panel: readonly Target[], stepPrefix: string): readonly PanelMember[] =>
  panel.slice(0, ANONYMOUS_LABELS.length).map((member, index) => {
    const label = ANONYMOUS_LABELS[index] ?? ''
    return { ...member, label, stepId: `${stepPrefix}${label}` }
  })

/** Members that must answer for the panel to go on: at least two, however small the panel. */
export const quorum = z.number().int().min(1).max(10).default(2)

/** What a flow does about members that fail: it goes on while the quorum holds. */
export const panelSettings = (members: readonly PanelMember[], atLeast: number) => ({
  onFailure: 'continue' as const,
  minSuccesses: Math.min(atLeast, members.length),
})

/** Liquid text that shows what the panel wrote, under labels only and fenced as data, and names the members that gave no answer. */
export const anonymousTexts = (members: readonly PanelMember[]): string =>
  members
    .map(({ label, stepId }) => {
      const answer = `Answer ${label}:\n{{ steps.${stepId}.output | fence: "answer ${label}" }}`
      return `{% if steps.${stepId}.output %}${answer}{% else %}Answer ${label} is missing: this member of the panel gave no answer. Say so in your result, and count only the answers that are there.{% endif %}`
    })
    .join('\n\n')

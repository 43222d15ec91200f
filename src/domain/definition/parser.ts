import * as z from 'zod'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { parseOutputSchema } from '../answers/output-schema.ts'
import { deepFreeze } from '../deep-freeze.ts'
import type { JsonSchema } from '../execution/model-call.ts'
import type { FlowType } from '../vocabulary.ts'
import {
  type DefinitionProblem,
  type FlowDefinition,
  type FlowStep,
  flowDefinitionShape,
  type flowStepSchema,
} from './flow-definition.ts'
import { toDefinitionJsonSchema } from './json.ts'
import { definitionError, toProblems } from './problems.ts'
import type { References } from './prompt-scope.ts'
import { findReferenceProblems } from './references.ts'
import { findRuleProblems, salvageDefinition } from './rules.ts'
import { type AgentPreset, type ResolvedTargets, resolveTargets } from './targets.ts'

/** What the parser must know of one flow type; executors fit. */
export interface FlowTypeRules {
  readonly type: FlowType
  /** Schema of the definition's block for this type. */
  readonly settings?: z.ZodType
  /** Name of the block, where it is not the type itself. */
  readonly settingsKey?: string
  /** Steps may name later ones in prompts: a loop comes back to them. */
  readonly forwardReferences?: boolean
  check?(definition: FlowDefinition): readonly DefinitionProblem[]
}

export interface DefinitionParserOptions {
  readonly flowTypes: readonly FlowTypeRules[]
  /** By the name that steps write as `agent`. */
  readonly agents?: Readonly<Record<string, AgentPreset>>
  readonly references: {
    /** What a Liquid template reads. Throws FLOW_INVALID for what can be known to fail. */
    template(source: string): References
    /** The same of a CEL condition. */
    condition(source: string): References
  }
}

export interface DefinitionParser {
  /**
   * The definition, whole, consistent and deeply frozen. Of the input, only functions and zod schemas are kept.
   * Throws FLOW_INVALID with every problem in `details.problems`, whatever the input is.
   */
  parse(input: unknown): FlowDefinition
  /** JSON Schema of a definition as data. */
  jsonSchema(): JsonSchema
}

/** Steps of a definition; as in its schema, but told before each of them is looked at. */
const MAX_STEPS = 500

export function createDefinitionParser({ flowTypes, agents, references }: DefinitionParserOptions): DefinitionParser {
  const rulesByType = new Map(flowTypes.map((rules) => [rules.type, rules]))
  const agentsByName = new Map(Object.entries(agents ?? {}))
  const schema = z.strictObject({ ...flowDefinitionShape, ...settingsBlocks(flowTypes) })

  /** The only part that touches the input: getters and proxies can throw anything here, at any place. */
  const read = (input: unknown) => {
    try {
      assertStepCount(input)
      const shaped = schema.safeParse(input)
      const problems = shaped.success ? [] : toProblems(schema, shaped.error.issues, input)
      return { shaped, problems, known: shaped.success ? shaped.data : salvageDefinition(input) }
    } catch (error) {
      if (OrchestratorError.is(error)) throw error
      throw definitionError([{ path: 'definition', message: 'expected plain data, found something that cannot be read' }])
    }
  }

  const parse = (input: unknown): FlowDefinition => {
    const { shaped, problems, known } = read(input)
    const rules = known.type && rulesByType.get(known.type)
    if (known.type && !rules) problems.push({ path: 'type', message: `no executor runs flow type "${known.type}"` })
    const targets = known.steps.map((step, index) => resolveTargets(step, `steps[${index}]`, agentsByName, problems))
    const schemas = known.steps.map((step, index) => resolveOutputSchema(step.outputSchema, `steps[${index}]`, problems))
    findReferenceProblems(known.steps, problems, {
      ...references,
      forwardReferences: rules?.forwardReferences ?? false,
      shareStepOutputs: known.contextPolicy?.shareStepOutputs ?? true,
    })
    findRuleProblems(known, problems)
    if (!shaped.success || problems.length > 0) throw definitionError(problems)
    const steps = shaped.data.steps.map((step, index) => toStep(step, targets[index], schemas[index]))
    const definition = deepFreeze<FlowDefinition>({ ...shaped.data, steps })
    const typeProblems = rules?.check?.(definition) ?? []
    if (typeProblems.length > 0) throw definitionError(typeProblems)
    return definition
  }

  return { parse, jsonSchema: () => toDefinitionJsonSchema(schema) }
}

function settingsBlocks(flowTypes: readonly FlowTypeRules[]): Record<string, z.ZodType> {
  const blocks: Record<string, z.ZodType> = {}
  for (const { type, settings, settingsKey } of flowTypes) if (settings) blocks[settingsKey ?? type] = settings.optional()
  return blocks
}

function assertStepCount(input: unknown): void {
  if (typeof input !== 'object' || input === null || !('steps' in input) || !Array.isArray(input.steps)) return
  const count = input.steps.length
  if (count > MAX_STEPS)
    throw definitionError([{ path: 'steps', message: `expected at most ${MAX_STEPS} steps, found ${count}` }])
}

function resolveOutputSchema(
  written: ParsedStep['outputSchema'],
  path: string,
  problems: DefinitionProblem[],
): z.ZodType | undefined {
  if (written === undefined || written instanceof z.ZodType) return written
  const parsed = parseOutputSchema(written)
  if ('schema' in parsed) return parsed.schema
  problems.push({ path: `${path}.outputSchema`, message: parsed.problem })
  return undefined
}

type ParsedStep = z.output<typeof flowStepSchema>

function toStep(step: ParsedStep, targets: ResolvedTargets | undefined, outputSchema: z.ZodType | undefined): FlowStep {
  if (!targets) throw new OrchestratorError('INTERNAL', `expected a provider for step "${step.id}" after all checks`)
  const { provider, model, fallbacks, preset } = targets
  const system = step.system ?? preset?.system
  const settings = preset?.settings ? { ...preset.settings, ...step.settings } : step.settings
  return {
    ...step,
    provider,
    model,
    fallbacks,
    ...(system !== undefined && { system }),
    ...(settings && { settings }),
    ...(outputSchema && { outputSchema }),
  }
}

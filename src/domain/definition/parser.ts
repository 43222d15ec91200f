import * as z from 'zod'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { parseOutputSchema } from '../answers/output-schema.ts'
import { deepFreeze } from '../deep-freeze.ts'
import type { JsonSchema } from '../execution/model-call.ts'
import type { FlowType } from '../vocabulary.ts'
import { engineTargets } from '../waiting/waiting-rules.ts'
import { isWaitingAction } from '../waiting/waiting-steps.ts'
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
import { findRuleProblems, type SalvagedStep, salvageDefinition } from './rules.ts'
import { type AgentPreset, type ResolvedTargets, resolveTargets } from './targets.ts'

/** The rules of one flow type for the parser; each executor satisfies this interface. */
export interface FlowTypeRules {
  readonly type: FlowType
  /** Schema of the definition's settings block for this type. */
  readonly settings?: z.ZodType
  /** Name of the settings block, where it differs from the type. */
  readonly settingsKey?: string
  /** Whether prompts and conditions may name later steps, because a loop returns to them. */
  readonly forwardReferences?: boolean
  check?(definition: FlowDefinition): readonly DefinitionProblem[]
}

export interface DefinitionParserOptions {
  readonly flowTypes: readonly FlowTypeRules[]
  /** Agent presets by the name that steps refer to as `agent`. */
  readonly agents?: Readonly<Record<string, AgentPreset>>
  readonly references: {
    /** The names that a Liquid template reads. Throws FLOW_INVALID for bad syntax and unknown names. */
    template(source: string): References
    /** The names that a CEL condition reads. Throws FLOW_INVALID for bad syntax and unknown names. */
    condition(source: string): References
  }
}

export interface DefinitionParser {
  /**
   * Returns the definition: complete, consistent and deeply frozen. It shares only functions and zod schemas with the
   * input. Throws FLOW_INVALID with all problems in `details.problems`, whatever the input is.
   */
  parse(input: unknown): FlowDefinition
  /** JSON Schema of a definition as data. */
  jsonSchema(): JsonSchema
}

/**
 * Maximum steps of a definition, as in its schema. Checked first, so that no time is spent on the steps of an oversized
 * one.
 */
const MAX_STEPS = 500

export function createDefinitionParser({ flowTypes, agents, references }: DefinitionParserOptions): DefinitionParser {
  const rulesByType = new Map(flowTypes.map((rules) => [rules.type, rules]))
  const agentsByName = new Map(Object.entries(agents ?? {}))
  const schema = z.strictObject({ ...flowDefinitionShape, ...settingsBlocks(flowTypes) })

  /** The only function that reads the input, whose getters and proxies may throw anything. */
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
    const targets = known.steps.map((step, index) =>
      isWaitingAction(step.action) ? engineTargets(step.action) : resolveTargets(step, `steps[${index}]`, agentsByName, problems),
    )
    const schemas = known.steps.map((step, index) => resolveSchemas(step, `steps[${index}]`, problems))
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

interface ResolvedSchemas {
  readonly output: z.ZodType | undefined
  readonly approval: z.ZodType | undefined
}

function resolveSchemas(step: SalvagedStep, path: string, problems: DefinitionProblem[]): ResolvedSchemas {
  const resolve = (schema: ParsedStep['outputSchema'], at: string) => {
    if (schema === undefined || schema instanceof z.ZodType) return schema
    const parsed = parseOutputSchema(schema)
    if ('schema' in parsed) return parsed.schema
    problems.push({ path: `${path}.${at}`, message: parsed.problem })
    return undefined
  }
  return { output: resolve(step.outputSchema, 'outputSchema'), approval: resolve(step.approval?.schema, 'approval.schema') }
}

type ParsedStep = z.output<typeof flowStepSchema>

function toStep(step: ParsedStep, targets: ResolvedTargets | undefined, schemas: ResolvedSchemas | undefined): FlowStep {
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
    ...(schemas?.output && { outputSchema: schemas.output }),
    ...(step.approval && schemas?.approval && { approval: { ...step.approval, schema: schemas.approval } }),
  }
}

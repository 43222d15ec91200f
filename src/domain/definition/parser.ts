import * as z from 'zod'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type AgentPresets, NO_AGENTS } from '../agents/agent.ts'
import { parseOutputSchema } from '../answers/output-schema.ts'
import { deepFreeze } from '../deep-freeze.ts'
import type { JsonSchema } from '../execution/model-call.ts'
import { DEFINITION_CODE_KEYS, resolveCode, STEP_CODE_KEYS, type StepCode, toCodeOf } from '../tools/named-code.ts'
import { exposedFunctions, type FunctionRegistry } from '../tools/named-functions.ts'
import type { FlowType } from '../vocabulary.ts'
import { engineTargets } from '../waiting/waiting-rules.ts'
import { isWaitingAction } from '../waiting/waiting-steps.ts'
import {
  type DefinitionProblem,
  type FlowDefinition,
  type FlowStep,
  flowDefinitionShape,
  type flowStepSchema,
  MAX_STEPS,
} from './flow-definition.ts'
import { toDefinitionJsonSchema } from './json.ts'
import { definitionError, toProblems } from './problems.ts'
import type { References } from './prompt-scope.ts'
import { findReferenceProblems } from './references.ts'
import { findRuleProblems, type SalvagedStep, salvageDefinition } from './rules.ts'
import { type ResolvedTargets, resolveTargets } from './targets.ts'

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
  /** The agents that steps may name; read anew for each definition. Default: none. */
  readonly agents?: AgentPresets
  /** Functions that definitions may name in place of code. Absent: names are accepted and cannot be called. */
  readonly functions?: FunctionRegistry
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
  /**
   * As `parse`, for a definition that came over the network: a function that it may not name in place of code does not
   * exist for it, neither in problems nor in suggestions.
   */
  parseFromNetwork(input: unknown): FlowDefinition
  /** JSON Schema of a definition as data. */
  jsonSchema(): JsonSchema
}

export function createDefinitionParser({
  flowTypes,
  agents = NO_AGENTS,
  functions,
  references,
}: DefinitionParserOptions): DefinitionParser {
  const rulesByType = new Map(flowTypes.map((rules) => [rules.type, rules]))
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

  const parseWith = (input: unknown, functions: FunctionRegistry | undefined): FlowDefinition => {
    const { shaped, problems, known } = read(input)
    const rules = known.type && rulesByType.get(known.type)
    if (known.type && !rules) problems.push({ path: 'type', message: `no executor runs flow type "${known.type}"` })
    const targets = known.steps.map((step, index) =>
      isWaitingAction(step.action) ? engineTargets(step.action) : resolveTargets(step, `steps[${index}]`, agents, problems),
    )
    const schemas = known.steps.map((step, index) => resolveSchemas(step, `steps[${index}]`, problems))
    const codes = known.steps.map((step, index) => resolveCode(step, STEP_CODE_KEYS, `steps[${index}].`, functions, problems))
    const listeners = shaped.success ? resolveCode(shaped.data, DEFINITION_CODE_KEYS, '', functions, problems) : {}
    findReferenceProblems(known.steps, problems, {
      ...references,
      forwardReferences: rules?.forwardReferences ?? false,
      shareStepOutputs: known.contextPolicy?.shareStepOutputs ?? true,
    })
    findRuleProblems(known, problems)
    if (!shaped.success || problems.length > 0) throw definitionError(problems)
    const steps = shaped.data.steps.map((step, index) => toStep(step, targets[index], schemas[index], codes[index]))
    const { onStepComplete, onFlowComplete, onError, ...data } = shaped.data
    const definition = deepFreeze<FlowDefinition>({
      ...data,
      ...(onStepComplete && { onStepComplete: toCodeOf(onStepComplete, listeners.onStepComplete) }),
      ...(onFlowComplete && { onFlowComplete: toCodeOf(onFlowComplete, listeners.onFlowComplete) }),
      ...(onError && { onError: toCodeOf(onError, listeners.onError) }),
      steps,
    })
    const typeProblems = rules?.check?.(definition) ?? []
    if (typeProblems.length > 0) throw definitionError(typeProblems)
    return definition
  }

  return {
    parse: (input) => parseWith(input, functions),
    // Functions may have been registered since the last definition.
    parseFromNetwork: (input) => parseWith(input, functions && exposedFunctions(functions)),
    jsonSchema: () => toDefinitionJsonSchema(schema),
  }
}

function settingsBlocks(flowTypes: readonly FlowTypeRules[]): Record<string, z.ZodType> {
  const blocks: Record<string, z.ZodType> = {}
  for (const { type, settings, settingsKey } of flowTypes) if (settings) blocks[settingsKey ?? type] = settings.optional()
  return blocks
}

/** Checked first, so that no time is spent on the steps of an oversized definition. */
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

function toStep(
  { prompt, condition, ...step }: ParsedStep,
  targets: ResolvedTargets | undefined,
  schemas: ResolvedSchemas | undefined,
  code: StepCode = {},
): FlowStep {
  if (!targets) throw new OrchestratorError('INTERNAL', `expected a provider for step "${step.id}" after all checks`)
  const { provider, model, fallbacks, preset, agent } = targets
  const { system = preset?.system, ...rest } = step
  const settings = preset?.settings ? { ...preset.settings, ...step.settings } : step.settings
  return {
    ...rest,
    provider,
    model,
    fallbacks,
    ...(agent !== undefined && { agent }),
    ...(prompt !== undefined && { prompt: toCodeOf(prompt, code.prompt) }),
    ...(system !== undefined && { system: toCodeOf(system, code.system) }),
    ...(condition !== undefined && { condition: toCodeOf(condition, code.condition) }),
    ...(settings && { settings }),
    ...(schemas?.output && { outputSchema: schemas.output }),
    ...(step.approval && schemas?.approval && { approval: { ...step.approval, schema: schemas.approval } }),
  }
}

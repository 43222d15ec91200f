import * as z from 'zod'
import type { FlowError, FlowExecutionResult } from '../execution/flow-result.ts'
import type { StepResult } from '../execution/step-result.ts'
import { OrchestrationFlowType, StepAction } from '../vocabulary.ts'
import type { GivenStepContext, StepContext } from './step-context.ts'

/** Words of `inputFrom` that are no step ids; no step may be called so. */
export const INPUT_WORDS = ['previous', 'original', 'all'] as const

/**
 * Settings of each flow type, by its name. Every executor adds its own block by declaration merging:
 * `declare module '../domain/flow-definition.ts' { interface FlowTypeSettings { parallel: z.input<typeof parallelSettings> } }`
 */
// biome-ignore lint/suspicious/noEmptyInterface: executors merge into it
export interface FlowTypeSettings {}

export type PromptFunction = (context: StepContext) => string | Promise<string>
/** What it returns, or what its promise resolves with, counts as JavaScript counts it in an `if`. */
export type ConditionFunction = (context: StepContext) => unknown

const positiveMs = z.number().int().positive()

export const stepSettingsSchema = z.strictObject({
  temperature: z.number().min(0).max(2).optional(),
  maxTokens: z.number().int().positive().optional(),
  topP: z.number().min(0).max(1).optional(),
  stopSequences: z.array(z.string().min(1)).max(16).optional(),
})

const isFunction = (value: unknown) => typeof value === 'function'
const isZodSchema = (value: unknown): value is z.ZodType => value instanceof z.ZodType

const targetSchema = z.strictObject({ provider: z.string().min(1).optional(), model: z.string().min(1) })

/** The shape of one step; what it may refer to is judged with the whole definition. */
export const flowStepSchema = z.strictObject({
  id: z.string().regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, 'expected a letter followed by up to 63 letters, digits, "_" or "-"'),
  name: z.string().max(200).optional(),
  provider: z.string().min(1).optional(),
  /** Alone, or as `provider/model` split at the first slash. */
  model: z.string().min(1).optional(),
  action: z.enum(StepAction),
  /** A named preset of the configuration. */
  agent: z.string().min(1).optional(),
  prompt: z.union([z.string().max(200_000), z.custom<PromptFunction>(isFunction, 'expected a string or a function')]).optional(),
  system: z.union([z.string().max(200_000), z.custom<PromptFunction>(isFunction, 'expected a string or a function')]).optional(),
  inputFrom: z.string().min(1).optional(),
  dependsOn: z.array(z.string().min(1)).optional(),
  settings: stepSettingsSchema.optional(),
  retryOnFailure: z.boolean().optional(),
  maxRetries: z.number().int().min(0).max(20).optional(),
  /** Milliseconds for the whole step, waits and retries included. */
  timeout: positiveMs.optional(),
  /** Milliseconds without a piece of a streamed answer. */
  idleTimeout: positiveMs.optional(),
  condition: z
    .union([z.string().max(10_000), z.custom<ConditionFunction>(isFunction, 'expected a string or a function')])
    .optional(),
  otherwise: z.boolean().optional(),
  optional: z.boolean().optional(),
  fallbacks: z.array(targetSchema).max(10).optional(),
  /** Allows a fallback or retry although text was already streamed; clients see step_retry with `restart: true`. */
  fallbackAfterFirstToken: z.boolean().optional(),
  samples: z.number().int().min(1).max(50).optional(),
  /** The step fails where its answer was cut: OUTPUT_INVALID at a bound of output tokens, CONTENT_FILTERED by a filter. Default: a note says so. */
  complete: z.boolean().optional(),
  /** Stores the reasoning that a provider sends apart from its answer. Default: only the live result and live updates hold it. */
  keepReasoning: z.boolean().optional(),
  outputSchema: z
    .union([z.custom<z.ZodType>(isZodSchema, 'expected a zod schema or a JSON Schema object'), z.record(z.string(), z.unknown())])
    .optional(),
})

export const contextPolicySchema = z.strictObject({
  shareConversationHistory: z.boolean().default(false),
  shareStepOutputs: z.boolean().default(true),
  maxSharedTokens: z.number().int().min(0).default(10_000),
  includeOriginalPrompt: z.boolean().default(true),
  preserveSystemPrompts: z.boolean().default(false),
})

export const flowLimitsSchema = z.strictObject({
  /** US dollars over all attempts of the flow. */
  maxCostUsd: z.number().min(0).optional(),
  maxTokens: z.number().int().min(0).optional(),
  /** Steps that may run, loops counted each time. */
  maxSteps: z.number().int().positive().optional(),
})

/** The keys every definition has; the parser adds one optional block per registered flow type. */
export const flowDefinitionShape = {
  name: z.string().min(1).max(200),
  description: z.string().max(2_000).optional(),
  version: z.string().max(50).optional(),
  type: z.enum(OrchestrationFlowType),
  steps: z.array(flowStepSchema).min(1, 'expected at least one step').max(500),
  input: z.string().optional(),
  contextPolicy: contextPolicySchema.prefault({}),
  limits: flowLimitsSchema.optional(),
  /** Milliseconds for one execution. */
  maxExecutionTime: positiveMs.optional(),
  onStepComplete: z.custom<(result: StepResult) => unknown>(isFunction, 'expected a function').optional(),
  onFlowComplete: z.custom<(result: FlowExecutionResult) => unknown>(isFunction, 'expected a function').optional(),
  onError: z.custom<(error: FlowError) => unknown>(isFunction, 'expected a function').optional(),
}

const baseDefinitionSchema = z.strictObject(flowDefinitionShape)

/** What a caller may have made read-only, `as const` say. */
type Written<T> = T extends ((...given: never[]) => unknown) | z.ZodType
  ? T
  : T extends readonly (infer Item)[]
    ? readonly Written<Item>[]
    : T extends object
      ? { readonly [Key in keyof T]: Written<T[Key]> }
      : T

interface StepFunctions {
  prompt?: string | ((context: GivenStepContext) => string | Promise<string>)
  system?: string | ((context: GivenStepContext) => string | Promise<string>)
  /** CEL, or a function: the step is skipped where the value is falsy. */
  condition?: string | ((context: GivenStepContext) => unknown)
}
type FlowTypeBlocks = { [Type in keyof FlowTypeSettings]?: FlowTypeSettings[Type] }

/** One step as users write it, under the name `FlowStep` in the package. They may build it up and change it. */
export type WritableFlowStep = Omit<z.input<typeof flowStepSchema>, keyof StepFunctions> & StepFunctions
/** What users write and templates give, under the name `FlowDefinition` in the package. */
export type WritableFlowDefinition = Omit<z.input<typeof baseDefinitionSchema>, 'steps'> & {
  steps: WritableFlowStep[]
} & FlowTypeBlocks

/** The same, read only: what a caller may hand in. */
export type FlowStepInput = Omit<Written<z.input<typeof flowStepSchema>>, keyof StepFunctions> & Readonly<StepFunctions>
export type FlowDefinitionInput = Omit<Written<z.input<typeof baseDefinitionSchema>>, 'steps'> & {
  readonly steps: readonly FlowStepInput[]
} & Readonly<FlowTypeBlocks>

export type ContextPolicy = z.output<typeof contextPolicySchema>
export type FlowLimits = z.output<typeof flowLimitsSchema>
export type StepSettings = z.output<typeof stepSettingsSchema>

/** Who answers, after `provider/model` was split and agents were applied. */
export interface Target {
  readonly provider: string
  readonly model: string
}

/** A step after parsing: provider, model and fallbacks are always resolved. */
export type FlowStep = Readonly<Omit<z.output<typeof flowStepSchema>, 'provider' | 'model' | 'fallbacks'>> &
  Target & { readonly fallbacks: readonly Target[] }

/** A definition after parsing: whole, consistent, safe to run. Frozen; compare by identity of its hash. */
export type FlowDefinition = Readonly<Omit<z.output<typeof baseDefinitionSchema>, 'steps'>> & {
  readonly steps: readonly FlowStep[]
} & { readonly [Type in keyof FlowTypeSettings]?: FlowTypeSettings[Type] }

/** One thing wrong with a definition. */
export interface DefinitionProblem {
  /** Where, e.g. `steps[2].inputFrom`. */
  readonly path: string
  /** What was expected and what was found. */
  readonly message: string
  /** A name that may have been meant. */
  readonly suggestion?: string
  /** The file it was read from, as its reader named it. */
  readonly file?: string
  /** Where in that text, both from 1. */
  readonly line?: number
  readonly column?: number
}

export type ParseFlowDefinition = (input: unknown) => FlowDefinition

import * as z from 'zod'
import type { FlowError, FlowExecutionResult } from '../execution/flow-result.ts'
import { REASONING_EFFORTS } from '../execution/model-call.ts'
import type { StepResult } from '../execution/step-result.ts'
import { callerToolsField } from '../tools/caller-tools.ts'
import { type NamedFunction, namedFunctionSchema } from '../tools/named-functions.ts'
import { toolShape } from '../tools/tool-fields.ts'
import { OrchestrationFlowType, StepAction } from '../vocabulary.ts'
import { waitingShape } from '../waiting/waiting-steps.ts'
import { answerCacheField } from './call/answer-cache.ts'
import { requestOptionsField } from './call/request-options.ts'
import { schemaField } from './schema-field.ts'
import type { GivenStepContext, StepContext } from './step-context.ts'

/** Reserved words of `inputFrom`, which no step may have as its id. */
export const INPUT_WORDS = ['previous', 'original', 'all'] as const

/**
 * The settings blocks of definitions, one per flow type, by the name of the block. The file of each executor adds the
 * block of its type by declaration merging, so that definitions in TypeScript are checked against it:
 *
 * ```ts
 * import * as z from 'zod'
 *
 * const debateSettings = z.strictObject({ rounds: z.number().int().min(1).default(2) })
 *
 * declare module './flow-definition.ts' {
 *   interface FlowTypeSettings {
 *     debate: z.input<typeof debateSettings>
 *   }
 * }
 * ```
 */
export interface FlowTypeSettings {
  /** A sequence has no settings. */
  readonly sequential?: never
}

export type PromptFunction = (context: StepContext) => string | Promise<string>
/** The step runs if the returned or resolved value is truthy. */
export type ConditionFunction = (context: StepContext) => unknown

const positiveMs = z.number().int().positive()

export const stepSettingsSchema = z.strictObject({
  temperature: z.number().min(0).max(2).optional(),
  maxTokens: z.number().int().positive().optional(),
  topP: z.number().min(0).max(1).optional(),
  stopSequences: z.array(z.string().min(1)).max(16).optional(),
  /** Effort of reasoning, or its maximum in tokens. */
  reasoning: z.union([z.enum(REASONING_EFFORTS), z.strictObject({ maxTokens: z.number().int().positive() })]).optional(),
  seed: z.number().int().optional(),
  /** Whether the model may call several tools in one turn. */
  parallelToolCalls: z.boolean().optional(),
  /** Caching of the prompt by the vendor. Default `auto`: where it pays. */
  cache: z.union([z.enum(['auto', 'off']), z.strictObject({ ttl: z.enum(['5m', '1h']) })]).optional(),
  /** Further fields of the request body, by provider id or kind of adapter; merged last. */
  options: z.record(z.string().min(1), requestOptionsField).optional(),
})

const isFunction = (value: unknown) => typeof value === 'function'

/** A template, code, or the name of a registered function. */
const promptField = z.union([
  z.string().max(200_000),
  z.custom<PromptFunction>(isFunction, 'expected a string or a function'),
  namedFunctionSchema,
])

const targetSchema = z.strictObject({ provider: z.string().min(1).optional(), model: z.string().min(1) })

/** The shape of one step. Its references are checked with the whole definition. */
export const flowStepSchema = z.strictObject({
  id: z.string().regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, 'expected a letter followed by up to 63 letters, digits, "_" or "-"'),
  name: z.string().max(200).optional(),
  provider: z.string().min(1).optional(),
  /** The name alone, or `provider/model`, which is split at the first slash. */
  model: z.string().min(1).optional(),
  action: z.enum(StepAction),
  /** A named preset of the configuration. */
  agent: z.string().min(1).optional(),
  /** Capabilities, all of which the agent must have. Without `agent`, an agent that has them is chosen. */
  needs: z.array(z.string().min(1).max(100)).min(1).max(20).optional(),
  prompt: promptField.optional(),
  system: promptField.optional(),
  inputFrom: z.string().min(1).optional(),
  dependsOn: z.array(z.string().min(1)).optional(),
  settings: stepSettingsSchema.optional(),
  retryOnFailure: z.boolean().optional(),
  maxRetries: z.number().int().min(0).max(20).optional(),
  /** Milliseconds for the whole step, including waits and retries. */
  timeout: positiveMs.optional(),
  /** Milliseconds without a chunk of a streamed answer. */
  idleTimeout: positiveMs.optional(),
  condition: z
    .union([
      z.string().max(10_000),
      z.custom<ConditionFunction>(isFunction, 'expected a string or a function'),
      namedFunctionSchema,
    ])
    .optional(),
  otherwise: z.boolean().optional(),
  optional: z.boolean().optional(),
  fallbacks: z.array(targetSchema).max(10).optional(),
  /**
   * Allows a retry or fallback after text was already streamed; clients then receive step_retry with `restart: true`.
   * Default false.
   */
  fallbackAfterFirstToken: z.boolean().optional(),
  /**
   * What happens to a call whose outcome is unknown because the process died during it. `retry`, the default: it is
   * made again. `ask`: the flow pauses as for an approval; if that is rejected, as with `fail`, the step fails with
   * CALL_OUTCOME_UNKNOWN, and executing the flow again repeats the call. `executeStep` repeats it without asking.
   */
  onUnknown: z.enum(['retry', 'ask', 'fail']).optional(),
  samples: z.number().int().min(1).max(50).optional(),
  /**
   * A cut answer fails the step: OUTPUT_INVALID at the limit of output tokens, CONTENT_FILTERED by a filter. Default:
   * the result has a note.
   */
  complete: z.boolean().optional(),
  /**
   * Stores the reasoning that a provider sends beside its answer. Default: only the live result and live updates hold
   * it.
   */
  keepReasoning: z.boolean().optional(),
  outputSchema: schemaField.optional(),
  ...toolShape,
  /** Whether an answer to an equal request may be served again instead of a call. Default false. */
  cache: answerCacheField.optional(),
  ...waitingShape,
})

export const contextPolicySchema = z.strictObject({
  shareConversationHistory: z.boolean().default(false),
  shareStepOutputs: z.boolean().default(true),
  maxSharedTokens: z.number().int().min(0).default(10_000),
  includeOriginalPrompt: z.boolean().default(true),
  preserveSystemPrompts: z.boolean().default(false),
  /**
   * Whether sharing an output is decided about everything that it was made from, or only about its writer. Default:
   * `joined`.
   */
  provenance: z.enum(['joined', 'direct']).optional(),
})

export const flowLimitsSchema = z.strictObject({
  /** US dollars over all attempts of the flow. */
  maxCostUsd: z.number().min(0).optional(),
  maxTokens: z.number().int().min(0).optional(),
  /** Maximum number of steps that run; each iteration of a loop counts. */
  maxSteps: z.number().int().positive().optional(),
})

export const MAX_STEPS = 500

/** The keys of every definition. The parser adds one optional settings block per flow type. */
export const flowDefinitionShape = {
  name: z.string().min(1).max(200),
  description: z.string().max(2_000).optional(),
  version: z.string().max(50).optional(),
  type: z.enum(OrchestrationFlowType),
  steps: z.array(flowStepSchema).min(1, 'expected at least one step').max(MAX_STEPS),
  input: z.string().optional(),
  contextPolicy: contextPolicySchema.prefault({}),
  limits: flowLimitsSchema.optional(),
  /** Tools that the caller of the flow runs. Steps name them `caller/<name>`. */
  callerTools: callerToolsField.optional(),
  /** Milliseconds for one execution. */
  maxExecutionTime: positiveMs.optional(),
  onStepComplete: z
    .union([z.custom<(result: StepResult) => unknown>(isFunction, 'expected a function'), namedFunctionSchema])
    .optional(),
  onFlowComplete: z
    .union([z.custom<(result: FlowExecutionResult) => unknown>(isFunction, 'expected a function'), namedFunctionSchema])
    .optional(),
  onError: z.union([z.custom<(error: FlowError) => unknown>(isFunction, 'expected a function'), namedFunctionSchema]).optional(),
}

const baseDefinitionSchema = z.strictObject(flowDefinitionShape)

/** Accepts values that a caller made read-only, for example with `as const`. */
type DeepReadonly<T> = T extends ((...given: never[]) => unknown) | z.ZodType
  ? T
  : T extends readonly (infer Item)[]
    ? readonly DeepReadonly<Item>[]
    : T extends object
      ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> }
      : T

interface StepFunctions {
  prompt?: string | NamedFunction | ((context: GivenStepContext) => string | Promise<string>)
  system?: string | NamedFunction | ((context: GivenStepContext) => string | Promise<string>)
  /** CEL, or a function: the step is skipped if the value is falsy. */
  condition?: string | NamedFunction | ((context: GivenStepContext) => unknown)
}
type FlowTypeBlocks = { [Type in keyof FlowTypeSettings]?: FlowTypeSettings[Type] }

/** One step as users write it, exported as `FlowStep`. Writable, so that users may build it in parts. */
export type WritableFlowStep = Omit<z.input<typeof flowStepSchema>, keyof StepFunctions> & StepFunctions
/** A definition as users write it and templates return it, exported as `FlowDefinition`. */
export type WritableFlowDefinition = Omit<z.input<typeof baseDefinitionSchema>, 'steps'> & {
  steps: WritableFlowStep[]
} & FlowTypeBlocks

/** The read-only form, which functions accept as an argument. */
export type FlowStepInput = Omit<DeepReadonly<z.input<typeof flowStepSchema>>, keyof StepFunctions> & Readonly<StepFunctions>
export type FlowDefinitionInput = Omit<DeepReadonly<z.input<typeof baseDefinitionSchema>>, 'steps'> & {
  readonly steps: readonly FlowStepInput[]
} & Readonly<FlowTypeBlocks>

export type ContextPolicy = z.output<typeof contextPolicySchema>
export type FlowLimits = z.output<typeof flowLimitsSchema>
export type StepSettings = z.output<typeof stepSettingsSchema>

/** Provider and model of a call, after `provider/model` was split and agents were applied. */
export interface Target {
  readonly provider: string
  readonly model: string
}

/** A step after parsing: provider, model and fallbacks are always resolved. */
export type FlowStep = Readonly<
  Omit<z.output<typeof flowStepSchema>, 'provider' | 'model' | 'fallbacks' | 'prompt' | 'system' | 'condition'>
> &
  Target & {
    readonly fallbacks: readonly Target[]
    readonly prompt?: string | PromptFunction | undefined
    readonly system?: string | PromptFunction | undefined
    readonly condition?: string | ConditionFunction | undefined
  }

/** A definition after parsing: complete, consistent and deeply frozen. */
export type FlowDefinition = Readonly<
  Omit<z.output<typeof baseDefinitionSchema>, 'steps' | 'onStepComplete' | 'onFlowComplete' | 'onError'>
> & {
  readonly steps: readonly FlowStep[]
  readonly onStepComplete?: ((result: StepResult) => unknown) | undefined
  readonly onFlowComplete?: ((result: FlowExecutionResult) => unknown) | undefined
  readonly onError?: ((error: FlowError) => unknown) | undefined
} & { readonly [Type in keyof FlowTypeSettings]?: FlowTypeSettings[Type] }

/** One problem of a definition. */
export interface DefinitionProblem {
  /** Path within the definition, e.g. `steps[2].inputFrom`. */
  readonly path: string
  /** States what was expected and what was found. */
  readonly message: string
  /** A similar known name. */
  readonly suggestion?: string
  /** Name of the file that the definition was read from. */
  readonly file?: string
  /** Position in that file; line and column from 1. */
  readonly line?: number
  readonly column?: number
}

export type ParseFlowDefinition = (input: unknown) => FlowDefinition

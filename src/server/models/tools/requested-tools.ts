import * as z from 'zod'
import type { FlowDefinition, FlowDefinitionInput } from '../../../domain/definition/flow-definition.ts'
import { CALLER_PROVIDER, type CallerTool, callerToolSchema } from '../../../domain/tools/caller-tools.ts'
import { isRunStep } from '../../../domain/tools/tool-fields.ts'
import { isWaitingStep } from '../../../domain/waiting/waiting-steps.ts'
import type { OrchestratorService } from '../../../orchestrator/orchestrator-service.ts'
import { withToolsName } from '../model-catalogue.ts'
import { refusal } from '../request-errors.ts'

const described = {
  name: z.string().max(1_000).nullish(),
  description: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish(),
}

/** `tools` of a request, in the form of chat completions and in that of responses. `false` asks for nothing. */
export const sentTools = z
  .union(
    [
      z.literal(false),
      z.array(z.object({ type: z.string().max(100), ...described, function: z.object(described).nullish() })).max(128),
    ],
    { error: 'expected a list of at most 128 functions with a name each' },
  )
  .nullish()
type SentTools = z.output<typeof sentTools>

/** `tool_choice`, in the form of chat completions and in that of responses. */
export const sentToolChoice = z
  .union(
    [
      z.string().max(100),
      z.object({
        type: z.string().max(100),
        name: z.string().max(1_000).nullish(),
        function: z.object({ name: z.string().max(1_000) }).nullish(),
      }),
    ],
    { error: 'expected "auto", "none", "required" or a function of tools' },
  )
  .nullish()
type SentToolChoice = z.output<typeof sentToolChoice>

/** The tools of a request, which its client runs. */
export interface RequestedTools {
  readonly tools: readonly CallerTool[]
  /** As `toolChoice` of a step. Undefined: that of the step stays. */
  readonly choice: string | undefined
  /** False: at most one call in one turn. */
  readonly parallel: boolean
}

export interface ToolsInBody {
  readonly tools?: SentTools
  readonly tool_choice?: SentToolChoice
  readonly parallel_tool_calls?: boolean | null | undefined
}

/**
 * The functions that a request offers; undefined if it offers none or allows no call. Throws INPUT_INVALID for tools
 * that only OpenAI runs; with `ignoreUnsupported` these are left out.
 */
export function toRequestedTools(body: ToolsInBody, ignoreUnsupported: boolean): RequestedTools | undefined {
  if (!body.tools || body.tools.length === 0 || body.tool_choice === 'none') return undefined
  const tools = body.tools.flatMap(({ type, function: nested, ...flat }, index) => {
    const param = `tools[${index}]`
    if (type === 'function') return toCallerTool(nested ?? flat, nested ? `${param}.function` : param)
    if (ignoreUnsupported) return []
    const why = `tools of type "${type}" are not supported: expected "function", which the client runs itself`
    throw refusal(`${param}.type`, `${param}: ${why}`, 'unsupported_value')
  })
  const twice = tools.find(({ name }, index) => tools.findIndex((tool) => tool.name === name) !== index)
  if (twice)
    throw refusal('tools', `tools: expected a name of its own for every tool, found "${twice.name}" twice`, 'invalid_value')
  if (tools.length === 0) return undefined
  return { tools, choice: toChoice(body.tool_choice, tools), parallel: body.parallel_tool_calls !== false }
}

function toCallerTool({ name, description, parameters }: z.output<z.ZodObject<typeof described>>, param: string): CallerTool {
  const read = callerToolSchema.safeParse({
    name: name ?? undefined,
    description: description ?? undefined,
    // OpenAI accepts functions without parameters, and schemas without a type.
    ...(parameters && Object.keys(parameters).length > 0 && { parameters: { type: 'object', ...parameters } }),
  })
  if (read.success) return read.data
  const [issue] = read.error.issues
  const path = [param, ...(issue?.path.slice(0, 1) ?? [])].join('.')
  throw refusal(path, `${path}: ${issue?.message}`, 'invalid_value')
}

function toChoice(sent: SentToolChoice, tools: readonly CallerTool[]): string | undefined {
  if (sent === undefined || sent === null) return undefined
  if (sent === 'auto' || sent === 'required') return sent
  const name = typeof sent === 'object' && sent.type === 'function' ? (sent.function?.name ?? sent.name) : undefined
  if (tools.some((tool) => tool.name === name)) return `${CALLER_PROVIDER}/${name}`
  const message = 'tool_choice: expected "auto", "none", "required" or a function of tools'
  throw refusal('tool_choice', message, name === undefined ? 'unsupported_value' : 'invalid_value')
}

/**
 * The definition with the tools of a request at the step that writes the answer. Undefined if no single step writes it,
 * because its texts are joined or selected.
 */
export async function withRequestedTools(
  orchestrator: Pick<OrchestratorService, 'finalSteps'>,
  definition: FlowDefinitionInput,
  { tools, choice, parallel }: RequestedTools,
): Promise<FlowDefinitionInput | undefined> {
  const finals = (await orchestrator.finalSteps(definition)).filter(mayCallTools).map(({ id }) => id)
  if (finals.length === 0) return undefined
  const names = tools.map(({ name }) => `${CALLER_PROVIDER}/${name}`)
  const others = (definition.callerTools ?? []).filter(({ name }) => !tools.some((tool) => tool.name === name))
  return {
    ...definition,
    name: withToolsName(definition),
    callerTools: [...others, ...tools],
    steps: definition.steps.map((step) => {
      if (!finals.includes(step.id)) return step
      return {
        ...step,
        tools: [...new Set([...(step.tools ?? []), ...names])],
        ...(choice !== undefined && { toolChoice: choice }),
        ...(!parallel && { settings: { ...step.settings, parallelToolCalls: false } }),
      }
    }),
  }
}

const mayCallTools = (step: FlowDefinition['steps'][number]): boolean => !isRunStep(step) && !isWaitingStep(step)

import type { CallToolResult, StandardSchemaWithJSON, ToolAnnotations } from '@modelcontextprotocol/server'
import * as z from 'zod'
import type { Scope } from '../../../domain/users/api-key.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { type Caller, requireScope } from '../../access/caller.ts'
import type { ServerDeps } from '../../server-deps.ts'

/** What tools work on. */
export type ToolDeps = Pick<ServerDeps, 'orchestrator' | 'conversations' | 'providers' | 'usage' | 'config'>

/** One call of a tool: on whose behalf, and who waits for the answer. */
export interface ToolInvocation {
  readonly deps: ToolDeps
  readonly caller: Caller
  /** The client cancelled the call or went away: nobody waits for the answer. What runs goes on. */
  readonly gone: AbortSignal
  /** Who waits answers now, with what there is: the server closes, or the caller is none any more. */
  readonly enough: AbortSignal
  /** Tells the client how far it is, 0 to 100; absent where it did not ask. */
  readonly report?: (percent: number, message: string) => void
  /** False where the caller's key was revoked or expired since the call began. */
  isCurrent(): Promise<boolean>
}

/** What a tool gives back: data in the form of its schema, and the same for people and models that read text. */
export interface ToolAnswer<Value> {
  readonly value: Value
  readonly text: string
}

interface ToolPlan<Input extends z.ZodType, Output extends z.ZodObject> {
  readonly name: string
  readonly title: string
  /** For a model that picks tools: what it does, when to use it, what to do next. */
  readonly description: string
  readonly scope: Scope
  readonly input: Input
  /** As it stands in the process; what crosses the wire is what it encodes to. */
  readonly output: Output
  readonly annotations: ToolAnnotations
  run(input: z.output<Input>, call: ToolInvocation): Promise<ToolAnswer<z.output<Output>>>
}

/** A tool as the protocol knows it. */
export interface Tool extends Pick<ToolPlan<z.ZodType, z.ZodObject>, 'name' | 'title' | 'description' | 'scope' | 'annotations'> {
  readonly inputSchema: StandardSchemaWithJSON<unknown, unknown>
  readonly outputSchema: StandardSchemaWithJSON<unknown, unknown>
  /** Rejects with PERMISSION_DENIED without the scope, INPUT_INVALID for arguments that do not fit. */
  call(given: unknown, call: ToolInvocation): Promise<CallToolResult>
}

export function defineTool<Input extends z.ZodType, Output extends z.ZodObject>(plan: ToolPlan<Input, Output>): Tool {
  const { name, title, description, scope, annotations, input, output } = plan
  return {
    name,
    title,
    description,
    scope,
    annotations,
    inputSchema: toListed(input),
    outputSchema: toListed(output),
    async call(given, call) {
      requireScope(call.caller, scope)
      const { value, text } = await plan.run(parseArguments(input, given), call)
      return { content: [{ type: 'text', text }], structuredContent: z.encode(output, value) }
    },
  }
}

/** The schema for lists of tools. The SDK is not to check with it: what does not fit is told here, as all errors are. */
function toListed(schema: z.ZodType): StandardSchemaWithJSON<unknown, unknown> {
  const json = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any', override: shorten })
  const toJson = () => ({ ...json })
  return {
    '~standard': {
      version: 1,
      vendor: 'polyphony',
      validate: (value) => ({ value }),
      jsonSchema: { input: toJson, output: toJson },
    },
  }
}

/** Models read every list of tools: what says nothing to them is left out. */
function shorten({ jsonSchema }: { readonly jsonSchema: z.core.JSONSchema.BaseSchema }): void {
  const { maximum, additionalProperties } = jsonSchema
  delete jsonSchema.pattern
  delete jsonSchema.propertyNames
  delete jsonSchema.readOnly
  if (maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
  if (typeof additionalProperties === 'object' && Object.keys(additionalProperties).length === 0) {
    delete jsonSchema.additionalProperties
  }
}

const SHOWN_PROBLEMS = 5
const MAX_PROBLEMS = 100
/** Characters of a message, which may quote what was given. */
const MAX_DETAIL = 200

function parseArguments<Schema extends z.ZodType>(schema: Schema, given: unknown): z.output<Schema> {
  const parsed = schema.safeParse(given ?? {})
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.slice(0, MAX_PROBLEMS).map(({ path, message }) => ({
    pointer: ['#', ...path.map(String)].join('/').slice(0, MAX_DETAIL),
    detail: message.slice(0, MAX_DETAIL),
  }))
  const shown = problems.slice(0, SHOWN_PROBLEMS).map(({ pointer, detail }) => `${pointer}: ${detail}`)
  throw new OrchestratorError('INPUT_INVALID', `arguments: ${shown.join('; ')}`, { details: { problems } })
}

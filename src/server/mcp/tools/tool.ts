import {
  type CallToolResult,
  type InputRequests,
  type InputRequiredResult,
  inputRequired,
  type StandardSchemaWithJSON,
  type ToolAnnotations,
} from '@modelcontextprotocol/server'
import * as z from 'zod'
import type { Scope } from '../../../domain/users/api-key.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { type Caller, requireScope } from '../../access/caller.ts'
import type { ServerDeps } from '../../server-deps.ts'

/** Services that tools use. */
export type ToolDeps = Pick<ServerDeps, 'orchestrator' | 'conversations' | 'providers' | 'usage' | 'config'>

/** One call of a tool. */
export interface ToolInvocation {
  readonly deps: ToolDeps
  readonly caller: Caller
  /** Aborted when the client has cancelled the call or closed the connection. Flows continue. */
  readonly clientGone: AbortSignal
  /** Aborted when the call must respond immediately: the server closes, or the caller's key is no longer valid. */
  readonly respondNow: AbortSignal
  /** Sends the progress, 0 to 100, to the client. Undefined when the client did not ask for it. */
  readonly report?: (percent: number, message: string) => void
  /** Whether the client can show a form to its user. */
  readonly canAskUser: boolean
  /** What the user of the client has entered into the forms of an earlier result of this call. Untrusted. */
  readonly userAnswers: Readonly<Record<string, unknown>> | undefined
  /** Resolves with false when the caller's key was revoked or has expired since the call began. */
  isCurrent(): Promise<boolean>
}

/** Result of a tool: data that conform to its output schema, and the same as text for people and models. */
export interface ToolAnswer<Value> {
  readonly value: Value
  readonly text: string
}

/** Forms for the user of the client. The client calls the tool again with the answers, so the tool must allow that. */
export interface ToolQuestions {
  readonly questions: InputRequests
}

/** Everything about one tool. Its listing, its authorisation and the parsing of its arguments derive from here. */
interface ToolDefinition<Input extends z.ZodType, Output extends z.ZodObject> {
  readonly name: string
  readonly title: string
  /** For a model that chooses tools: what the tool does, when to use it, and what to do next. */
  readonly description: string
  /** Scope that the caller's key must have. */
  readonly scope: Scope
  readonly input: Input
  /** Schema of the value in the process. The client receives its encoded form, in which dates are text. */
  readonly output: Output
  readonly annotations: ToolAnnotations
  /** Rejections become the error of the call. */
  run(input: z.output<Input>, call: ToolInvocation): Promise<ToolAnswer<z.output<Output>> | ToolQuestions>
}

/** A tool as the protocol needs it. */
export interface Tool
  extends Pick<ToolDefinition<z.ZodType, z.ZodObject>, 'name' | 'title' | 'description' | 'scope' | 'annotations'> {
  readonly inputSchema: StandardSchemaWithJSON<unknown, unknown>
  readonly outputSchema: StandardSchemaWithJSON<unknown, unknown>
  /**
   * Rejects with PERMISSION_DENIED without the scope, INPUT_INVALID for invalid arguments, and as the tool itself
   * does.
   */
  call(given: unknown, call: ToolInvocation): Promise<CallToolResult | InputRequiredResult>
}

/** Annotations of a tool that reads data of Polyphony and changes nothing. */
export const READ_ONLY: ToolAnnotations = { readOnlyHint: true, openWorldHint: false }

export function defineTool<Input extends z.ZodType, Output extends z.ZodObject>(definition: ToolDefinition<Input, Output>): Tool {
  const { name, title, description, scope, annotations, input, output } = definition
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
      const answer = await definition.run(parseArguments(input, given), call)
      if ('questions' in answer) return inputRequired({ inputRequests: answer.questions })
      const { value, text } = answer
      return { content: [{ type: 'text', text }], structuredContent: z.encode(output, value) }
    },
  }
}

/**
 * The schema for lists of tools. It accepts any arguments in the SDK, so invalid ones are reported in the format of all
 * errors.
 */
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

/** Removes keywords that are of no use to a model: every list of tools is part of its context. */
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

const MAX_LISTED_PROBLEMS = 5
const MAX_PROBLEMS = 100
/** Maximum number of characters of a pointer or a message, which may quote the arguments. */
const MAX_DETAIL_LENGTH = 200

function parseArguments<Schema extends z.ZodType>(schema: Schema, given: unknown): z.output<Schema> {
  const parsed = schema.safeParse(given ?? {})
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.slice(0, MAX_PROBLEMS).map(({ path, message }) => ({
    pointer: ['#', ...path.map(String)].join('/').slice(0, MAX_DETAIL_LENGTH),
    detail: message.slice(0, MAX_DETAIL_LENGTH),
  }))
  const listed = problems.slice(0, MAX_LISTED_PROBLEMS).map(({ pointer, detail }) => `${pointer}: ${detail}`)
  throw new OrchestratorError('INPUT_INVALID', `arguments: ${listed.join('; ')}`, { details: { problems } })
}

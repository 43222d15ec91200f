import type { IncomingMessage } from 'node:http'
import type { JsonSchema } from '../../domain/execution/model-call.ts'
import { isRecord, listOf, recordOf, textOf } from '../vendor/foreign-json.ts'

export type SimulatedVendor = 'openai' | 'anthropic' | 'google'
export type SimulatedFormat = 'responses' | 'chat' | 'messages' | 'generateContent'

/** One request to the simulator, independent of the vendor's format. */
export interface SimulatedRequest {
  readonly vendor: SimulatedVendor
  readonly format: SimulatedFormat
  readonly model: string
  readonly stream: boolean
  readonly system: string
  /** The newest message of the user. */
  readonly prompt: string
  /** System prompt and all messages. */
  readonly text: string
  /** JSON Schema that the answer must fit. */
  readonly schema?: JsonSchema
  /**
   * The tool that the model should call: the one that is named, otherwise the first. Undefined once there is a result.
   */
  readonly tool?: SimulatedTool
  /** The body as received. */
  readonly raw: string
}

export interface SimulatedTool {
  readonly name: string
  /** JSON Schema of its arguments. */
  readonly parameters: JsonSchema
}

const MAX_BODY_BYTES = 64 * 1024 * 1024

/** The whole body as text. Undefined if it is too large. */
export async function readRequestBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    const buffer = Buffer.from(chunk)
    bytes += buffer.length
    if (bytes > MAX_BODY_BYTES) return undefined
    chunks.push(buffer)
  }
  return Buffer.concat(chunks).toString('utf8')
}

interface Endpoint extends Pick<SimulatedRequest, 'vendor' | 'format'> {
  readonly path: RegExp
  read(body: Readonly<Record<string, unknown>>, path: RegExpExecArray): Omit<SimulatedRequest, 'vendor' | 'format' | 'raw'>
}

const ENDPOINTS: readonly Endpoint[] = [
  {
    vendor: 'openai',
    format: 'responses',
    path: /^\/openai\/v1\/responses$/,
    read: ({ model, stream, instructions, input, text, tools, tool_choice: choice }) => ({
      tool: toTool(listOf(tools), choice, listOf(input)),
      ...toChatMessages([
        { role: 'system', content: instructions },
        ...(typeof input === 'string' ? [{ role: 'user', content: input }] : listOf(input)),
      ]),
      model: textOf(model) ?? '',
      stream: stream === true,
      schema: toSchema(recordOf(recordOf(text).format).schema),
    }),
  },
  {
    vendor: 'openai',
    format: 'chat',
    path: /^\/openai\/v1\/chat\/completions$/,
    read: ({ model, stream, messages, response_format: format, tools, tool_choice: choice }) => ({
      tool: toTool(
        listOf(tools).map((tool) => recordOf(tool).function),
        choice,
        listOf(messages),
      ),
      ...toChatMessages(listOf(messages)),
      model: textOf(model) ?? '',
      stream: stream === true,
      schema: toSchema(recordOf(recordOf(format).json_schema).schema),
    }),
  },
  {
    vendor: 'anthropic',
    format: 'messages',
    path: /^\/anthropic\/v1\/messages$/,
    read: ({ model, stream, system, messages, output_config: config, output_format: format, tools, tool_choice: choice }) => ({
      tool: toTool(listOf(tools), choice, listOf(messages)),
      ...toChatMessages([{ role: 'system', content: system }, ...listOf(messages)]),
      model: textOf(model) ?? '',
      stream: stream === true,
      schema: toSchema(recordOf(recordOf(config).format ?? format).schema),
    }),
  },
  {
    vendor: 'google',
    format: 'generateContent',
    path: /^\/google\/v1[^/]*\/models\/(.+):(generateContent|streamGenerateContent)$/,
    read: ({ systemInstruction, contents, generationConfig, tools, toolConfig }, [, model, method]) => ({
      tool: toTool(
        listOf(tools).flatMap((tool) => listOf(recordOf(tool).functionDeclarations)),
        recordOf(toolConfig).functionCallingConfig,
        listOf(contents),
      ),
      ...toChatMessages([{ role: 'system', content: systemInstruction }, ...listOf(contents)]),
      model: decodeURIComponent(model ?? ''),
      stream: method === 'streamGenerateContent',
      schema: toSchema(recordOf(generationConfig).responseJsonSchema ?? recordOf(generationConfig).responseSchema),
    }),
  },
]

/** Parses a request. Undefined if the simulator has no endpoint at the path. */
export function parseSimulatedRequest(path: string, raw: string): SimulatedRequest | undefined {
  for (const { vendor, format, path: pattern, read } of ENDPOINTS) {
    const match = pattern.exec(path)
    if (!match) continue
    const request = { vendor, format, raw, ...read(parseBody(raw), match) }
    return { ...request, schema: request.schema ?? schemaInWords(request.prompt) }
  }
  return undefined
}

function parseBody(raw: string): Readonly<Record<string, unknown>> {
  try {
    return recordOf(JSON.parse(raw))
  } catch {
    return {}
  }
}

/** A schema on one line of the prompt, where it is sent if the vendor's API has no field for it. */
function schemaInWords(prompt: string): JsonSchema | undefined {
  const [, text] = /JSON Schema:\s*(\{.*\})/.exec(prompt) ?? []
  const schema = text === undefined ? {} : parseBody(text)
  return Object.keys(schema).length === 0 ? undefined : schema
}

const toSchema = (value: unknown): JsonSchema | undefined => (isRecord(value) ? value : undefined)

/** A choice in any format that forbids tools: `none`, `{ type: 'none' }`, `{ mode: 'NONE' }`. */
const FORBIDDEN = /^none$/i

function toTool(tools: readonly unknown[], choice: unknown, messages: readonly unknown[]): SimulatedTool | undefined {
  if (messages.map(recordOf).some(hasToolResult)) return undefined
  const { type, mode, name, function: chosen, allowedFunctionNames } = recordOf(choice)
  if ([choice, type, mode].some((word) => typeof word === 'string' && FORBIDDEN.test(word))) return undefined
  const wanted = textOf(name) ?? textOf(recordOf(chosen).name) ?? textOf(listOf(allowedFunctionNames)[0])
  const named = tools.map(recordOf).filter((tool) => textOf(tool.name) !== undefined && !isHosted(tool))
  const tool = named.find((one) => one.name === wanted) ?? named[0]
  if (!tool) return undefined
  const schema = tool.parameters ?? tool.input_schema ?? tool.parametersJsonSchema
  return { name: textOf(tool.name) ?? '', parameters: recordOf(schema) }
}

/** Hosted tools have a type of their own. Those of Anthropic have a name as well. */
const isHosted = ({ type }: Readonly<Record<string, unknown>>): boolean =>
  typeof type === 'string' && type !== 'function' && type !== 'custom'

/** Results are messages of their own (`tool`, `function_call_output`) or parts of a message of the user. */
function hasToolResult({ role, type, content, parts }: Readonly<Record<string, unknown>>): boolean {
  if (role === 'tool' || type === 'function_call_output') return true
  return [...listOf(content), ...listOf(parts)]
    .map(recordOf)
    .some((part) => part.type === 'tool_result' || part.functionResponse !== undefined)
}

const SYSTEM_ROLES: readonly unknown[] = ['system', 'developer']

function toChatMessages(messages: readonly unknown[]): Pick<SimulatedRequest, 'system' | 'prompt' | 'text'> {
  const texts = messages.map(recordOf).map((message) => ({
    role: hasToolResult(message) ? 'tool' : (message.role ?? (message.type === undefined ? undefined : 'item')),
    text: plainText(message.content ?? message.parts ?? message.output),
  }))
  const system = texts.filter(({ role }) => SYSTEM_ROLES.includes(role))
  const others = texts.filter(({ role }) => !SYSTEM_ROLES.includes(role))
  return {
    system: system.map(({ text }) => text).join('\n'),
    prompt: others.findLast(({ role }) => role === 'user' || role === undefined)?.text ?? '',
    text: [...system, ...others].map(({ text }) => text).join('\n'),
  }
}

/** Text of a message: a string, a list of parts, or an object with either. */
function plainText(content: unknown): string {
  if (typeof content === 'string') return content
  if (Array.isArray(content)) return content.map(plainText).join('')
  const { text, parts: nested, content: inner } = recordOf(content)
  return textOf(text) ?? plainText(nested ?? inner ?? '')
}

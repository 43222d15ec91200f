import type { IncomingMessage } from 'node:http'
import type { JsonSchema } from '../../domain/execution/model-call.ts'
import { isRecord, listOf, recordOf, textOf } from '../vendor/foreign-json.ts'

export type SimulatedVendor = 'openai' | 'anthropic' | 'google'
export type SimulatedFormat = 'responses' | 'chat' | 'messages' | 'generateContent'

/** One request to the simulator, whatever vendor's words it was written in. */
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
  /** The body as it came. */
  readonly raw: string
}

const MAX_BODY_BYTES = 64 * 1024 * 1024

/** The whole body as text; undefined when it is too large. */
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
    read: ({ model, stream, instructions, input, text }) => ({
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
    read: ({ model, stream, messages, response_format: format }) => ({
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
    read: ({ model, stream, system, messages, output_config: config, output_format: format }) => ({
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
    read: ({ systemInstruction, contents, generationConfig }, [, model, method]) => ({
      ...toChatMessages([{ role: 'system', content: systemInstruction }, ...listOf(contents)]),
      model: decodeURIComponent(model ?? ''),
      stream: method === 'streamGenerateContent',
      schema: toSchema(recordOf(generationConfig).responseJsonSchema ?? recordOf(generationConfig).responseSchema),
    }),
  },
]

/** The request behind a path and body; undefined when the simulator has no such endpoint. */
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

/** A schema that is told in the prompt, on one line, because the vendor's API has no place for it. */
function schemaInWords(prompt: string): JsonSchema | undefined {
  const [, text] = /JSON Schema:\s*(\{.*\})/.exec(prompt) ?? []
  const schema = text === undefined ? {} : parseBody(text)
  return Object.keys(schema).length === 0 ? undefined : schema
}

const toSchema = (value: unknown): JsonSchema | undefined => (isRecord(value) ? value : undefined)

const SYSTEM_ROLES: readonly unknown[] = ['system', 'developer']

function toChatMessages(messages: readonly unknown[]): Pick<SimulatedRequest, 'system' | 'prompt' | 'text'> {
  const turns = messages
    .map(recordOf)
    .map((message) => ({ role: message.role, text: plainText(message.content ?? message.parts) }))
  const system = turns.filter(({ role }) => SYSTEM_ROLES.includes(role))
  const others = turns.filter(({ role }) => !SYSTEM_ROLES.includes(role))
  return {
    system: system.map(({ text }) => text).join('\n'),
    prompt: others.findLast(({ role }) => role === 'user' || role === undefined)?.text ?? '',
    text: [...system, ...others].map(({ text }) => text).join('\n'),
  }
}

/** Text of a message however it is packed: a string, parts, or an object that holds either. */
function plainText(content: unknown): string {
  if (typeof content === 'string') return content
  if (Array.isArray(content)) return content.map(plainText).join('')
  const { text, deps } = recordOf(content)
  return textOf(text) ?? (deps === undefined ? '' : plainText(deps))
}

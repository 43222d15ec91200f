import * as z from 'zod'
import type { ModelRequest, ToolCall } from '../../src/domain/execution/model-call.ts'
import { UNKNOWN_USAGE } from '../../src/domain/execution/usage.ts'
import type { CallOrigin } from '../../src/domain/tools/call-origin.ts'
import type { Provider, ProviderOperation } from '../../src/providers/provider.ts'
import type { ScriptedAnswer } from '../../src/providers/scripted.ts'

/** One call that a tool received. */
export interface ReceivedCall {
  readonly operation: string
  readonly given: Readonly<Record<string, unknown>>
  readonly origin: CallOrigin | undefined
  readonly signal: AbortSignal
}

export interface ToolSpec extends Partial<Pick<ProviderOperation, 'description' | 'idempotent' | 'approval'>> {
  readonly input: z.ZodType
  readonly run: (given: Readonly<Record<string, unknown>>, call: ReceivedCall) => unknown
}

/** A provider of operations, with every call that it received. */
export interface ToolProvider extends Provider {
  readonly received: readonly ReceivedCall[]
}

export function createToolProvider(
  id: string,
  specs: Readonly<Record<string, ToolSpec>>,
  { inProcess = true }: { readonly inProcess?: boolean } = {},
): ToolProvider {
  const received: ReceivedCall[] = []
  const operations = Object.entries(specs).map(([name, spec]) => toOperation(name, spec))
  return {
    id,
    kind: id,
    vendor: id,
    simulated: false,
    inProcess,
    received,
    operations: async () => operations,
    async generate({ model, arguments: given = {} }, { signal, origin }) {
      const call = { operation: model, given, origin, signal }
      received.push(call)
      const value = await specs[model]?.run(given, call)
      const text = typeof value === 'string' ? value : JSON.stringify(value)
      return { text, value, model, finishReason: 'stop', usage: UNKNOWN_USAGE, notes: [] }
    },
  }
}

function toOperation(name: string, { input, description, idempotent = false, approval = false }: ToolSpec): ProviderOperation {
  return {
    name,
    description,
    input: z.toJSONSchema(input),
    idempotent,
    approval,
    expose: 'api',
    check(given) {
      const parsed = input.safeParse(given)
      return parsed.success ? [] : parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
    },
  }
}

/** An answer that calls tools: `[name, arguments]` each. */
export const calling = (...calls: readonly (readonly [name: string, given: unknown])[]): ScriptedAnswer => ({
  text: '',
  finishReason: 'tool_calls',
  toolCalls: calls.map(([name, given], index): ToolCall => ({ id: `${name}-${index}`, name, arguments: asText(given) })),
})

const asText = (given: unknown): string => (typeof given === 'string' ? given : JSON.stringify(given))

/** What the tools answered in the newest turn of a request. */
export const toolAnswers = ({ messages }: ModelRequest): readonly string[] => {
  const last = messages.findLastIndex(({ role }) => role === 'assistant')
  return messages.slice(last + 1).flatMap((message) => (message.role === 'tool' ? message.content : []))
}

export const lookUp = (prices: Readonly<Record<string, number>> = { pen: 3, cup: 7 }): ToolSpec => ({
  input: z.strictObject({ sku: z.string() }),
  description: 'Price of an article',
  idempotent: true,
  run: ({ sku }) => ({ price: prices[String(sku)] ?? null }),
})

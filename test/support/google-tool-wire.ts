import type { ToolCall } from '../../src/domain/execution/model-call.ts'
import { type ForeignRecord, listOf, recordOf, textOf } from '../../src/providers/vendor/foreign-json.ts'
import type { ToolWire } from '../contracts/provider-tools.ts'
import { SSE_HEADERS, sse } from './vendor-server.ts'

const USAGE = { promptTokenCount: 10, candidatesTokenCount: 5, totalTokenCount: 15 }

const chunk = (parts: readonly object[], finishReason?: string) => ({
  candidates: [{ content: { role: 'model', parts }, ...(finishReason && { finishReason }) }],
  usageMetadata: USAGE,
  modelVersion: 'answering-model',
})

const SIGNATURE = 'c2lnbmVk'
const THOUGHT = { text: 'Which place?', thought: true }

const toPart = ({ id, name, arguments: given }: ToolCall) => ({ functionCall: { id, name, args: JSON.parse(given) } })

const partsOf = (body: unknown): readonly ForeignRecord[] =>
  listOf(recordOf(body).contents).flatMap((each) => listOf(recordOf(each).parts).map(recordOf))

function toChoice({ mode = 'AUTO', allowedFunctionNames }: ForeignRecord): unknown {
  const [name] = listOf(allowedFunctionNames)
  if (name !== undefined) return { name }
  return mode === 'ANY' ? 'required' : String(mode).toLowerCase()
}

/** The Gemini API, whose calls have ids from Gemini 3 on. */
export const googleToolWire: ToolWire = {
  wholeCalls: (calls) => ({ body: chunk(calls.map(toPart), 'STOP') }),
  streamedCalls: (calls) => ({
    headers: SSE_HEADERS,
    body: sse(...calls.map((call) => chunk([toPart(call)])), chunk([{ text: '' }], 'STOP')),
  }),
  signedCall: (call) => ({ body: chunk([THOUGHT, { ...toPart(call), thoughtSignature: SIGNATURE }], 'STOP') }),
  streamedSignedCall: (call) => ({
    headers: SSE_HEADERS,
    body: sse(chunk([THOUGHT]), chunk([{ ...toPart(call), thoughtSignature: SIGNATURE }]), chunk([{ text: '' }], 'STOP')),
  }),
  returnsSigned: (body) => partsOf(body).some(({ thoughtSignature }) => thoughtSignature === SIGNATURE),
  engineField: 'contents',
  refusedSetting: { parallelToolCalls: false },
  read(body) {
    const { tools, toolConfig } = recordOf(body)
    return {
      tools: listOf(tools)
        .flatMap((tool) => listOf(recordOf(tool).functionDeclarations).map(recordOf))
        .map(({ name, description, parametersJsonSchema }) => {
          const words = textOf(description)
          // A function without parameters has no schema here.
          const parameters = parametersJsonSchema === undefined ? { type: 'object' } : recordOf(parametersJsonSchema)
          return { name: String(name), ...(words && { description: words }), parameters }
        }),
      toolChoice: toChoice(recordOf(recordOf(toolConfig).functionCallingConfig)),
      calls: partsOf(body)
        .map(({ functionCall }) => recordOf(functionCall))
        .filter(({ name }) => name !== undefined)
        .map(({ id, name, args }) => ({ id: textOf(id), name: String(name), arguments: args })),
      results: partsOf(body)
        .map(({ functionResponse }) => recordOf(functionResponse))
        .filter(({ name }) => name !== undefined)
        .map(({ id, name, response }) => ({ id: textOf(id), name: String(name), content: JSON.stringify(response) })),
      images: partsOf(body)
        .map(({ inlineData }) => recordOf(inlineData))
        .filter(({ data }) => data !== undefined)
        .map(({ mimeType, data }) => ({ mediaType: String(mimeType), data: String(data) })),
    }
  },
}

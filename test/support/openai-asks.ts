import type { ModelRequest, ModelResponse } from '../../src/domain/execution/model-call.ts'
import type { AdapterSettings } from '../../src/providers/adapter-settings.ts'
import { createOpenAiProvider } from '../../src/providers/openai/openai.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { SSE_HEADERS, sse, type VendorAnswer, type VendorServer } from './vendor-server.ts'

/** A provider that asks the scripted vendor. */
export const createOpenAiAt = (server: VendorServer, settings: Partial<AdapterSettings> = {}): Promise<Provider> =>
  createOpenAiProvider({
    id: 'openai',
    vendor: 'openai',
    apiKey: 'sk-test',
    baseUrl: `${server.url}/v1`,
    simulated: false,
    ...settings,
  })

export const askOf = (request: Partial<ModelRequest> = {}): ModelRequest => ({
  model: 'gpt-4o',
  messages: [{ role: 'user', content: 'Hello.' }],
  settings: {},
  ...request,
})

const noSignal = () => new AbortController().signal

/** Scripts the answer and asks once, without streaming. */
export async function answerOf(
  provider: Provider,
  server: VendorServer,
  answer: VendorAnswer,
  request?: Partial<ModelRequest>,
): Promise<ModelResponse> {
  server.answer(answer)
  return provider.generate(askOf(request), { signal: noSignal() })
}

/** Scripts the events as one stream, cut into small packets, and asks once; also says what was streamed. */
export async function streamOf(
  provider: Provider,
  server: VendorServer,
  events: readonly unknown[],
  request?: Partial<ModelRequest>,
): Promise<ModelResponse & { readonly streamed: string }> {
  server.answer({ headers: SSE_HEADERS, body: sse(...events), seed: 11 })
  let streamed = ''
  const answer = await provider.generate(askOf(request), {
    signal: noSignal(),
    onDelta: (text) => {
      streamed += text
    },
  })
  return { ...answer, streamed }
}

/** The last request body the vendor saw. */
export const lastBodyAt = (server: VendorServer): unknown => server.requests.at(-1)?.body

import { createOpenAI } from '@ai-sdk/openai'
import { fromAiSdk } from '../../../src/ai-sdk.ts'
import { describeProvider } from '../../contracts/provider.ts'
import { chatWire } from '../../support/openai-wires.ts'

/** The AI SDK follows redirects, which would send the key elsewhere; an own fetch keeps it from that. */
const noRedirects: typeof fetch = (input, init) => fetch(input, { ...init, redirect: 'manual' })

describeProvider({
  name: 'OpenAI over the AI SDK (Chat Completions)',
  create: async (baseURL, apiKey) =>
    fromAiSdk(createOpenAI({ baseURL: `${baseURL}/v1`, apiKey, fetch: noRedirects }).chat('gpt-4o'), { id: 'chat' }),
  wire: chatWire,
  model: 'gpt-4o',
})

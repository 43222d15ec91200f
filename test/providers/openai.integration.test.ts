import { createOpenAiProvider } from '../../src/providers/openai/openai.ts'
import { describeProvider } from '../contracts/provider.ts'
import { chatWire, responsesWire } from '../support/openai-wires.ts'

describeProvider({
  name: 'OpenAI Chat Completions',
  model: 'gpt-4o',
  wire: chatWire,
  create: (url, apiKey) =>
    createOpenAiProvider({ id: 'openai', vendor: 'openai', apiKey, baseUrl: `${url}/v1`, api: 'chat', simulated: false }),
})

describeProvider({
  name: 'OpenAI Responses',
  model: 'gpt-4o',
  wire: responsesWire,
  create: (url, apiKey) =>
    createOpenAiProvider({ id: 'openai', vendor: 'openai', apiKey, baseUrl: `${url}/v1`, api: 'responses', simulated: false }),
})

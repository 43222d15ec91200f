import { createOpenAiProvider } from '../../src/providers/openai/openai.ts'
import { describeTools } from '../contracts/provider-tools.ts'
import { chatToolWire, responsesToolWire } from '../support/openai-tool-wires.ts'

for (const [name, api, wire] of [
  ['OpenAI Chat Completions', 'chat', chatToolWire],
  ['OpenAI Responses', 'responses', responsesToolWire],
] as const) {
  describeTools({
    name,
    model: 'gpt-5.4',
    wire,
    create: (url, apiKey) =>
      createOpenAiProvider({ id: 'desk', vendor: 'openai', apiKey, baseUrl: `${url}/v1`, api, simulated: false }),
  })
}

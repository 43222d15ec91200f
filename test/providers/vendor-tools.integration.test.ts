import { createAnthropicProvider } from '../../src/providers/anthropic/anthropic.ts'
import { createGoogleProvider } from '../../src/providers/google/google.ts'
import { describeTools } from '../contracts/provider-tools.ts'
import { anthropicToolWire } from '../support/anthropic-tool-wire.ts'
import { googleToolWire } from '../support/google-tool-wire.ts'

describeTools({
  name: 'Anthropic',
  model: 'claude-opus-4-6',
  wire: anthropicToolWire,
  create: (baseUrl, apiKey) => createAnthropicProvider({ id: 'claude', vendor: 'anthropic', apiKey, baseUrl, simulated: false }),
})

for (const model of ['gemini-2.5-flash', 'gemini-3.8-flash']) {
  describeTools({
    name: model,
    model,
    wire: googleToolWire,
    create: (baseUrl, apiKey) => createGoogleProvider({ id: 'gemini', vendor: 'google', apiKey, baseUrl, simulated: false }),
  })
}

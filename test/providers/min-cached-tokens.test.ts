import { expect, test } from 'vitest'
import { createMinCachedTokens } from '../../src/providers/models/min-cached-tokens.ts'

const info = (id: string, kind: string, vendor = id, simulated = false) => ({
  id,
  kind,
  vendor,
  simulated,
  active: true,
  origin: 'https://example.com',
})

test.each<[string, ReturnType<typeof info>, string, number]>([
  ['Claude by its model', info('work', 'anthropic', 'anthropic'), 'claude-sonnet-4-5', 1_024],
  ['Claude Haiku 4.5', info('anthropic', 'anthropic'), 'claude-haiku-4-5', 4_096],
  ['a model of another vendor behind the Messages API', info('deepseek', 'anthropic'), 'deepseek-chat', Number.POSITIVE_INFINITY],
  ['OpenAI', info('openai', 'openai'), 'gpt-5.4', 1_024],
  ['Azure', info('azure', 'openai-compatible'), 'my-deployment', 1_024],
  ['Claude at OpenRouter', info('openrouter', 'openai-compatible'), 'anthropic/claude-haiku-4-5', 4_096],
  ['another model at OpenRouter', info('openrouter', 'openai-compatible'), 'openai/gpt-5.4', 1_024],
  ['a server of unknown caching', info('ollama', 'openai-compatible'), 'llama', Number.POSITIVE_INFINITY],
  ['the simulator', info('anthropic', 'anthropic', 'anthropic', true), 'claude-sonnet-4-5', Number.POSITIVE_INFINITY],
])('the minimum of %s', (_, provider, model, expected) => {
  expect(createMinCachedTokens(() => provider)({ provider: provider.id, model })).toBe(expected)
})

test('a provider that is not configured caches nothing', () => {
  expect(createMinCachedTokens(() => undefined)({ provider: 'x', model: 'claude-sonnet-4-5' })).toBe(Number.POSITIVE_INFINITY)
})

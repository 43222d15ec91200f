import { describe, expect, test } from 'vitest'
import { createModelNames } from '../../src/providers/models/model-names.ts'
import { homeOriginOf } from '../../src/providers/registry.ts'

const NOW = Date.UTC(2026, 10, 20, 12)
const names = createModelNames({ now: () => NOW, prices: { 'openai/our-own': {}, 'anthropic/claude-2.1': {} } })
const at = (vendor: string, rest = {}) => ({ id: vendor, vendor, simulated: false, origin: homeOriginOf(vendor), ...rest })

test.each([
  ['openai', 'gpt-6-sol'],
  ['openai', 'gpt-6-sol-2026-09-01'],
  ['openai', 'GPT-6-Sol'],
  ['anthropic', 'claude-haiku-4-5-20251001'],
  ['anthropic', 'claude-opus-4-5@20251101'],
  ['google', 'models/gemini-3.8-flash'],
  ['google', 'gemini-3.8-flash-latest'],
  ['mistral', 'mistral-large-latest'],
  ['groq', 'llama-3.3-70b-versatile'],
  ['openai', 'ft:gpt-4o-mini:acme::abc123'],
])('%s knows %s', async (vendor, model) => {
  expect(await names.doubt(at(vendor), model)).toBeUndefined()
})

test.each([
  ['openai', 'gpt-6-soll', 'gpt-6-sol'],
  ['openai', 'gpt-6sol', 'gpt-6-sol'],
  ['openai', 'gpt-6-slo', 'gpt-6-sol'],
  ['openai', 'gpt-6-soll-2026-09-01', 'gpt-6-sol'],
  ['anthropic', 'claude-sonet-4-5', 'claude-sonnet-4-5'],
  ['google', 'gemini-3.8-flsh', 'gemini-3.8-flash'],
])('for %s the unknown model %s suggests %s', async (vendor, model, suggestion) => {
  const doubt = await names.doubt(at(vendor), model)
  expect(doubt?.suggestion).toBe(suggestion)
  expect(doubt?.message).toContain(`did you mean "${suggestion}"?`)
})

test('a newer version is unknown, and is not taken for a typing error', async () => {
  for (const model of ['gpt-7-sol', 'gpt-6.1-sol']) {
    const doubt = await names.doubt(at('openai'), model)
    expect(doubt?.message).toMatch(/is not in the list of openai of \d{4}-\d\d-\d\d$/)
    expect(doubt?.suggestion).toBeUndefined()
  }
})

describe('models that are shut down', () => {
  test.each([
    ['openai', 'gpt-4', '2026-10-23'],
    ['openai', 'gpt-4o-2024-05-13', '2026-10-23'],
    ['openai', 'o3-mini-2025-01-31', '2026-10-23'],
    ['anthropic', 'claude-3-opus-20240229', '2026-01-05'],
    ['anthropic', 'claude-3-5-sonnet-latest', '2025-10-28'],
    ['google', 'models/gemini-2.0-flash', '2026-06-01'],
  ])('%s %s was shut down on %s', async (vendor, model, shutdown) => {
    const doubt = await names.doubt(at(vendor), model)
    expect(doubt).toMatchObject({ shutdown, message: expect.stringContaining(`was shut down by ${vendor} on ${shutdown}`) })
  })

  test('a model that will be shut down is reported with the day', async () => {
    expect((await names.doubt(at('openai'), 'gpt-5'))?.message).toContain('will be shut down by openai on 2026-12-11')
  })

  test('a model whose name only starts like a retired one is not reported', async () => {
    for (const model of ['gpt-4o-2024-08-06', 'gpt-5.4', 'gpt-5.5-pro'])
      expect((await names.doubt(at('openai'), model))?.message ?? '').not.toContain('was shut down')
  })
})

test.each([
  ['a server of their own', at('openai', { origin: 'https://llm.example' }), 'mixtral-ours'],
  ['a preset without a public list', { id: 'ollama', vendor: 'ollama', simulated: false, origin: homeOriginOf('ollama') }, 'x'],
  ['deployments of Azure', { id: 'azure', vendor: 'azure', simulated: false, origin: 'https://a.openai.azure.com' }, 'prod'],
  ['a provider that is code', at('openai', { origin: 'in-process' }), 'anything'],
  ['the simulator', at('openai', { simulated: true }), 'anything'],
  ['a model with a configured price', at('openai'), 'our-own'],
  ['a retired model with a configured price', at('anthropic'), 'claude-2.1'],
])('no doubt is reported for %s', async (_, provider, model) => {
  expect(await names.doubt(provider, model)).toBeUndefined()
})

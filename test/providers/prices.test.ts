import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { Usage } from '../../src/domain/execution/usage.ts'
import { createPriceBook, PRICES_DATE } from '../../src/providers/models/prices.ts'

const NOW = Date.UTC(2026, 10, 20, 12)
const book = createPriceBook({ now: () => NOW })
const by = (vendor: string, id = vendor, simulated = false) => ({ id, vendor, simulated })
const named = (model: string, requestedModel = model, serviceTier?: string) => ({ model, requestedModel, serviceTier })
const used = (inputTokens: number, outputTokens: number, rest: Partial<Usage> = {}): Usage => ({
  inputTokens,
  outputTokens,
  source: 'reported',
  ...rest,
})

describe('prices of the bundled list', () => {
  test('plain, cached, cache-write and output tokens are each priced once', async () => {
    // Claude Opus 4.6: 5 input, 0.5 cache read, 6.25 cache write, 25 output, US dollars per million.
    const cost = await book.price(by('anthropic'), named('claude-opus-4-6'), used(1_000_000, 0))
    expect(cost).toEqual({ costUsd: 5, source: 'prices', pricesDate: PRICES_DATE, estimated: false })
    expect(
      await book.price(by('anthropic'), named('claude-opus-4-6'), used(1_000_000, 0, { cachedInputTokens: 1_000_000 })),
    ).toMatchObject({ costUsd: 0.5 })
    expect(
      await book.price(by('anthropic'), named('claude-opus-4-6'), used(1_000_000, 0, { cacheWriteTokens: 1_000_000 })),
    ).toMatchObject({ costUsd: 6.25 })
    expect(
      await book.price(
        by('anthropic'),
        named('claude-opus-4-6'),
        used(1_000_000, 100_000, { cachedInputTokens: 400_000, cacheWriteTokens: 200_000, reasoningTokens: 90_000 }),
      ),
    ).toMatchObject({ costUsd: 2 + 0.2 + 1.25 + 2.5 })
  })

  test('long prompts cost the tier of their whole length', async () => {
    // Claude Sonnet 4.5: 3 per million up to 200,000 tokens of prompt, 6 beyond.
    expect(await book.price(by('anthropic'), named('claude-sonnet-4-5-20250929'), used(200_000, 0))).toMatchObject({
      costUsd: 0.6,
    })
    expect(await book.price(by('anthropic'), named('claude-sonnet-4-5-20250929'), used(300_000, 0))).toMatchObject({
      costUsd: 1.8,
    })
  })

  test.each([
    ['openai', 'gpt-4o-2024-08-06', 12.5],
    ['anthropic', 'claude-3-5-haiku-20241022', 4.8],
    ['google', 'gemini-2.5-flash', 2.8],
    ['groq', 'llama-3.3-70b-versatile', 1.38],
    ['xai', 'grok-4', 18],
    ['openrouter', 'openai/gpt-4o', 12.5],
    ['together', 'meta-llama/Llama-3.3-70B-Instruct-Turbo', 1.76],
    ['deepseek', 'deepseek-chat', 1.37],
    ['mistral', 'mistral-large-latest', 8],
    ['azure', 'gpt-4o', 12.5],
  ])('a million tokens each way at %s with %s cost %d dollars', async (vendor, model, costUsd) => {
    expect(await book.price(by(vendor), named(model), used(1_000_000, 1_000_000))).toMatchObject({ costUsd })
  })

  test.each([
    ['a model nobody listed', 'openai', 'gpt-99-unheard-of'],
    ['a model that is listed without a price', 'google', 'gemma-3'],
    ['an embedding model that answers with text', 'azure', 'text-embedding-3-large'],
    ['a server at home', 'ollama', 'llama3.2'],
    ['LM Studio with a name of OpenAI', 'lmstudio', 'gpt-4o'],
    ['a compatible server with a name of OpenAI', 'openai-compatible', 'gpt-4o'],
    ['a vendor with a name of objects', 'constructor', 'gpt-4o'],
  ])('%s has no price, which is not 0', async (_, vendor, model) => {
    expect(await book.price(by(vendor), named(model), used(1_000, 1_000))).toBeUndefined()
    expect(await book.worstCase(by(vendor), model, 1_000, 1_000)).toBeUndefined()
    expect(await book.price(by(vendor), named(model), used(1_000, 1_000))).toBeUndefined()
  })

  test('a model listed without a price has no cost even for 0 tokens', async () => {
    expect(await book.price(by('google'), named('gemma-3'), used(0, 0))).toBeUndefined()
  })

  test('unknown tokens have no price', async () => {
    for (const usage of [
      { source: 'unknown' },
      { inputTokens: 5, source: 'reported' },
      { outputTokens: 5, source: 'reported' },
    ] as const satisfies readonly Usage[])
      expect(await book.price(by('openai'), named('gpt-4o'), usage)).toBeUndefined()
  })

  test('a price is returned without a promise once the list is loaded', async () => {
    await book.price(by('openai'), named('gpt-4o'), used(1, 1))
    expect(book.price(by('openai'), named('gpt-4o'), used(1_000_000, 0))).toMatchObject({ costUsd: 2.5 })
  })

  test('an answering model that is not listed is priced as the requested model', async () => {
    expect(await book.price(by('openai'), named('internal-build-7', 'gpt-4o'), used(1_000_000, 0))).toMatchObject({
      costUsd: 2.5,
    })
    expect(await book.price(by('openai'), named('gpt-4o-mini', 'gpt-4o'), used(1_000_000, 0))).toMatchObject({ costUsd: 0.15 })
    expect(await book.price(by('azure'), named('gpt-4o-2024-08-06', 'team-chat'), used(1_000_000, 0))).toMatchObject({
      costUsd: 2.5,
    })
  })

  test.each([
    ['openai', 'gpt-4o', 'default', 2.5],
    ['openai', 'gpt-4o', 'flex', 1.25],
    ['openai', 'gpt-4o', 'priority', undefined],
    ['openai', 'gpt-4o', 'a tier to come', undefined],
    ['openai', 'gpt-4o', 'constructor', undefined],
    ['google', 'gemini-2.5-flash', 'ON_DEMAND', 0.3],
    ['google', 'gemini-2.5-flash', 'ON_DEMAND_FLEX', 0.15],
    ['google', 'gemini-2.5-flash', 'ON_DEMAND_PRIORITY', undefined],
    ['google', 'gemini-2.5-flash', 'PROVISIONED_THROUGHPUT', undefined],
    ['anthropic', 'claude-opus-4-6', 'standard', 5],
    ['anthropic', 'claude-opus-4-6', 'batch', undefined],
    ['anthropic', 'claude-opus-4-6', 'priority', undefined],
    ['groq', 'llama-3.3-70b-versatile', 'on_demand', 0.59],
  ])('a million input tokens of %s/%s on tier %s cost %s', async (vendor, model, tier, costUsd) => {
    const cost = await book.price(by(vendor), named(model, model, tier), used(1_000_000, 0))
    expect(cost?.costUsd).toBe(costUsd)
  })

  test('an estimate is marked as one', async () => {
    expect(await book.price(by('openai'), named('gpt-4o'), used(10, 10, { source: 'estimated' }))).toMatchObject({
      estimated: true,
    })
  })

  test('parts of a usage larger than their total are priced as the total', async () => {
    expect(
      await book.price(
        by('anthropic'),
        named('claude-opus-4-6'),
        used(1_000_000, 0, { cachedInputTokens: 2_000_000, cacheWriteTokens: 5 }),
      ),
    ).toMatchObject({
      costUsd: 0.5,
    })
    expect(await book.price(by('openai'), named('gpt-4o'), used(0, 1_000_000, { reasoningTokens: 3_000_000 }))).toMatchObject({
      costUsd: 10,
    })
  })

  test('costs are rounded to whole nano-dollars', async () => {
    // The list adds up to 0.0052499999999999995.
    const usage = used(1_000, 100, { cachedInputTokens: 500 })
    expect((await book.price(by('anthropic'), named('claude-opus-4-6'), usage))?.costUsd).toBe(0.00525)
  })

  test('a price by time of day is the current one', async () => {
    const night = createPriceBook({ now: () => Date.UTC(2026, 10, 20, 20) })
    expect(await night.price(by('deepseek'), named('deepseek-chat'), used(1_000_000, 1_000_000))).toMatchObject({
      costUsd: 0.685,
    })
  })

  test('the date of the list belongs to the installed version', () => {
    const { version } = JSON.parse(
      readFileSync(new URL('../../node_modules/@pydantic/genai-prices/package.json', import.meta.url), 'utf8'),
    )
    expect({ version, PRICES_DATE }).toEqual({ version: '0.1.8', PRICES_DATE: '2026-09-23' })
  })
})

describe('configured prices', () => {
  const configured = createPriceBook({
    now: () => NOW,
    overrides: {
      'local/llama3.2': { inputPerMillion: 1, outputPerMillion: 2 },
      'openai/gpt-4o': { inputPerMillion: 10, outputPerMillion: 20, cachedInputPerMillion: 1, cacheWritePerMillion: 12 },
      'local/free': { inputPerMillion: 0, outputPerMillion: 0 },
    },
  })
  const local = by('ollama', 'local')

  test('apply to a provider and model and take precedence over the list', async () => {
    expect(await configured.price(local, named('llama3.2'), used(1_000_000, 500_000))).toEqual({
      costUsd: 2,
      source: 'configured',
      estimated: false,
    })
    expect(await configured.price(by('openai'), named('gpt-4o'), used(1_000_000, 0))).toMatchObject({
      costUsd: 10,
      source: 'configured',
    })
    expect(await configured.price(by('openai', 'second'), named('gpt-4o'), used(1_000_000, 0))).toMatchObject({
      costUsd: 2.5,
      source: 'prices',
    })
    expect(await configured.price(local, named('llama3.3'), used(1, 1))).toBeUndefined()
  })

  test('apply to the requested model under any name of the answering one', async () => {
    const prices = createPriceBook({
      now: () => NOW,
      overrides: {
        'desk/fast': { inputPerMillion: 10, outputPerMillion: 10 },
        'azure/team-chat': { inputPerMillion: 100, outputPerMillion: 100 },
        'router/maker/model-one': { inputPerMillion: 3, outputPerMillion: 3 },
        'router/other/answering': { inputPerMillion: 4, outputPerMillion: 4 },
        'gemini/gemini-x': { inputPerMillion: 5, outputPerMillion: 5 },
      },
    })
    const costs = [
      [by('openai-compatible', 'desk'), named('/models/llama.gguf', 'fast'), 10],
      [by('azure'), named('gpt-4o-2024-08-06', 'team-chat'), 100],
      [by('azure'), named('gpt-4o-2024-08-06', 'Team-Chat'), 100],
      [by('openrouter', 'router'), named('other/answering', 'maker/model-one'), 3],
      [by('openrouter', 'router'), named('other/answering', 'maker/auto'), 4],
      [by('google', 'gemini'), named('gemini-x-001', 'models/gemini-x'), 5],
      [by('google', 'gemini'), named('gemini-x-001', 'gemini-x@20260101'), 5],
    ] as const
    for (const [provider, answer, costUsd] of costs)
      expect(await prices.price(provider, answer, used(1_000_000, 0))).toMatchObject({ costUsd, source: 'configured' })
    expect(await prices.worstCase(by('azure'), 'team-chat', 1_000_000, 0)).toBe(100)
  })

  test('distinguish names that differ only in case if both are configured', async () => {
    const prices = createPriceBook({
      overrides: { 'desk/A': { inputPerMillion: 1, outputPerMillion: 1 }, 'desk/a': { inputPerMillion: 2, outputPerMillion: 2 } },
    })
    const desk = by('openai-compatible', 'desk')
    expect(await prices.price(desk, named('x', 'A'), used(1_000_000, 0))).toMatchObject({ costUsd: 1 })
    expect(await prices.price(desk, named('x', 'a'), used(1_000_000, 0))).toMatchObject({ costUsd: 2 })
  })

  test('apply to answering names with a date or tag', async () => {
    expect(await configured.price(by('openai'), named('gpt-4o-2024-08-06'), used(1_000_000, 0))).toMatchObject({
      source: 'configured',
    })
    expect(await configured.price(local, named('llama3.2:latest'), used(1_000_000, 0))).toMatchObject({ costUsd: 1 })
    expect(await configured.price(local, named('llama3.2:70b'), used(1_000_000, 0))).toBeUndefined()
  })

  test('default to the price of plain input for other kinds of input', async () => {
    const usage = used(1_000_000, 0, { cachedInputTokens: 500_000, cacheWriteTokens: 250_000 })
    expect(await configured.price(by('openai'), named('gpt-4o'), usage)).toMatchObject({ costUsd: 0.5 + 3 + 2.5 })
    expect(await configured.price(local, named('llama3.2'), usage)).toMatchObject({ costUsd: 1 })
  })

  test('of 0 make a model free, not unpriced', async () => {
    expect(await configured.price(local, named('free'), used(5, 5))).toMatchObject({ costUsd: 0, source: 'configured' })
    expect(await configured.worstCase(local, 'free', 5, 5)).toBe(0)
  })
})

describe('worst case', () => {
  test('is at least the cost of the same tokens with any use of the cache', async () => {
    const worst = await book.worstCase(by('anthropic'), 'claude-opus-4-6', 10_000, 1_000)
    expect(worst).toBe(0.0625 + 0.025)
    for (const cached of [0, 5_000, 10_000]) {
      const usage = used(10_000, 1_000, { cachedInputTokens: cached, cacheWriteTokens: 10_000 - cached })
      expect((await book.price(by('anthropic'), named('claude-opus-4-6'), usage))?.costUsd).toBeLessThanOrEqual(worst ?? 0)
    }
  })

  test('is 0 for a simulated provider, whose answers have no cost', async () => {
    const simulated = by('openai', 'openai', true)
    expect(await book.worstCase(simulated, 'gpt-4o', 1_000, 1_000)).toBe(0)
    expect(await book.price(simulated, named('gpt-4o'), used(1_000, 1_000))).toBeUndefined()
  })
})

test('the worst case has the fees of hosted tools: from the table where a turn has a bound, else from the configuration', async () => {
  const book = createPriceBook({
    overrides: { 'google/gemini-3-pro': { inputPerMillion: 1, outputPerMillion: 1, hostedPerTurn: 0.2 } },
  })
  const feeOf = async (vendor: string, model: string, ...tools: readonly string[]) => {
    const [plain = 0, all] = [await book.worstCase(by(vendor), model, 0, 0), await book.worstCase(by(vendor), model, 0, 0, tools)]
    return all === undefined ? undefined : Math.round((all - plain) * 1e6) / 1e6
  }
  expect(await feeOf('anthropic', 'claude-opus-4-6', 'web_search', 'web_fetch')).toBe(0.05)
  expect(await feeOf('anthropic', 'claude-opus-4-6', 'code_execution')).toBeUndefined()
  expect(await feeOf('openai', 'gpt-4o', 'web_search', 'file_search:vs_1')).toBe(0.0625)
  expect(await feeOf('google', 'gemini-2.5-pro', 'web_search')).toBe(0.035)
  expect(await feeOf('google', 'gemini-3-pro', 'web_search')).toBe(0.2)
  expect(await feeOf('groq', 'llama-3.3-70b-versatile', 'web_search')).toBeUndefined()
})

test('what is free costs 0 however much of it was used, and also where the usage is unknown', () => {
  const free = createPriceBook({ perCall: () => ({ costUsd: 0, source: 'free' }) })
  for (const usage of [used(10, 20), { source: 'unknown' } as const]) {
    expect(free.price(by('service', 'writer-1'), named('small'), usage)).toEqual({ costUsd: 0, source: 'free', estimated: false })
  }
  const stated = createPriceBook({ perCall: () => ({ costUsd: 0.5, source: 'configured' }) })
  expect(stated.price(by('service', 'writer-1'), named('small'), { source: 'unknown' })).toBeUndefined()
})

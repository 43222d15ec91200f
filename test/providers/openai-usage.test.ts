import { describe, expect, test } from 'vitest'
import { toUsage } from '../../src/providers/openai/openai-usage.ts'
import { toStatedCostUsd } from '../../src/providers/openai/stated-cost.ts'

describe('tokens of the OpenAI protocol', () => {
  test.each([
    [
      'reasoning beside the total (Gemini behind a gateway)',
      { prompt_tokens: 9, completion_tokens: 2, total_tokens: 11, completion_tokens_details: { reasoning_tokens: 25 } },
      { inputTokens: 9, outputTokens: 27, reasoningTokens: 25, totalTokens: 36 },
    ],
    [
      'thoughts hidden in the total (Google)',
      { prompt_tokens: 66, completion_tokens: 6, total_tokens: 100 },
      { inputTokens: 66, outputTokens: 34, totalTokens: 100 },
    ],
    ['the output missing', { prompt_tokens: 66, total_tokens: 100 }, { inputTokens: 66, outputTokens: 34, totalTokens: 100 }],
    ['the input missing', { completion_tokens: 34, total_tokens: 100 }, { inputTokens: 66, outputTokens: 34, totalTokens: 100 }],
    ['the total alone', { prompt_tokens: 0, completion_tokens: 0, total_tokens: 100 }, { totalTokens: 100 }],
    [
      'cached tokens of Mistral',
      {
        prompt_tokens: 100,
        completion_tokens: 5,
        total_tokens: 105,
        num_cached_tokens: 64,
        prompt_tokens_details: { cached_tokens: 0 },
      },
      { inputTokens: 100, cachedInputTokens: 64, outputTokens: 5, totalTokens: 105 },
    ],
    [
      'cached tokens of DeepSeek',
      { prompt_tokens: 100, completion_tokens: 5, total_tokens: 105, prompt_cache_hit_tokens: 64, prompt_cache_miss_tokens: 36 },
      { inputTokens: 100, cachedInputTokens: 64, outputTokens: 5, totalTokens: 105 },
    ],
    [
      'cached tokens of Moonshot',
      { prompt_tokens: 100, completion_tokens: 5, total_tokens: 105, cached_tokens: 64 },
      { inputTokens: 100, cachedInputTokens: 64, outputTokens: 5, totalTokens: 105 },
    ],
    [
      'names of Anthropic, beside the input',
      { input_tokens: 10, output_tokens: 5, cache_read_input_tokens: 60, cache_creation_input_tokens: 30 },
      { inputTokens: 100, cachedInputTokens: 60, cacheWriteTokens: 30, outputTokens: 5, totalTokens: 105 },
    ],
    [
      'names of Anthropic, in the input',
      { prompt_tokens: 100, completion_tokens: 5, total_tokens: 105, cache_read_input_tokens: 60 },
      { inputTokens: 100, cachedInputTokens: 60, outputTokens: 5, totalTokens: 105 },
    ],
    [
      'audio and reasoning beside',
      {
        prompt_tokens: 10,
        completion_tokens: 5,
        total_tokens: 65,
        prompt_tokens_details: { audio_tokens: 30 },
        completion_tokens_details: { reasoning_tokens: 20 },
      },
      { inputTokens: 40, outputTokens: 25, reasoningTokens: 20, totalTokens: 65 },
    ],
    [
      'a total that is too small',
      { prompt_tokens: 10, completion_tokens: 5, total_tokens: 5 },
      { inputTokens: 10, outputTokens: 5, totalTokens: 15 },
    ],
  ])('%s', (_, raw, usage) => {
    expect(toUsage(raw)).toEqual({ ...usage, source: 'reported' })
  })
})

describe('costs stated by a vendor', () => {
  test.each([
    ['a number', { cost: 0.036 }, 0.036],
    ['a text', { cost: '0.036' }, 0.036],
    ['a text with its currency', { cost: '$0.036' }, 0.036],
    [
      'an object with its total',
      { cost: { input_tokens_cost: 0.001, output_tokens_cost: 0.002, request_cost: 0.005, total_cost: 0.008 } },
      0.008,
    ],
    ['an object by its currency', { cost: { usd: '0.01' } }, 0.01],
    ['a total further inside', { cost: { total: { usd: 0.01 } } }, 0.01],
    ['an object of parts', { cost: { input: 0.25, output: { total: 0.5 } } }, 0.75],
    ['another currency', { cost: { total: 3, currency: 'EUR' } }, undefined],
    ['ticks', { cost_in_usd_ticks: 1_399_000 }, 0.0001399],
    ['a negative number', { cost: -1 }, undefined],
    ['no number', { cost: Number.NaN }, undefined],
    ['nothing', { cost: null }, undefined],
    ['prose', { cost: 'free' }, undefined],
    ['an own key without a fee', { cost: 0, is_byok: true, cost_details: { upstream_inference_cost: 0.036 } }, 0.036],
    ['an own key with a fee', { cost: 0.25, is_byok: true, cost_details: { upstream_inference_cost: 0.5 } }, 0.75],
    [
      'an own key, the bill in parts',
      {
        cost: 0,
        is_byok: true,
        cost_details: {
          upstream_inference_cost: null,
          upstream_inference_prompt_cost: 0.25,
          upstream_inference_completions_cost: 0.5,
        },
      },
      0.75,
    ],
    ['an own key without its bill', { cost: 0.25, is_byok: true }, undefined],
    ['a key of the gateway', { cost: 0.036, is_byok: false, cost_details: { upstream_inference_cost: 0.03 } }, 0.036],
    ['a charge of nothing', { cost: 0, is_byok: false, cost_details: { upstream_inference_cost: 0 } }, 0],
  ])('%s', (_, raw, expected) => {
    expect(toStatedCostUsd(raw)).toBe(expected)
  })

  test('a cost beside the usage counts if the usage has none', () => {
    expect(toStatedCostUsd({ prompt_tokens: 1 }, { usd: 0.5 })).toBe(0.5)
    expect(toStatedCostUsd({ cost: 0.25 }, { usd: 0.5 })).toBe(0.25)
  })
})

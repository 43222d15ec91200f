import { afterAll, describe, expect, test } from 'vitest'
import { createTokenCounter } from '../../src/prompts/token-count.ts'
import { estimateTokens } from '../../src/prompts/token-estimate.ts'

const counter = createTokenCounter()
afterAll(() => counter.close())

const SAMPLES = {
  english:
    'The quick brown fox jumps over the lazy dog. Orchestration of many models needs careful accounting, because every token has its price.',
  german:
    'Die Donaudampfschifffahrtsgesellschaft untersuchte außergewöhnliche Überweisungen für die Größenordnung der Bevölkerung.',
  russian: 'Съешь же ещё этих мягких французских булок, да выпей чаю. Оркестрация моделей требует точного учёта.',
  chinese: '编排多个模型需要仔细核算,因为每个令牌都有价格,限制是严格的。',
  japanese: '複数のモデルを調整するには注意深い会計が必要です。すべてのトークンには価格があります。',
  arabic: 'تنسيق العديد من النماذج يحتاج إلى محاسبة دقيقة لأن لكل رمز سعره',
  hindi: 'कई मॉडलों के समन्वय के लिए सावधानीपूर्वक लेखांकन की आवश्यकता होती है',
  code: 'for (const [key, value] of Object.entries(map)) { if (!value?.length) continue; out[key] = value.map((x) => x * 2) }',
  json: '{"id":"a1b2c3d4","score":0.8123,"items":[{"n":1},{"n":2}]}',
  emoji: '😀🚀🎉',
  numbers: '3141592653589793238462643383279502884197',
}

describe('exact counts', () => {
  test('known texts have the tokens that o200k_base gives them', async () => {
    expect(await counter.count('hello world', 'openai', 'gpt-5.4')).toBe(2)
    expect(await counter.count('', 'openai', 'gpt-5.4')).toBe(0)
  })

  test('GPT-4 is counted with its own encoding', async () => {
    const text = SAMPLES.hindi
    expect(await counter.count(text, 'openai', 'gpt-4')).toBeGreaterThan(await counter.count(text, 'openai', 'gpt-4o'))
  })

  test('special tokens in a text are counted as text', async () => {
    expect(await counter.count('<|endoftext|>', 'openai', 'gpt-5.4')).toBeGreaterThan(1)
  })

  test('a loaded tokenizer counts synchronously', async () => {
    await counter.count('load', 'openai', 'gpt-5.4')
    expect(counter.count('hello world', 'openai', 'gpt-5.4')).toBe(2)
  })

  test('cutting a long text into chunks changes its count by less than one in a hundred', async () => {
    const sentence = ` ${SAMPLES.english}`
    const once = await counter.count(sentence, 'openai', 'gpt-5.4')
    const many = await counter.count(sentence.repeat(1_000), 'openai', 'gpt-5.4')
    expect(Math.abs(many / (once * 1_000) - 1)).toBeLessThan(0.01)
  })

  test('an unbroken run and pairs at the cuts are counted', async () => {
    expect(await counter.count('a'.repeat(100_000), 'openai', 'gpt-5.4')).toBe(12_500)
    expect(await counter.count('😀'.repeat(3_001), 'openai', 'gpt-5.4')).toBeGreaterThanOrEqual(3_001)
  })
})

describe('estimates', () => {
  test.each(Object.entries(SAMPLES))('%s is estimated at or above o200k_base, at most three times as high', async (_, text) => {
    const exact = await counter.count(text, 'openai', 'gpt-5.4')
    expect(estimateTokens(text)).toBeGreaterThanOrEqual(exact)
    expect(estimateTokens(text)).toBeLessThanOrEqual(exact * 3)
  })

  test('other vendors are estimated without loading anything', () => {
    const fresh = createTokenCounter()
    expect(fresh.count('hello world', 'anthropic', 'claude-opus-4-6')).toBe(estimateTokens('hello world'))
  })

  test('after close each count is an estimate, even one that is running', async () => {
    const closing = createTokenCounter()
    const underWay = closing.count('hello world', 'openai', 'gpt-5.4')
    closing.close()
    expect(await underWay).toBe(estimateTokens('hello world'))
    expect(closing.count('hello world', 'openai', 'gpt-5.4')).toBe(estimateTokens('hello world'))
  })
})

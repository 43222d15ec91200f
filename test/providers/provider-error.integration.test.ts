import { expect, onTestFinished, test } from 'vitest'
import { callFactsOf } from '../../src/domain/execution/call-facts.ts'
import { OrchestratorError, type Provider, providerError, withCallFacts } from '../../src/index.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

const USAGE = { inputTokens: 1_000, outputTokens: 100, totalTokens: 1_100, source: 'reported' } as const

/** A flow of one step at a provider of the user, whose first attempts throw. */
async function runWith(failures: readonly (() => Error)[]) {
  const askedAtMs: number[] = []
  const desk: Provider = {
    id: 'desk',
    kind: 'desk',
    vendor: 'desk',
    simulated: false,
    async generate({ model }) {
      askedAtMs.push(performance.now())
      const failure = failures[askedAtMs.length - 1]
      if (failure) throw failure()
      return { text: 'done', model, finishReason: 'stop', usage: USAGE, notes: [] }
    },
  }
  const polyphony = await openTestPolyphony({
    providers: { desk },
    prices: { 'desk/a': { inputPerMillion: 1_000, outputPerMillion: 10_000 } },
    retry: { baseDelayMs: 0, maxDelayMs: 0 },
  })
  onTestFinished(() => polyphony.close())
  const thread = await polyphony.conversations.createThread('ada')
  const flow = await polyphony.orchestrator.createFlow(thread.id, 'ada', {
    name: 'one step',
    type: 'sequential',
    steps: [{ id: 'only', model: 'desk/a', action: 'generate', prompt: 'original' }],
  })
  const result = await polyphony.orchestrator.executeFlow(flow.id, 'ada', { input: 'go' })
  return { result, askedAtMs }
}

test('a plugged provider is waited for as long as its vendor asks, and its failed attempt is billed', async () => {
  const { result, askedAtMs } = await runWith([
    () =>
      providerError({
        provider: 'desk',
        status: 429,
        headers: { 'Retry-After-Ms': '300' },
        body: '{"error":{"message":"slow"}}',
        usage: USAGE,
      }),
  ])
  const [first = 0, second = 0] = askedAtMs
  expect([askedAtMs.length, second - first >= 290]).toEqual([2, true])
  expect(result.steps[0]?.attempts.map(({ error, cost }) => [error?.code, cost])).toEqual([
    ['PROVIDER_RATE_LIMITED', 2],
    [undefined, 2],
  ])
  expect(result.totalCost).toBe(4)
})

test('an error of their own with facts is retried and billed too', async () => {
  const { result } = await runWith([
    () => withCallFacts(new OrchestratorError('PROVIDER_STREAM_CUT', 'cut'), { usage: USAGE, generated: true }),
    () => providerError({ provider: 'desk', cause: Object.assign(new Error('reset'), { code: 'ECONNRESET' }) }),
  ])
  expect(result.steps[0]?.attempts.map(({ error, cost }) => [error?.code, cost])).toEqual([
    ['PROVIDER_STREAM_CUT', 2],
    ['PROVIDER_UNAVAILABLE', undefined],
    [undefined, 2],
  ])
})

test('status, body and headers decide the code as for built-in providers', () => {
  const codeOf = (status: number | undefined, body?: unknown) => providerError({ provider: 'desk', status, body }).code
  expect([codeOf(401), codeOf(429), codeOf(503), codeOf(422), codeOf(undefined)]).toEqual([
    'PROVIDER_AUTH',
    'PROVIDER_RATE_LIMITED',
    'PROVIDER_UNAVAILABLE',
    'PROVIDER_REJECTED',
    'PROVIDER_UNAVAILABLE',
  ])
  expect(codeOf(429, { error: { code: 'insufficient_quota' } })).toBe('PROVIDER_QUOTA_EXHAUSTED')
  const limited = providerError({ provider: 'desk', status: 503, headers: new Headers({ 'retry-after': '2' }), body: 'busy' })
  expect(callFactsOf(limited)).toMatchObject({ status: 503, retryAfterMs: 2_000, generated: false })
  const hidden = providerError({ provider: 'desk', status: 400, body: { message: 'bad key topsecret' }, secrets: ['topsecret'] })
  expect(hidden.message).not.toContain('topsecret')
})

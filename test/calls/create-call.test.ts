import { describe, expect, test } from 'vitest'
import { type CallDeps, createCall } from '../../src/calls/create-call.ts'
import { createBudget } from '../../src/calls/limits.ts'
import { withCallFacts } from '../../src/domain/execution/call-facts.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { callPorts } from '../support/call-ports.ts'
import { answer, callContext, manualClock, requestTo } from '../support/calls.ts'

const unavailable = () => new OrchestratorError('PROVIDER_UNAVAILABLE', 'down')

describe('a call', () => {
  test('returns the answer with its provider and records one priced attempt', async () => {
    const context = callContext()
    const response = await createCall(callPorts())(requestTo(), context)
    expect(response).toMatchObject({ text: 'hello', provider: 'alpha', requestedModel: 'model-a', simulated: false })
    expect(context.attempts).toHaveLength(1)
    expect(context.attempts[0]).toMatchObject({
      number: 1,
      cost: 0.5,
      costSource: 'prices',
      pricesDate: '2026-11-01',
      aborted: false,
    })
  })

  test('reports delivered text as void if the provider finds it to be reasoning', async () => {
    const seen: string[] = []
    const attempt: CallDeps['attempt'] = async (_, { onDelta, onVoid }) => {
      onDelta?.('Let me see.')
      onVoid?.()
      onDelta?.('Rain.')
      return answer()
    }
    const context = callContext({
      onDelta: (text: string) => seen.push(text),
      onRetry: ({ attempt: number, restart, delayMs }) => seen.push(`${number} ${restart} ${delayMs}`),
    })
    await createCall(callPorts({ attempt }))(requestTo(), context)
    expect(seen).toEqual(['Let me see.', '1 true 0', 'Rain.'])
    expect(context.attempts).toHaveLength(1)
  })

  test('repeats a failed attempt and records both', async () => {
    let attempts = 0
    const clock = manualClock()
    const attempt = async () => {
      if (++attempts === 1) throw withCallFacts(unavailable(), { status: 503, generated: false })
      return answer()
    }
    const context = callContext({ maxRetries: 2 })
    const call = createCall(callPorts({ attempt, clock }))(requestTo(), context)
    await clock.pass(1_000)
    expect(await call).toMatchObject({ text: 'hello' })
    expect(context.attempts.map((row) => [row.number, row.error?.code])).toEqual([
      [1, 'PROVIDER_UNAVAILABLE'],
      [2, undefined],
    ])
    expect(context.attempts[0]?.usage).toBeUndefined()
    expect(context.retries).toMatchObject([{ attempt: 1, delayMs: 250, restart: false }])
  })

  test('falls back to the next target with a note', async () => {
    const attempt: CallDeps['attempt'] = async ({ provider }) => {
      if (provider === 'alpha') throw new OrchestratorError('PROVIDER_AUTH', 'bad key')
      return answer()
    }
    const context = callContext({ maxRetries: 3 })
    const response = await createCall(callPorts({ attempt }))(requestTo('alpha', 'beta'), context)
    expect(response).toMatchObject({ provider: 'beta', notes: ['alpha/model-a failed with PROVIDER_AUTH; fell back'] })
    expect(context.retries).toMatchObject([{ delayMs: 0, provider: 'beta' }])
    expect(context.attempts.map((row) => row.provider)).toEqual(['alpha', 'beta'])
  })

  test('aborts its request when the total timeout passes', async () => {
    const clock = manualClock()
    let aborted: unknown
    const attempt: CallDeps['attempt'] = (_, { signal }) =>
      new Promise(() => signal.addEventListener('abort', () => (aborted = signal.reason)))
    const context = callContext({ timeoutMs: 1_000, maxRetries: 3 })
    const call = createCall(callPorts({ attempt, clock }))(requestTo('alpha'), context)
    const outcome = expect(call).rejects.toMatchObject({ code: 'STEP_TIMEOUT' })
    await clock.pass(1_000)
    await outcome
    expect(aborted).toMatchObject({ code: 'STEP_TIMEOUT' })
    expect(context.attempts).toMatchObject([{ aborted: true, usage: { source: 'unknown' } }])
    expect(clock.pending).toBe(0)
  })

  test('reaches the fallback of a silent target within the total timeout, streamed or not', async () => {
    for (const onDelta of [undefined, () => {}]) {
      const clock = manualClock()
      const aborted: unknown[] = []
      const attempt: CallDeps['attempt'] = ({ provider }, { signal, onActivity }) => {
        if (provider === 'gamma') return Promise.resolve(answer())
        clock.startTimer(100, () => onActivity?.())
        return new Promise(() => signal.addEventListener('abort', () => aborted.push(signal.reason)))
      }
      const context = callContext({ timeoutMs: 900, maxRetries: 2, onDelta })
      const call = createCall(callPorts({ attempt, clock }))(requestTo('alpha', 'beta', 'gamma'), context)
      await clock.pass(600)
      expect(await call).toMatchObject({ provider: 'gamma' })
      expect(aborted).toMatchObject([{ details: { timeout: 'share', timeoutMs: 300 } }, { details: { timeoutMs: 300 } }])
      expect(context.attempts.map(({ provider, error, aborted: gaveUp }) => [provider, error?.code, gaveUp])).toEqual([
        ['alpha', 'PROVIDER_UNAVAILABLE', true],
        ['beta', 'PROVIDER_UNAVAILABLE', true],
        ['gamma', undefined, false],
      ])
      expect(clock.pending).toBe(0)
    }
  })

  test('does not bound the share of the last target, nor of one that has delivered text', async () => {
    for (const [targets, onDelta] of [
      [['alpha'], undefined],
      [['alpha', 'beta'], () => {}],
    ] as const) {
      const clock = manualClock()
      const attempt: CallDeps['attempt'] = (_, options) =>
        new Promise((resolve) => {
          options.onDelta?.('begun')
          clock.startTimer(950, () => resolve(answer()))
        })
      const context = callContext({ timeoutMs: 1_000, maxRetries: 2, onDelta })
      const call = createCall(callPorts({ attempt, clock }))(requestTo(...targets), context)
      await clock.pass(950)
      expect(await call).toMatchObject({ provider: 'alpha' })
      expect(context.attempts).toHaveLength(1)
      expect(clock.pending).toBe(0)
    }
  })

  test('is cancelled during the share of its first target without reaching a fallback', async () => {
    const clock = manualClock()
    const controller = new AbortController()
    const asked: string[] = []
    const attempt: CallDeps['attempt'] = ({ provider }) => {
      asked.push(provider)
      return new Promise(() => {})
    }
    const context = callContext({ timeoutMs: 1_000, signal: controller.signal })
    const call = createCall(callPorts({ attempt, clock }))(requestTo('alpha', 'beta'), context)
    const outcome = expect(call).rejects.toMatchObject({ code: 'FLOW_CANCELLED' })
    await clock.pass(100)
    controller.abort(new OrchestratorError('FLOW_CANCELLED', 'enough'))
    await outcome
    expect(asked).toEqual(['alpha'])
    expect(clock.pending).toBe(0)
  })

  test("fails at once with the provider's error if the requested wait would outlast the call", async () => {
    const limited = (retryAfterMs: number) =>
      withCallFacts(new OrchestratorError('PROVIDER_RATE_LIMITED', 'slow down', { details: { retryAfterMs } }), {
        retryAfterMs,
        generated: false,
      })
    const clock = manualClock()
    let sent = 0
    const attempt: CallDeps['attempt'] = async ({ provider }) => {
      sent += 1
      if (provider === 'alpha') throw limited(20_000)
      return answer()
    }
    const call = createCall(callPorts({ attempt, clock }))
    const refused = { code: 'PROVIDER_RATE_LIMITED', details: { retryAfterMs: 20_000 } }
    await expect(call(requestTo('alpha'), callContext({ timeoutMs: 10_000, maxRetries: 3 }))).rejects.toMatchObject(refused)
    // The pause holds for all calls to that model: this one is not even sent.
    await expect(call(requestTo('alpha'), callContext({ timeoutMs: 10_000, maxRetries: 3 }))).rejects.toMatchObject(refused)
    expect(sent).toBe(1)
    const fellBack = call(requestTo('alpha', 'beta'), callContext({ timeoutMs: 30_000, maxRetries: 3 }))
    expect(await fellBack).toMatchObject({ provider: 'beta' })
    expect(clock.pending).toBe(0)
  })

  test('sends maxTokens 4,096 for a request without one while a limit is set', async () => {
    const seen: unknown[] = []
    const attempt: CallDeps['attempt'] = async ({ settings }) => {
      seen.push(settings.maxTokens)
      return answer()
    }
    const budget = createBudget({ maxTokens: 10_000 })
    await createCall(callPorts({ attempt }))(requestTo(), callContext({ budget }))
    expect(seen).toEqual([4_096])
    expect(budget?.spent).toEqual({ costUsd: 0.5, tokens: 30 })
  })
})

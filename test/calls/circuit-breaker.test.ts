import { describe, expect, test } from 'vitest'
import { CIRCUIT_BREAKER_DEFAULTS, circuitBreaker } from '../../src/calls/circuit-breaker.ts'
import { callFactsOf } from '../../src/domain/execution/call-facts.ts'
import type { ErrorCode } from '../../src/errors/error-codes.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { describeCallLayer } from '../contracts/call.ts'
import { callAnswer, manualClock, prepared, settled, tryContext } from '../support/calls.ts'

describeCallLayer({ name: 'circuit breaker', create: () => circuitBreaker(CIRCUIT_BREAKER_DEFAULTS, manualClock()) })

function breaker() {
  const clock = manualClock()
  let sent = 0
  let answer = (): Promise<ReturnType<typeof callAnswer>> => Promise.reject(new OrchestratorError('PROVIDER_UNAVAILABLE', 'down'))
  const call = circuitBreaker(
    { failureThreshold: 3, openMs: 10_000 },
    clock,
  )(() => {
    sent += 1
    return answer()
  })
  const attempt = (provider = 'alpha', model = 'model-a') =>
    call(prepared({ provider, model }), tryContext()).then(
      () => 'answer',
      (error: unknown) => error,
    )
  return {
    clock,
    attempt,
    sent: () => sent,
    failWith: (code: ErrorCode) => {
      answer = () => Promise.reject(new OrchestratorError(code, 'failed'))
    },
    answerWith: (next: typeof answer) => {
      answer = next
    },
  }
}

const open = { code: 'PROVIDER_UNAVAILABLE', retryable: true, details: { circuit: 'open' } }

describe('the circuit breaker', () => {
  test('opens after the threshold of consecutive failures and states for how long', async () => {
    const { attempt, sent, clock } = breaker()
    for (let time = 0; time < 3; time++) await attempt()
    await clock.pass(4_000)
    const error = await attempt()
    expect(error).toMatchObject(open)
    expect(callFactsOf(error)).toEqual({ retryAfterMs: 6_000, generated: false })
    expect(sent()).toBe(3)
  })

  test('does not affect other providers', async () => {
    const { attempt, sent } = breaker()
    for (let time = 0; time < 4; time++) await attempt()
    await attempt('beta')
    expect(sent()).toBe(4)
  })

  test('does not affect other models of the provider, nor a model of the same name at another provider', async () => {
    const { attempt, sent, answerWith } = breaker()
    for (let time = 0; time < 4; time++) await attempt('alpha', 'model-a')
    expect(sent()).toBe(3)
    answerWith(async () => callAnswer())
    expect(await attempt('alpha', 'model-b')).toBe('answer')
    expect(await attempt('beta', 'model-a')).toBe('answer')
    expect(await attempt('alpha', 'model-a')).toMatchObject(open)
  })

  test('opens for all models of a provider that cannot be reached', async () => {
    const { attempt, sent, clock, answerWith } = breaker()
    const refusedConnection = () =>
      new OrchestratorError('PROVIDER_UNAVAILABLE', 'refused', { details: { networkCode: 'ECONNREFUSED' } })
    answerWith(() => Promise.reject(refusedConnection()))
    for (const model of ['model-a', 'model-b', 'model-c']) await attempt('alpha', model)
    expect(await attempt('alpha', 'model-d')).toMatchObject(open)
    expect(await attempt('beta', 'model-d')).not.toMatchObject(open)
    expect(sent()).toBe(4)
    await clock.pass(10_000)
    answerWith(async () => callAnswer())
    expect(await attempt('alpha', 'model-e')).toBe('answer')
    expect(await attempt('alpha', 'model-a')).toBe('answer')
  })

  test('counts a target that was silent for its whole share of the time, but not the abort by a failed sibling', async () => {
    for (const [model, sentAfter] of [
      ['model-a', 1],
      ['model-z', 2],
    ] as const) {
      const controller = new AbortController()
      let sent = 0
      const call = circuitBreaker(
        { failureThreshold: 1, openMs: 10_000 },
        manualClock(),
      )(() => {
        sent += 1
        const details = { timeout: 'share', provider: 'alpha', model }
        controller.abort(new OrchestratorError('PROVIDER_UNAVAILABLE', 'silent', { details }))
        return Promise.reject(controller.signal.reason)
      })
      await call(prepared(), tryContext({ signal: controller.signal })).catch(() => {})
      await call(prepared(), tryContext()).catch(() => {})
      expect(sent).toBe(sentAfter)
    }
  })

  test('keeps circuits for a bounded number of names', async () => {
    const { attempt, sent } = breaker()
    for (let time = 0; time < 3; time++) await attempt('alpha', 'first')
    for (let name = 0; name < 1_000; name++) await attempt('alpha', `model-${name}`)
    await attempt('alpha', 'first')
    expect(sent()).toBe(1_004)
  })

  test.each<ErrorCode>([
    'PROVIDER_AUTH',
    'PROVIDER_REJECTED',
    'PROVIDER_RATE_LIMITED',
    'PROVIDER_QUOTA_EXHAUSTED',
    'CONTENT_FILTERED',
  ])('never opens for %s', async (code) => {
    const { attempt, sent, failWith } = breaker()
    failWith(code)
    for (let time = 0; time < 10; time++) await attempt()
    expect(sent()).toBe(10)
  })

  test('counts from zero after an answer', async () => {
    const { attempt, sent, failWith, answerWith } = breaker()
    await attempt()
    await attempt()
    answerWith(async () => callAnswer())
    await attempt()
    failWith('PROVIDER_UNAVAILABLE')
    for (let time = 0; time < 5; time++) await attempt()
    expect(sent()).toBe(6)
  })

  test('lets one call probe after the open time and closes when it is answered', async () => {
    const { attempt, sent, clock, answerWith } = breaker()
    for (let time = 0; time < 3; time++) await attempt()
    let end = () => {}
    answerWith(
      () =>
        new Promise((resolve) => {
          end = () => resolve(callAnswer())
        }),
    )
    await clock.pass(10_000)
    const probe = attempt()
    await settled()
    expect(await attempt()).toMatchObject(open)
    expect(sent()).toBe(4)
    end()
    expect(await probe).toBe('answer')
    answerWith(async () => callAnswer())
    expect(await attempt()).toBe('answer')
  })

  test('opens again if the probe fails', async () => {
    const { attempt, sent, clock } = breaker()
    for (let time = 0; time < 3; time++) await attempt()
    await clock.pass(10_000)
    await attempt()
    expect(await attempt()).toMatchObject(open)
    expect(sent()).toBe(4)
  })

  test('probes repeatedly until a call is answered', async () => {
    const { attempt, sent, clock } = breaker()
    for (let time = 0; time < 3; time++) await attempt()
    for (let time = 0; time < 3; time++) {
      await clock.pass(10_000)
      await attempt()
    }
    expect(sent()).toBe(6)
  })

  test('closes if the probe is rejected, because a rejection shows that the provider is up', async () => {
    const { attempt, sent, clock, failWith } = breaker()
    for (let time = 0; time < 3; time++) await attempt()
    await clock.pass(10_000)
    failWith('PROVIDER_AUTH')
    await attempt()
    await attempt()
    expect(sent()).toBe(5)
  })

  test('does not count a call that its caller aborted', async () => {
    const controller = new AbortController()
    let sent = 0
    const call = circuitBreaker(
      { failureThreshold: 1, openMs: 10_000 },
      manualClock(),
    )(() => {
      sent += 1
      controller.abort()
      return Promise.reject(new OrchestratorError('PROVIDER_UNAVAILABLE', 'reset'))
    })
    await call(prepared(), tryContext({ signal: controller.signal })).catch(() => {})
    await call(prepared(), tryContext()).catch(() => {})
    expect(sent).toBe(2)
  })
})

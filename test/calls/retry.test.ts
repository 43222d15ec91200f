import { describe, expect, test } from 'vitest'
import { RETRY_DEFAULTS, retry } from '../../src/calls/retry.ts'
import { withCallFacts } from '../../src/domain/execution/call-facts.ts'
import type { ErrorCode } from '../../src/errors/error-codes.ts'
import { ERROR_CODES } from '../../src/errors/error-codes.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { describeCallLayer } from '../contracts/call.ts'
import { callAnswer, manualClock, prepared, tryContext } from '../support/calls.ts'

describeCallLayer({ name: 'retry', create: () => retry(RETRY_DEFAULTS, manualClock()), context: () => ({ maxRetries: 3 }) })

const RETRYABLE_CODES: readonly ErrorCode[] = [
  'PROVIDER_UNAVAILABLE',
  'PROVIDER_RATE_LIMITED',
  'PROVIDER_BAD_REPLY',
  'PROVIDER_STREAM_CUT',
]

const isErrorCode = (code: string): code is ErrorCode => code in ERROR_CODES
const CODES = Object.keys(ERROR_CODES).filter(isErrorCode)

function failing(fail: (attempts: number) => unknown, random = () => 0.5) {
  const clock = manualClock(random)
  let attempts = 0
  const layer = retry(
    RETRY_DEFAULTS,
    clock,
  )(async () => {
    attempts += 1
    const error = fail(attempts)
    if (error) throw error
    return callAnswer()
  })
  return { clock, layer, attempts: () => attempts }
}

async function outcomeOf(call: Promise<unknown>, clock: ReturnType<typeof manualClock>, ms = 3_600_000): Promise<unknown> {
  const outcome = call.then(
    (value) => value,
    (error: unknown) => error,
  )
  await clock.pass(ms)
  return outcome
}

describe('retry', () => {
  test.each(CODES)('repeats %s only if a repetition can help', async (code) => {
    const { clock, layer, attempts } = failing(() => new OrchestratorError(code, 'failed'))
    const error = await outcomeOf(layer(prepared(), tryContext({ maxRetries: 3 })), clock)
    expect(error).toMatchObject({ code })
    expect(attempts()).toBe(RETRYABLE_CODES.includes(code) ? 4 : 1)
  })

  test('does not repeat an error that is marked as not retryable', async () => {
    const { clock, layer, attempts } = failing(() => new OrchestratorError('PROVIDER_UNAVAILABLE', 'gone', { retryable: false }))
    await outcomeOf(layer(prepared(), tryContext({ maxRetries: 3 })), clock)
    expect(attempts()).toBe(1)
  })

  test('fails with the error of the last attempt', async () => {
    const { clock, layer } = failing((attempts) => new OrchestratorError('PROVIDER_UNAVAILABLE', `failure ${attempts}`))
    expect(await outcomeOf(layer(prepared(), tryContext({ maxRetries: 2 })), clock)).toMatchObject({ message: 'failure 3' })
  })

  test('doubles the upper bound of its waits up to the maximum', async () => {
    const { clock, layer } = failing(
      () => new OrchestratorError('PROVIDER_UNAVAILABLE', 'down'),
      () => 0.999_999,
    )
    const context = tryContext({ maxRetries: 8 })
    await outcomeOf(layer(prepared(), context), clock)
    expect(context.retries.map(({ delayMs }) => delayMs)).toEqual([500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
  })

  test('spreads its waits over the whole range', async () => {
    const { clock, layer } = failing(
      () => new OrchestratorError('PROVIDER_UNAVAILABLE', 'down'),
      () => 0,
    )
    const context = tryContext({ maxRetries: 3 })
    await outcomeOf(layer(prepared(), context), clock)
    expect(context.retries.map(({ delayMs }) => delayMs)).toEqual([0, 0, 0])
  })

  test('waits as long as the provider asks, plus jitter', async () => {
    const asked = () =>
      withCallFacts(new OrchestratorError('PROVIDER_RATE_LIMITED', 'slow down'), { retryAfterMs: 7_000, generated: false })
    const { clock, layer, attempts } = failing((attempts) => (attempts === 1 ? asked() : undefined))
    const context = tryContext({ maxRetries: 1 })
    const call = layer(prepared(), context)
    await clock.pass(7_000)
    expect(attempts()).toBe(1)
    await clock.pass(500)
    expect(await call).toMatchObject({ text: 'hello' })
    expect(context.retries).toMatchObject([{ attempt: 0, delayMs: 7_250, provider: 'alpha', model: 'model-a', restart: false }])
  })

  test('does not wait if the provider asks for longer than the cap, and the error stays retryable', async () => {
    const asked = withCallFacts(new OrchestratorError('PROVIDER_RATE_LIMITED', 'tomorrow'), {
      retryAfterMs: 60_001,
      generated: false,
    })
    const { clock, layer, attempts } = failing(() => asked)
    const error = await outcomeOf(layer(prepared(), tryContext({ maxRetries: 3 })), clock, 0)
    expect(error).toBe(asked)
    expect(asked.retryable).toBe(true)
    expect(attempts()).toBe(1)
  })

  test('does not repeat once text was delivered', async () => {
    const { clock, layer, attempts } = failing(() => new OrchestratorError('PROVIDER_STREAM_CUT', 'cut'))
    const progress = { attempts: 1, textDelivered: true, targetsLeft: 0 }
    await outcomeOf(layer(prepared(), tryContext({ maxRetries: 3, progress })), clock)
    expect(attempts()).toBe(1)
  })

  test('repeats after delivered text if a restart is allowed, and reports the text as void', async () => {
    const { clock, layer } = failing((attempts) =>
      attempts === 1 ? new OrchestratorError('PROVIDER_STREAM_CUT', 'cut') : undefined,
    )
    const progress = { attempts: 1, textDelivered: true, targetsLeft: 0 }
    const context = tryContext({ maxRetries: 3, progress, restartAfterFirstToken: true })
    expect(await outcomeOf(layer(prepared(), context), clock)).toMatchObject({ text: 'hello' })
    expect(context.retries).toMatchObject([{ restart: true }])
    expect(progress.textDelivered).toBe(false)
  })

  test('stops waiting at once on abort and leaves no timer', async () => {
    const controller = new AbortController()
    const { clock, layer, attempts } = failing(() => new OrchestratorError('PROVIDER_UNAVAILABLE', 'down'))
    const outcome = expect(layer(prepared(), tryContext({ maxRetries: 3, signal: controller.signal }))).rejects.toBe('stop')
    await clock.pass(0)
    expect(clock.pending).toBe(1)
    controller.abort('stop')
    await outcome
    expect([attempts(), clock.pending]).toEqual([1, 0])
  })

  test('does not wait for an open circuit if there is a fallback', async () => {
    const open = new OrchestratorError('PROVIDER_UNAVAILABLE', 'left alone', { details: { circuit: 'open' } })
    const { clock, layer, attempts } = failing(() => open)
    const progress = { attempts: 0, textDelivered: false, targetsLeft: 1 }
    expect(await outcomeOf(layer(prepared(), tryContext({ maxRetries: 3, progress })), clock)).toBe(open)
    expect(attempts()).toBe(1)
  })
})

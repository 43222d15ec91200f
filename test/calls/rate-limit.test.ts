import { getEventListeners, setMaxListeners } from 'node:events'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Clock, systemClock } from '../../src/async/clock.ts'
import type { Rates } from '../../src/calls/gate.ts'
import { rateLimit } from '../../src/calls/rate-limit.ts'
import { withCallFacts } from '../../src/domain/execution/call-facts.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { describeCallLayer } from '../contracts/call.ts'
import { callAnswer, manualClock, prepared, settled, tryContext } from '../support/calls.ts'

const layerWith = (rates: Rates, clock: Clock = manualClock()) =>
  rateLimit({ ratesOf: () => rates, retryAfterCapMs: 60_000, jitterMs: 500 }, clock)

describeCallLayer({
  name: 'rate limit',
  create: () => layerWith({ maxConcurrency: 2, requestsPerMinute: 60, tokensPerMinute: 1_000 }),
})

test('a call takes its slot when its provider is loaded, and a provider that cannot be loaded fails in its own attempt', async () => {
  const loading: string[] = []
  let load = (_: PromiseSettledResult<void>['status']) => {}
  const loadProvider = (provider: string) => {
    loading.push(provider)
    return new Promise<void>((resolve, reject) => {
      load = (status) => (status === 'fulfilled' ? resolve() : reject(new Error('not installed')))
    })
  }
  const layer = rateLimit(
    { ratesOf: () => ({ maxConcurrency: 1 }), loadProvider, retryAfterCapMs: 0, jitterMs: 0 },
    manualClock(),
  )
  const sent: string[] = []
  const call = layer(async ({ provider }) => {
    sent.push(provider)
    return callAnswer()
  })
  for (const status of ['fulfilled', 'rejected'] as const) {
    const name = status
    const calls = [call(prepared({ provider: name }), tryContext()), call(prepared({ provider: name }), tryContext())]
    await settled()
    expect(sent).not.toContain(name)
    load(status)
    await Promise.all(calls)
  }
  expect(loading).toEqual(['fulfilled', 'rejected'])
  expect(sent).toEqual(['fulfilled', 'fulfilled', 'rejected', 'rejected'])
})

describe('concurrency', () => {
  /** Calls that end when told, in the order in which they were let in. */
  function held(rates: Rates) {
    const started: (() => void)[] = []
    const call = layerWith(rates)(
      () =>
        new Promise((resolve) => {
          started.push(() => resolve(callAnswer()))
        }),
    )
    return { started, call }
  }

  test('stays at its bound and admits the next call when one ends', async () => {
    const { started, call } = held({ maxConcurrency: 2 })
    const calls = [1, 2, 3, 4].map(() => call(prepared(), tryContext()))
    await settled()
    expect(started).toHaveLength(2)
    started[0]?.()
    await settled()
    expect(started).toHaveLength(3)
    started[1]?.()
    await settled()
    for (const end of started) end()
    await Promise.all(calls)
    expect(started).toHaveLength(4)
  })

  test('does not make one provider wait for another', async () => {
    const { started, call } = held({ maxConcurrency: 1 })
    void call(prepared({ provider: 'alpha' }), tryContext())
    void call(prepared({ provider: 'beta' }), tryContext())
    await settled()
    expect(started).toHaveLength(2)
  })

  test('rejects a waiting call at once on abort, and leaves no listener and no occupied slot', async () => {
    const { started, call } = held({ maxConcurrency: 1 })
    const controller = new AbortController()
    setMaxListeners(0, controller.signal)
    const first = call(prepared(), tryContext())
    await settled()
    const waiting = Array.from({ length: 50 }, () => call(prepared(), tryContext({ signal: controller.signal })))
    const outcomes = Promise.allSettled(waiting)
    await settled()
    controller.abort('stop')
    expect((await outcomes).every((outcome) => outcome.status === 'rejected' && outcome.reason === 'stop')).toBe(true)
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0)
    const last = call(prepared(), tryContext())
    started[0]?.()
    await first
    await settled()
    expect(started).toHaveLength(2)
    started[1]?.()
    expect(await last).toMatchObject({ text: 'hello' })
  })

  test('frees the slot after a failure', async () => {
    const call = layerWith({ maxConcurrency: 1 })(() => Promise.reject(new OrchestratorError('PROVIDER_AUTH', 'bad key')))
    for (let time = 0; time < 3; time++)
      await expect(call(prepared(), tryContext())).rejects.toMatchObject({ code: 'PROVIDER_AUTH' })
  })
})

describe('rates per minute', () => {
  // limiter reads performance.now() itself, so its time is faked whole.
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] })
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  const counted = (rates: Rates, totalTokens = 30) => {
    let sent = 0
    const call = layerWith(rates, { ...systemClock, random: () => 0.5 })(async () => {
      sent += 1
      return callAnswer({ usage: { totalTokens, source: 'reported' } })
    })
    return { call, sent: () => sent }
  }

  test('admit the requests of a minute at once and later ones at the rate', async () => {
    const { call, sent } = counted({ requestsPerMinute: 60 })
    const calls = Array.from({ length: 62 }, () => call(prepared(), tryContext()))
    await vi.advanceTimersByTimeAsync(0)
    await settled()
    expect(sent()).toBe(60)
    await vi.advanceTimersByTimeAsync(999)
    expect(sent()).toBe(60)
    await vi.advanceTimersByTimeAsync(1_002)
    await Promise.all(calls)
    expect(sent()).toBe(62)
  })

  test('admit a request larger than the bucket once the bucket is full', async () => {
    const { call, sent } = counted({ tokensPerMinute: 100 }, 100)
    const huge = prepared({ countInputTokens: async () => 1_000_000 })
    const calls = [call(huge, tryContext()), call(huge, tryContext())]
    await settled()
    expect(sent()).toBe(1)
    await vi.advanceTimersByTimeAsync(60_001)
    await Promise.all(calls)
    expect(sent()).toBe(2)
  })

  test('return the tokens that a call did not use', async () => {
    const { call, sent } = counted({ tokensPerMinute: 100 }, 10)
    const request = prepared({ settings: { maxTokens: 80 } })
    await call(request, tryContext())
    await call(request, tryContext())
    expect(sent()).toBe(2)
  })

  test('reject a waiting call at once on abort and leave no timer', async () => {
    const { call } = counted({ requestsPerMinute: 1 })
    await call(prepared(), tryContext())
    const controller = new AbortController()
    const outcome = expect(call(prepared(), tryContext({ signal: controller.signal }))).rejects.toBe('stop')
    await settled()
    expect(vi.getTimerCount()).toBe(1)
    controller.abort('stop')
    await outcome
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('a pause requested by a provider', () => {
  const paused = (retryAfterMs: number) => {
    const clock = manualClock()
    const sent: string[] = []
    const call = layerWith(
      {},
      clock,
    )(async ({ model }) => {
      sent.push(model)
      if (sent.length > 1) return callAnswer()
      throw withCallFacts(new OrchestratorError('PROVIDER_RATE_LIMITED', 'slow down'), { retryAfterMs, generated: false })
    })
    return { clock, sent, call }
  }

  test('holds back all calls to that model', async () => {
    const { clock, sent, call } = paused(5_000)
    await expect(call(prepared(), tryContext())).rejects.toMatchObject({ code: 'PROVIDER_RATE_LIMITED' })
    const second = call(prepared(), tryContext())
    await clock.pass(4_999)
    expect(sent).toHaveLength(1)
    await clock.pass(501)
    expect(await second).toMatchObject({ text: 'hello' })
  })

  test('holds back a call that was in the queue when the pause began', async () => {
    const clock = manualClock()
    let sent = 0
    const call = layerWith(
      { maxConcurrency: 1 },
      clock,
    )(async () => {
      sent += 1
      await settled()
      if (sent > 1) return callAnswer()
      throw withCallFacts(new OrchestratorError('PROVIDER_RATE_LIMITED', 'slow down'), { retryAfterMs: 5_000, generated: false })
    })
    const first = call(prepared(), tryContext()).catch(() => {})
    const second = call(prepared(), tryContext())
    await first
    await clock.pass(4_999)
    expect(sent).toBe(1)
    await clock.pass(501)
    expect(await second).toMatchObject({ text: 'hello' })
  })

  test('does not hold back other models', async () => {
    const { clock, sent, call } = paused(5_000)
    await expect(call(prepared(), tryContext())).rejects.toMatchObject({ code: 'PROVIDER_RATE_LIMITED' })
    const second = call(prepared({ model: 'model-b' }), tryContext())
    await clock.pass(0)
    expect(sent).toEqual(['model-a', 'model-b'])
    await second
  })

  test('ends at once for a cancelled call', async () => {
    const { clock, call } = paused(5_000)
    await expect(call(prepared(), tryContext())).rejects.toMatchObject({ code: 'PROVIDER_RATE_LIMITED' })
    const controller = new AbortController()
    const outcome = expect(call(prepared(), tryContext({ signal: controller.signal }))).rejects.toBe('stop')
    await settled()
    controller.abort('stop')
    await outcome
    expect(clock.pending).toBe(0)
  })
})

import { describe, expect, test } from 'vitest'
import type { Gate, Pass } from '../../src/calls/gate.ts'
import { rateLimit } from '../../src/calls/rate-limit.ts'
import { createSharedGate } from '../../src/calls/rates/shared-gate.ts'
import { intervalOf, type SharedRates } from '../../src/calls/rates/shared-rates.ts'
import { withCallFacts } from '../../src/domain/execution/call-facts.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { describeCallLayer } from '../contracts/call.ts'
import { callAnswer, type ManualClock, manualClock, prepared, settled, tryContext } from '../support/calls.ts'

const never = new AbortController().signal
const nothing = () => {}

/** The schedule of one account in memory, with the rule of the database; `asked` counts statements. */
function memoryRates(clock: ManualClock) {
  let nextAt = 0
  let running = 0
  const closed = new Map<string, number>()
  const state = { asked: 0, away: false, left: 0, released: 0 }
  const answer = () => {
    state.asked += 1
    return state.away ? Promise.reject(new OrchestratorError('DATABASE_UNAVAILABLE', 'away')) : Promise.resolve()
  }
  const shared: SharedRates = {
    take: async ({ account, rates, slots }) => {
      await answer()
      const closedForMs = Math.max(0, (closed.get(account) ?? 0) - clock.now())
      const free = (rates.maxConcurrency ?? Number.POSITIVE_INFINITY) - running
      const granted = closedForMs > 0 ? 0 : Math.max(0, Math.min(slots.length, free))
      const first = Math.max(clock.now(), nextAt)
      nextAt = first + granted * intervalOf(rates)
      running += granted
      return { granted, waitMs: first - clock.now(), closedForMs }
    },
    leave: async (_account, _rates, ids) => {
      running -= ids.length
      state.left += ids.length
    },
    close: async (account, forMs) => void closed.set(account, clock.now() + forMs),
    closures: async () => {
      await answer()
      return new Map([...closed].map(([account, until]) => [account, until - clock.now()]))
    },
    releaseSlots: async () => {
      state.released += 1
    },
  }
  return { shared, state }
}

const localGate: Gate = { enter: () => Promise.resolve({ correct: nothing, leave: nothing }) }

function gateOf(
  rates: Parameters<typeof createSharedGate>[0]['rates'],
  shared: SharedRates,
  clock: ManualClock,
  warnings: string[] = [],
) {
  return createSharedGate({
    account: 'alpha',
    rates,
    shared,
    fallback: localGate,
    clock,
    warn: (message) => warnings.push(message),
    jitterMs: 0,
  })
}

describe('rates over all processes', () => {
  test('requests of two processes are sent an interval apart, never more than 10 of 600 per minute in a second', async () => {
    const clock = manualClock()
    const { shared } = memoryRates(clock)
    const gates = [gateOf({ requestsPerMinute: 600 }, shared, clock), gateOf({ requestsPerMinute: 600 }, shared, clock)]
    const sent: number[] = []
    for (const gate of gates) {
      for (let call = 0; call < 50; call++) void gate.enter(0, never).then(() => sent.push(clock.now()))
    }
    await clock.pass(10_000)
    const most = sent.map((at) => sent.filter((other) => other >= at && other < at + 1_000).length)
    expect(Math.max(...most)).toBeLessThanOrEqual(10)
    // The first request of each process takes three slots.
    expect(sent.length).toBeGreaterThanOrEqual(93)
  })

  test('requests of other processes keep a distance to the first one of a process, which may be sent late', async () => {
    const clock = manualClock()
    const { shared } = memoryRates(clock)
    const rates = { requestsPerMinute: 600 }
    const sent: number[] = []
    const send = (gate: Gate) => gate.enter(0, never).then(() => sent.push(clock.now()))
    const known = gateOf(rates, shared, clock)
    await send(known)
    await clock.pass(1_000)
    void send(gateOf(rates, shared, clock)).then(() => Promise.all([send(known), send(known)]))
    await clock.pass(1_000)
    const [, first = 0, second = 0, third = 0] = sent
    expect(second - first).toBeGreaterThanOrEqual(300)
    expect(third - second).toBeLessThanOrEqual(110)
  })

  test.each([
    [600, 60],
    [600, 400],
    [6_000, 30],
    [6_000, 60],
  ])(
    'at %i per minute a process whose timers are %i ms late takes its part, and the rate holds',
    async (requestsPerMinute, byMs) => {
      const clock = manualClock()
      const { shared } = memoryRates(clock)
      const late = { ...clock, startTimer: (delayMs: number, run: () => void) => clock.startTimer(delayMs + byMs, run) }
      const sent = new Map([clock, late].map((own) => [own, [] as number[]]))
      for (const [own, times] of sent) {
        const gate = gateOf({ requestsPerMinute }, shared, own)
        const sendAll = async (): Promise<void> => {
          await gate.enter(0, never)
          times.push(clock.now())
          await sendAll()
        }
        for (let caller = 0; caller < 20; caller++) void sendAll()
      }
      await clock.pass(10_000)
      const all = [...sent.values()].flat().sort((a, b) => a - b)
      const inSecond = all.map((at) => all.filter((other) => other >= at && other < at + 1_000).length)
      expect(Math.max(...inSecond)).toBeLessThanOrEqual(requestsPerMinute / 60 + Math.max(1, requestsPerMinute / 600))
      const [onTime = [], lately = []] = sent.values()
      expect(onTime.length).toBeGreaterThan(requestsPerMinute / 40)
      expect(lately.length).toBeGreaterThan(requestsPerMinute / 60)
    },
  )

  test('a slot whose request was aborted is not used by a request that needs more tokens', async () => {
    const clock = manualClock()
    const { shared } = memoryRates(clock)
    const taken: number[] = []
    const given: number[] = []
    const counting: SharedRates = {
      ...shared,
      take: (request) => {
        taken.push(request.slots.reduce((sum, { tokens }) => sum + tokens, 0))
        return shared.take(request)
      },
      leave: async (_account, _rates, _ids, unusedTokens) => void given.push(unusedTokens),
    }
    const gate = gateOf({ requestsPerMinute: 60, tokensPerMinute: 100_000 }, counting, clock)
    await gate.enter(1, never)
    const abort = new AbortController()
    const small = gate.enter(10, abort.signal)
    const big = gate.enter(50_000, never)
    await settled()
    abort.abort(new Error('stop'))
    await expect(small).rejects.toThrow('stop')
    await clock.pass(3_000)
    await big
    expect([taken, given]).toEqual([[1, 10, 50_000], [10]])
  })

  test('slots of maxConcurrency are taken together and given back when requests end', async () => {
    const clock = manualClock()
    const { shared, state } = memoryRates(clock)
    const gate = gateOf({ maxConcurrency: 2 }, shared, clock)
    const passes: Pass[] = []
    for (let call = 0; call < 3; call++) void gate.enter(0, never).then((pass) => passes.push(pass))
    await settled()
    expect(passes).toHaveLength(2)
    expect(state.released).toBe(1)
    passes[0]?.leave()
    await settled()
    expect(passes).toHaveLength(3)
  })

  test('an abort ends a wait at once, and its slot goes to the next request', async () => {
    const clock = manualClock()
    const { shared } = memoryRates(clock)
    const gate = gateOf({ requestsPerMinute: 60 }, shared, clock)
    await gate.enter(0, never)
    const abort = new AbortController()
    const first = gate.enter(0, abort.signal)
    let isSecondAdmitted = false
    void gate.enter(0, never).then(() => {
      isSecondAdmitted = true
    })
    await settled()
    abort.abort(new Error('stop'))
    await expect(first).rejects.toThrow('stop')
    await clock.pass(1_100)
    expect(isSecondAdmitted).toBe(true)
  })

  test('while the store does not answer this process keeps the rates alone, and says so', async () => {
    const clock = manualClock()
    const { shared, state } = memoryRates(clock)
    const warnings: string[] = []
    const gate = gateOf({ requestsPerMinute: 60 }, shared, clock, warnings)
    state.away = true
    await gate.enter(0, never)
    await gate.enter(0, never)
    expect([state.asked, warnings.length]).toEqual([1, 1])
    state.away = false
    await clock.pass(5_000)
    await gate.enter(0, never)
    expect(state.asked).toBe(2)
  })

  test.each([
    ['with a rate', { requestsPerMinute: 6_000 }],
    ['without a rate', {}],
  ])('a 429 of one process holds back the requests of another to an account %s', async (_name, rates) => {
    const clock = manualClock()
    const { shared } = memoryRates(clock)
    const layerOf = () =>
      rateLimit({ ratesOf: () => rates, retryAfterCapMs: 60_000, jitterMs: 0, sharedRates: shared, warn: nothing }, clock)
    const limited = new OrchestratorError('PROVIDER_RATE_LIMITED', 'slow down')
    const failing = layerOf()(() => Promise.reject(withCallFacts(limited, { retryAfterMs: 5_000, generated: false })))
    await expect(failing(prepared(), tryContext())).rejects.toBe(limited)
    const sentAt: number[] = []
    const other = layerOf()(async () => {
      sentAt.push(clock.now())
      return callAnswer()
    })
    const before = clock.now()
    const waiting = other(prepared({ model: 'model-b' }), tryContext())
    const tooShort = other(prepared(), { ...tryContext(), progress: { ...tryContext().progress, endsAtMs: clock.now() + 1_000 } })
    await expect(tooShort).rejects.toMatchObject({ code: 'PROVIDER_RATE_LIMITED', details: { provider: 'alpha' } })
    await clock.pass(4_900)
    expect(sentAt).toEqual([])
    await clock.pass(200)
    await waiting
    expect(sentAt.map((at) => at - before)).toEqual([5_000])
  })

  test('calls to accounts without a rate read closures once for all calls of a moment', async () => {
    const clock = manualClock()
    const { shared, state } = memoryRates(clock)
    const layer = rateLimit(
      { ratesOf: () => ({}), retryAfterCapMs: 1, jitterMs: 0, sharedRates: shared, warn: nothing },
      clock,
    )(async () => callAnswer())
    await Promise.all(Array.from({ length: 20 }, () => layer(prepared(), tryContext())))
    await layer(prepared(), tryContext())
    expect(state.asked).toBe(1)
    await clock.pass(200)
    await layer(prepared(), tryContext())
    expect(state.asked).toBe(2)
  })
})

describeCallLayer({
  name: 'rate limit over all processes',
  create: () => {
    const clock = manualClock()
    const { shared } = memoryRates(clock)
    const deps = { ratesOf: () => ({ maxConcurrency: 50 }), retryAfterCapMs: 1, jitterMs: 0, sharedRates: shared, warn: nothing }
    return rateLimit(deps, clock)
  },
})

import { afterEach, describe, expect, test } from 'vitest'
import { createProviderCalls } from '../../src/services/provider-calls.ts'
import type { ServiceEntry } from '../../src/services/service-entry.ts'
import { manualClock } from '../support/calls.ts'
import { rejection } from '../support/caught.ts'
import { createGate, openServiceWorld } from './service-world.ts'

let world: ReturnType<typeof openServiceWorld>
afterEach(() => world?.services.close())

const signal = () => new AbortController().signal
const PROVIDER = { kind: 'openai-compatible' as const }
const onDemand = (id: string, handlers: object, more: object = {}) => ({
  id,
  type: 'llm' as const,
  endpoint: 'http://127.0.0.1:9',
  start: 'demand' as const,
  provider: PROVIDER,
  handlers,
  ...more,
})

describe('a service that starts with its first call', () => {
  test('is started once by a hundred calls at the same time', async () => {
    world = openServiceWorld()
    let starts = 0
    const ready = createGate()
    const start = () => {
      starts++
      return ready.opened
    }
    await world.services.register(onDemand('one', { start }))
    const calls = Array.from({ length: 100 }, () => world.services.providerCalls.enter('one', signal()))
    await world.untilState('one', 'starting')
    ready.open()
    const visits = await Promise.all(calls)
    expect(world.services.get('one')).toMatchObject({ state: 'running', inFlight: 100, restarts: 0 })
    for (const { leave } of visits) leave(true)
    expect(world.services.get('one').inFlight).toBe(0)
    expect(starts).toBe(1)
  })

  test('that is never ready fails the calls that wait after its first start, with the wait for the next one', async () => {
    world = openServiceWorld({
      settings: { startTimeoutMs: 50, restart: { delayMs: 3_600_000, maxDelayMs: 3_600_000, maxRetries: 5 } },
    })
    await world.services.register(onDemand('one', { start: () => new Promise(() => {}) }))
    const failures = await Promise.all([1, 2, 3].map(() => rejection(world.services.providerCalls.enter('one', signal()))))
    for (const failure of failures) {
      expect(failure).toMatchObject({
        code: 'PROVIDER_UNAVAILABLE',
        message: 'the service "one" does not run yet (backoff after SERVICE_START_TIMEOUT)',
        details: { state: 'backoff', notSent: true, retryAfterMs: expect.any(Number) },
      })
    }
    expect(world.services.get('one')).toMatchObject({ state: 'backoff', inFlight: 0 })
  })

  test('that cannot be started again fails the calls that wait with its reason', async () => {
    world = openServiceWorld({ settings: { restart: { maxRetries: 0 } } })
    const start = () => Promise.reject(new Error('no model file'))
    await world.services.register(onDemand('one', { start }))
    const failure = await rejection(world.services.providerCalls.enter('one', signal()))
    expect(failure).toMatchObject({ code: 'SERVICE_NOT_RUNNING', message: expect.stringMatching(/found it .* \(SERVICE_/) })
  })
})

describe('idleStopMs', () => {
  test('a call that comes while the service is being stopped for want of calls starts it again', async () => {
    world = openServiceWorld()
    const stopping = createGate()
    await world.services.register(onDemand('one', { start: () => {}, stop: () => stopping.opened }, { idleStopMs: 1 }))
    const { providerCalls } = world.services
    ;(await providerCalls.enter('one', signal())).leave(true)
    await world.untilState('one', 'stopping')
    expect(providerCalls.standing('one')).toMatchObject({ mayAsk: true })
    const late = providerCalls.enter('one', signal())
    stopping.open()
    const visit = await late
    expect(world.services.get('one')).toMatchObject({ state: 'running', inFlight: 1 })
    visit.leave(true)
  })

  test('a stop by a person refuses the calls that come meanwhile', async () => {
    world = openServiceWorld()
    const stopping = createGate()
    await world.services.register(onDemand('one', { start: () => {}, stop: () => stopping.opened }, { idleStopMs: 60_000 }))
    const { providerCalls } = world.services
    ;(await providerCalls.enter('one', signal())).leave(true)
    const stopped = world.services.stop('one')
    await world.untilState('one', 'stopping')
    expect(providerCalls.standing('one')).toMatchObject({ mayAsk: false })
    expect(await rejection(providerCalls.enter('one', signal()))).toMatchObject({ code: 'SERVICE_NOT_RUNNING' })
    stopping.open()
    await stopped
  })

  test('ends a service whose only caller gave up before it ran', async () => {
    world = openServiceWorld()
    const ready = createGate()
    await world.services.register(onDemand('one', { start: () => ready.opened }, { idleStopMs: 1 }))
    const caller = new AbortController()
    const entering = rejection(world.services.providerCalls.enter('one', caller.signal))
    await world.untilState('one', 'starting')
    caller.abort(new Error('no longer needed'))
    expect(await entering).toMatchObject({ message: 'no longer needed' })
    ready.open()
    await world.untilState('one', 'idle')
  })

  test('begins with the last call, whichever way it came, and spares a service whose start is waited for', async () => {
    const clock = manualClock()
    let state = 'running'
    let inFlight = 0
    let stops = 0
    const started = createGate()
    const life: Pick<ServiceEntry['life'], 'beginCall' | 'snapshot' | 'runSignal'> = {
      beginCall() {
        inFlight++
        return () => void inFlight--
      },
      snapshot: () => JSON.parse(JSON.stringify({ model: { state, runs: 1 }, inFlight })),
      runSignal: signal,
    }
    const entry = { id: 'one', definition: { start: 'demand', idleStopMs: 100 }, life, body: { endpoint: () => 'http://x' } }
    // Only what calls read of an entry.
    const find = () => entry as unknown as ServiceEntry
    const calls = createProviderCalls({
      checkAddress: () => undefined,
      find,
      start: () => started.opened,
      stop: async () => void stops++,
      clock,
      monotonicNow: () => clock.now(),
    })
    calls.begin(find())(true)
    await clock.pass(90)
    calls.begin(find())(true)
    await clock.pass(90)
    expect(stops).toBe(0)
    state = 'starting'
    const waiting = calls.enter('one', signal())
    await clock.pass(500)
    expect(stops).toBe(0)
    state = 'running'
    started.open()
    ;(await waiting).leave(true)
    await clock.pass(100)
    expect(stops).toBe(1)
  })
})

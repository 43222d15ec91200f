import { afterEach, describe, expect, test } from 'vitest'
import type { ServiceState } from '../../src/domain/services/service-state.ts'
import { IDLE_MODEL } from '../../src/services/machine/machine-model.ts'
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
    expect(providerCalls.hindrance('one')).toEqual({
      message: 'the service "one" is stopping in this process; the first call starts it',
      startsByItself: true,
    })
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

  test('does not end a service on which another one depends that runs', async () => {
    world = openServiceWorld()
    const { services, untilState } = world
    await services.register(onDemand('base', { start: () => {} }, { idleStopMs: 1 }))
    await services.register({ id: 'top', type: 'agent', dependsOn: ['base'], start: 'manual', handlers: { start: () => {} } })
    await services.start('top')
    ;(await services.providerCalls.enter('base', signal())).leave(true)
    // A timer that was started later ends after the first one.
    await services.register(onDemand('other', { start: () => {} }, { idleStopMs: 10 }))
    ;(await services.providerCalls.enter('other', signal())).leave(true)
    await untilState('other', 'idle')
    expect(services.get('base').state).toBe('running')
    await services.stop('top')
    await untilState('base', 'idle')
  })

  test('begins with the last call, whichever way it came, and spares a service whose start is waited for', async () => {
    const { clock, calls, entry, service, started } = openUse()
    calls.begin(entry)(true)
    await clock.pass(90)
    calls.begin(entry)(true)
    await clock.pass(90)
    expect(service.stops).toBe(0)
    service.state = 'starting'
    const waiting = calls.enter('one', signal())
    await clock.pass(500)
    expect(service.stops).toBe(0)
    service.state = 'running'
    started.open()
    ;(await waiting).leave(true)
    await clock.pass(100)
    expect(service.stops).toBe(1)
  })

  test('a call to a service that was replaced, or that ends after the close, starts no timer', async () => {
    const { clock, calls, entry, service, replace } = openUse()
    const endOfOld = calls.begin(entry)
    const next = replace()
    calls.begin(next)(true)
    endOfOld(true)
    await clock.pass(100)
    expect(service.stops).toBe(1)
    const end = calls.begin(next)
    calls.close()
    end(true)
    await clock.pass(1_000)
    expect(service.stops).toBe(1)
  })

  test('is not counted on for a service that was stopped and started meanwhile', async () => {
    const { clock, calls, entry, service } = openUse()
    calls.begin(entry)(true)
    await clock.pass(90)
    service.become('idle')
    service.become('running')
    await clock.pass(500)
    expect(service.stops).toBe(0)
  })
})

/** Calls to a service "one" whose state the test sets, with `idleStopMs` of 100. */
function openUse() {
  const clock = manualClock()
  const started = createGate()
  const service = {
    state: 'running' as ServiceState,
    stops: 0,
    become(state: ServiceState) {
      const before = { ...IDLE_MODEL, state: service.state }
      service.state = state
      calls.changed('one', before, { ...IDLE_MODEL, state })
    },
  }
  function createEntry(): ServiceEntry {
    let inFlight = 0
    const life: Pick<ServiceEntry['life'], 'beginCall' | 'snapshot' | 'runSignal'> = {
      beginCall() {
        inFlight++
        return () => void inFlight--
      },
      snapshot: () => JSON.parse(JSON.stringify({ model: { state: service.state, runs: 1 }, inFlight })),
      runSignal: signal,
    }
    const entry = { id: 'one', definition: { start: 'demand', idleStopMs: 100 }, life, body: { endpoint: () => 'http://x' } }
    // Only what calls read of an entry.
    return entry as unknown as ServiceEntry
  }
  const entry = createEntry()
  let present = entry
  const calls = createProviderCalls({
    checkAddress: () => undefined,
    isNeeded: () => false,
    find: () => present,
    start: () => started.opened,
    stop: async () => void service.stops++,
    clock,
    monotonicNow: () => clock.now(),
  })
  const replace = () => {
    present = createEntry()
    return present
  }
  return { clock, calls, entry, service, started, replace }
}

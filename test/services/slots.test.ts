import { afterEach, describe, expect, test } from 'vitest'
import { Orchestra } from '../../src/facades/main.ts'
import { createBoundedCalls } from '../../src/services/calls/bounded-calls.ts'
import { manualClock } from '../support/calls.ts'
import { createGate, openServiceWorld, type ServiceWorldOptions } from './service-world.ts'

const closers: (() => Promise<unknown>)[] = []
const open = (options?: ServiceWorldOptions) => {
  const world = openServiceWorld(options)
  closers.push(() => world.services.close())
  return world
}
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()))
})

const handlers = { start: () => 'ready' }

describe('slots', () => {
  test('a hundred remote services and services without code keep none that runs something from starting', async () => {
    const { services } = open({ settings: { maxConcurrent: 1, startConcurrency: 1 } })
    for (let index = 0; index < 50; index++) {
      await services.register({ id: `remote-${index}`, type: 'network', endpoint: 'http://127.0.0.1:9' })
      await services.register({ id: `named-${index}`, type: 'llm', config: { model: 'small' } })
    }
    expect((await services.startAll()).filter(({ state }) => state !== 'running')).toEqual([])
    await services.register({ id: 'own', type: 'agent', handlers })
    expect((await services.start('own')).state).toBe('running')
    await services.register({ id: 'second', type: 'agent', handlers })
    expect((await services.start('second', { waitMs: 0 })).state).toBe('waiting')
  })

  test('a chain that needs more slots than there are is refused with its services, and starts none of them', async () => {
    const { services, events } = open({ settings: { maxConcurrent: 2 } })
    const given = { type: 'agent', handlers } as const
    await services.register({ ...given, id: 'base' })
    await services.register({ ...given, id: 'middle', dependsOn: ['base'] })
    await services.register({ ...given, id: 'top', dependsOn: ['middle'] })
    const refusal = { code: 'SERVICE_LIMIT_REACHED', details: { limit: 2, chain: ['base', 'middle', 'top'] } }
    await expect(services.start('top')).rejects.toMatchObject(refusal)
    await expect(services.restart('top')).rejects.toMatchObject(refusal)
    expect(services.list().map(({ state }) => state)).toEqual(['idle', 'idle', 'idle'])
    // The others of a start of all are not held up, and the refusal is an event.
    expect((await services.startAll()).map(({ state }) => state)).toEqual(['running', 'running', 'idle'])
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'service_error', subject: 'top', data: expect.objectContaining({ code: refusal.code }) }),
    )
  })

  test('an orchestra refuses a start whose dependencies would take the last slots', async () => {
    const orchestra = new Orchestra({ maxConcurrentServices: 3, logLevel: 'silent' })
    closers.push(() => orchestra.close())
    await orchestra.registerService({ id: 'other', type: 'llm' })
    await orchestra.registerService({ id: 'base', type: 'llm' })
    await orchestra.registerService({ id: 'middle', type: 'llm', dependsOn: ['base'] })
    await orchestra.registerService({ id: 'top', type: 'llm', dependsOn: ['middle', 'base'] })
    await orchestra.startService('other')
    await expect(orchestra.startService('top')).rejects.toMatchObject({
      code: 'SERVICE_LIMIT_REACHED',
      details: { limit: 3, active: 1, starting: ['top', 'middle', 'base'] },
    })
    await orchestra.stopService('other')
    expect((await orchestra.startService('top')).state).toBe('running')
  })
})

describe('call', () => {
  test('a service gets at most provider.maxConcurrency calls at once, and one that is given up in the queue is never sent', async () => {
    const { services } = open()
    const gate = createGate()
    const seen: unknown[] = []
    await services.register({
      id: 'one',
      type: 'llm',
      endpoint: 'http://127.0.0.1:9',
      provider: { kind: 'openai-compatible', maxConcurrency: 2 },
      handlers: {
        async onMessage(message) {
          seen.push(message)
          await gate.opened
          return 'done'
        },
      },
    })
    await services.start('one')
    const giveUp = new AbortController()
    const first = [services.call('one', { prompt: '1' }), services.call('one', { prompt: '2' })]
    const third = services.call('one', { prompt: '3' }, { signal: giveUp.signal })
    const fourth = services.call('one', { prompt: '4' })
    giveUp.abort(new Error('no longer needed'))
    await expect(third).rejects.toThrow('no longer needed')
    expect(seen).toEqual([{ prompt: '1' }, { prompt: '2' }])
    gate.open()
    await Promise.all([...first, fourth])
    expect(seen).toEqual([{ prompt: '1' }, { prompt: '2' }, { prompt: '4' }])
  })

  test('a call that gets no answer within callTimeoutMs of its service fails and frees its turn', async () => {
    const { services } = open()
    const never = createGate()
    await services.register({
      id: 'one',
      type: 'agent',
      callTimeoutMs: 20,
      handlers: { onMessage: () => never.opened },
    })
    await services.start('one')
    await expect(services.call('one', { prompt: 'x' })).rejects.toMatchObject({
      code: 'PROVIDER_UNAVAILABLE',
      details: { service: 'one', timeoutMs: 20 },
    })
    expect(services.get('one').inFlight).toBe(0)
  })

  test('the time of a call begins with its turn, and calls get theirs in the order of their arrival', async () => {
    const clock = manualClock()
    const bounded = createBoundedCalls({ id: 'one', maxConcurrency: 1, timeoutMs: 100, clock })
    const order: string[] = []
    const call = (name: string) =>
      bounded(new AbortController().signal, (signal) => {
        order.push(name)
        return new Promise<string>((resolve, reject) => {
          clock.startTimer(80, () => resolve(name))
          signal.addEventListener('abort', () => reject(signal.reason))
        })
      })
    const calls = Promise.all(['a', 'b', 'c'].map(call))
    await clock.pass(240)
    expect(await calls).toEqual(['a', 'b', 'c'])
    expect(order).toEqual(['a', 'b', 'c'])
    expect(clock.pending).toBe(0)
    const late = bounded(
      AbortSignal.any([]),
      (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    )
    const outcome = expect(late).rejects.toMatchObject({ code: 'PROVIDER_UNAVAILABLE' })
    await clock.pass(100)
    await outcome
  })
})

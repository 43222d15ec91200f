import { afterEach, describe, expect, test } from 'vitest'
import { serviceSchema } from '../../src/domain/services/service-schema.ts'
import { createGate, openServiceWorld, type ServiceWorldOptions } from './service-world.ts'

const worlds: ReturnType<typeof openServiceWorld>[] = []
const open = (options?: ServiceWorldOptions) => {
  const world = openServiceWorld(options)
  worlds.push(world)
  return world
}
afterEach(async () => {
  await Promise.all(worlds.splice(0).map(({ services }) => services.close()))
})

test('a service of a new file that cannot be started, which its state does not show, is an event', async () => {
  const given = { id: 'web', type: 'agent', endpoint: 'http://127.0.0.1:9', dependsOn: ['nothing'] }
  const { services, events, until } = open({ files: { services: [serviceSchema.parse(given)], problems: [] } })
  expect(await services.reload()).toMatchObject({ added: ['web'], problems: [] })
  const errors = () => events.filter(({ type, subject }) => type === 'service_error' && subject === 'web')
  await until(() => errors().length > 0)
  expect(services.get('web').state).toBe('idle')
  expect(errors()).toMatchObject([{ data: { code: 'SERVICE_INVALID', message: expect.stringContaining('nothing') } }])
})

describe('services of this process', () => {
  test('a service that only names a model starts, has unknown health, and cannot be called without a provider', async () => {
    const { services } = open()
    const registered = await services.register({ id: 'llm-1', type: 'llm', config: { model: 'claude', maxTokens: 4096 } })
    expect(registered).toMatchObject({ state: 'idle', health: 'unknown', driver: 'in_process', name: 'llm-1', attempt: 0 })
    expect(await services.start('llm-1')).toMatchObject({ state: 'running', health: 'unknown' })
    await expect(services.call('llm-1', { prompt: 'hi' })).rejects.toMatchObject({ code: 'PROVIDER_NOT_CONFIGURED' })
    expect(await services.stop('llm-1')).toMatchObject({ state: 'idle', lastExit: { reason: 'stopped' } })
  })

  test('a second service with the same id, unknown keys and other states than idle are refused', async () => {
    const { services } = open()
    await services.register({ id: 'one', type: 'llm' })
    await expect(services.register({ id: 'one', type: 'voice' })).rejects.toMatchObject({ code: 'SERVICE_EXISTS' })
    const wrong: object = { id: 'two', type: 'llm', endpont: 'http://127.0.0.1:1' }
    await expect(services.register({ id: 'two', type: 'llm', ...wrong })).rejects.toMatchObject({
      code: 'SERVICE_INVALID',
      message: expect.stringContaining('did you mean "endpoint"?'),
    })
    const running: object = { status: 'running' }
    await expect(services.register({ id: 'two', type: 'llm', ...running })).rejects.toMatchObject({ code: 'SERVICE_INVALID' })
    const config = { maxTokens: -1 }
    await expect(services.register({ id: 'two', type: 'llm', config })).rejects.toMatchObject({ code: 'SERVICE_INVALID' })
    const metadata = { text: 'x'.repeat(17_000) }
    await expect(services.register({ id: 'two', type: 'llm', metadata })).rejects.toMatchObject({ code: 'SERVICE_INVALID' })
    expect(() => services.get('onee')).toThrow(
      expect.objectContaining({ code: 'SERVICE_NOT_FOUND', details: { service: 'onee', suggestion: 'one' } }),
    )
  })

  test('a start that fails is repeated and then given up, and no other service notices', async () => {
    const { services, events } = open()
    let starts = 0
    await services.register({ id: 'good', type: 'agent', handlers: { start: () => 'ready' } })
    await services.register({
      id: 'bad',
      type: 'agent',
      handlers: {
        start() {
          starts++
          throw new Error('no licence')
        },
      },
    })
    await services.start('good')
    await expect(services.start('bad')).rejects.toMatchObject({
      code: 'SERVICE_GAVE_UP',
      message: expect.stringContaining('no licence'),
    })
    expect(starts).toBe(3)
    expect(services.get('bad')).toMatchObject({ state: 'failed', restarts: 2, lastError: { code: 'SERVICE_GAVE_UP' } })
    expect(services.get('good').state).toBe('running')
    expect(events.filter(({ type, subject }) => type === 'service_error' && subject === 'bad')).toHaveLength(3)
  })

  test('a stop handler that fails is reported, and the service is stopped nevertheless', async () => {
    const { services, events } = open()
    await services.register({ id: 'one', type: 'agent', handlers: { stop: () => Promise.reject(new Error('held')) } })
    await services.start('one')
    expect((await services.stop('one')).state).toBe('idle')
    expect(events.some(({ type }) => type === 'stop_failed')).toBe(true)
  })

  test('a service whose health handler fails is degraded, and runs again when it answers', async () => {
    const { services, untilState } = open()
    let healthy = true
    await services.register({ id: 'one', type: 'agent', handlers: { health: () => healthy } })
    await services.start('one')
    healthy = false
    await untilState('one', 'degraded')
    expect(services.get('one')).toMatchObject({ health: 'unhealthy', probe: { ok: false } })
    healthy = true
    await untilState('one', 'running')
    expect(services.get('one')).toMatchObject({ health: 'healthy', restarts: 0 })
  })

  test('calls in flight end before the service is asked to stop, and new ones are refused', async () => {
    const { services } = open()
    const gate = createGate()
    const order: string[] = []
    await services.register({
      id: 'one',
      type: 'agent',
      handlers: {
        async onMessage() {
          await gate.opened
          order.push('answered')
          return 'done'
        },
        stop: () => void order.push('stopped'),
      },
    })
    await services.start('one')
    const call = services.call('one', { prompt: 'hi' })
    expect(services.get('one').inFlight).toBe(1)
    const stop = services.stop('one')
    await expect(services.call('one', { prompt: 'more' })).rejects.toMatchObject({ code: 'SERVICE_NOT_RUNNING' })
    gate.open()
    expect(await call).toEqual({ text: 'done' })
    await stop
    expect(order).toEqual(['answered', 'stopped'])
  })

  test('two starts are one, a stop ends a start that waits, and a start while stopping comes after it', async () => {
    const { services } = open()
    const gate = createGate()
    let starts = 0
    await services.register({ id: 'one', type: 'agent', handlers: { start: () => (starts++ === 0 ? gate.opened : undefined) } })
    const both = [services.start('one'), services.start('one')]
    expect((await services.start('one', { waitMs: 0 })).state).toBe('starting')
    const settled = Promise.allSettled(both)
    await services.stop('one')
    expect((await settled).map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    gate.open()
    await services.start('one')
    expect(starts).toBe(2)
    const stopping = services.stop('one')
    const again = services.start('one')
    expect((await again).state).toBe('running')
    await stopping
    expect(starts).toBe(3)
  })

  test('1,000 commands at random from five callers all settle, and the service ends in the last commanded state', async () => {
    const { services } = open()
    let alive = 0
    let most = 0
    await services.register({
      id: 'one',
      type: 'agent',
      handlers: {
        start() {
          most = Math.max(most, ++alive)
        },
        stop: () => void alive--,
      },
    })
    let seed = 7
    const random = (below: number) => {
      seed = (seed * 48_271) % 2_147_483_647
      return seed % below
    }
    const commands = ['start', 'stop', 'restart'] as const
    const caller = async () => {
      for (let count = 0; count < 200; count++) await services[commands[random(3)] ?? 'start']('one').catch(() => undefined)
    }
    await Promise.all(Array.from({ length: 5 }, caller))
    expect((await services.start('one')).state).toBe('running')
    expect(most).toBe(1)
    expect((await services.stop('one')).state).toBe('idle')
    expect(alive).toBe(0)
  })

  test('a service publishes events of its own and calls its neighbour', async () => {
    const { services, events } = open()
    await services.register({ id: 'ear', type: 'voice', handlers: { onMessage: (message) => ({ body: message }) } })
    await services.register({
      id: 'mouth',
      type: 'voice',
      handlers: {
        async start({ call, publish }) {
          publish('heard', await call('ear', { prompt: 'hello' }), { correlationId: 'c-1' })
        },
      },
    })
    await services.start('ear')
    await services.start('mouth')
    expect(events.find(({ type }) => type === 'heard')).toMatchObject({
      source: 'mouth',
      correlationId: 'c-1',
      data: { body: { prompt: 'hello' } },
    })
  })
})

describe('the order of starts', () => {
  test('a service starts after those that it depends on, which it starts', async () => {
    const { services } = open()
    const order: string[] = []
    const start = (id: string) => ({ start: () => void order.push(id) })
    await services.register({ id: 'api', type: 'network', dependsOn: ['model', 'store'], handlers: start('api') })
    await services.register({ id: 'model', type: 'llm', dependsOn: ['store'], handlers: start('model') })
    await services.register({ id: 'store', type: 'network', handlers: start('store') })
    await services.start('api')
    expect(order).toEqual(['store', 'model', 'api'])
  })

  test('unknown and circular dependencies are refused by name, and a failed one fails what depends on it', async () => {
    const { services } = open()
    await services.register({ id: 'a', type: 'llm', dependsOn: ['b'] })
    await services.register({ id: 'b', type: 'llm', dependsOn: ['a'] })
    await expect(services.start('a')).rejects.toMatchObject({
      code: 'SERVICE_INVALID',
      message: expect.stringContaining('a → b → a'),
    })
    await services.register({ id: 'c', type: 'llm', dependsOn: ['missing'] })
    await expect(services.start('c')).rejects.toMatchObject({ code: 'SERVICE_INVALID', details: { dependency: 'missing' } })
    await services.register({
      id: 'bad',
      type: 'llm',
      restart: { maxRetries: 0 },
      handlers: { start: () => Promise.reject(new Error('no')) },
    })
    await services.register({ id: 'd', type: 'llm', dependsOn: ['bad'] })
    await expect(services.start('d')).rejects.toMatchObject({ code: 'SERVICE_DEPENDENCY_FAILED', details: { dependency: 'bad' } })
  })

  test('no more services run than the limit, the next one is the one that waited first, and startAll reports who waits', async () => {
    const { services, untilState } = open({ settings: { maxConcurrent: 2 } })
    const handlers = { start: () => 'ready' }
    for (const id of ['a', 'b', 'c', 'd'])
      await services.register({ id, type: 'llm', start: id === 'd' ? 'manual' : 'auto', handlers })
    expect((await services.startAll()).map(({ state }) => state)).toEqual(['running', 'running', 'waiting'])
    expect(services.get('d').state).toBe('idle')
    await services.start('d', { waitMs: 0 })
    await services.stop('a')
    await untilState('c', 'running')
    expect(services.get('d').state).toBe('waiting')
    await services.stop('b')
    await untilState('d', 'running')
  })

  test('never more services start at once than startConcurrency', async () => {
    const { services } = open({ settings: { startConcurrency: 3 } })
    let starting = 0
    let most = 0
    for (let index = 0; index < 20; index++) {
      const start = async () => {
        most = Math.max(most, ++starting)
        await new Promise(setImmediate)
        starting--
      }
      await services.register({ id: `s-${index}`, type: 'llm', handlers: { start } })
    }
    const reports = await services.startAll()
    expect(reports.every(({ state }) => state === 'running')).toBe(true)
    expect(most).toBe(3)
  })

  test('a failed service keeps none of the others from starting', async () => {
    const { services, events } = open()
    await services.register({ id: 'bad', type: 'llm', handlers: { start: () => Promise.reject(new Error('no')) } })
    await services.register({ id: 'lost', type: 'llm', dependsOn: ['nowhere'] })
    await services.register({ id: 'good', type: 'llm' })
    await services.startAll()
    expect(services.get('good').state).toBe('running')
    expect(events.some(({ type, subject }) => type === 'service_error' && subject === 'lost')).toBe(true)
  })
})

describe('closing', () => {
  test('closing stops what runs, waits for it, and refuses every later start', async () => {
    const { services } = open()
    const stopped: string[] = []
    for (const id of ['a', 'b']) await services.register({ id, type: 'llm', handlers: { stop: () => void stopped.push(id) } })
    await services.startAll()
    await services.close()
    expect(stopped.sort()).toEqual(['a', 'b'])
    await expect(services.start('a')).rejects.toMatchObject({ code: 'SERVICE_NOT_RUNNING' })
    expect(services.list({ state: 'idle' })).toHaveLength(2)
  })
})

test('a service that is replaced under its id numbers its runs on, so that pools forget what the old one has shown', async () => {
  const { services } = open()
  const service = { id: 'one', type: 'agent', handlers: { start: () => 'ready' } } as const
  const runs: (number | undefined)[] = []
  for (let round = 0; round < 3; round++) {
    await services.register(service)
    await services.start('one')
    runs.push(services.providerCalls.standing('one')?.run)
    await services.stop('one')
    await services.remove('one')
  }
  expect(runs).toEqual([1, 2, 3])
})

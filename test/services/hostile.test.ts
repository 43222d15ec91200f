import { createServer, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import type { LeftRun, ProcessDriver } from '../../src/services/process-driver.ts'
import { createGate, openServiceWorld, type ServiceWorldOptions } from './service-world.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean()
})
const open = (options?: ServiceWorldOptions) => {
  const world = openServiceWorld(options)
  cleanups.push(() => world.services.close())
  return world
}

/** A server of raw bytes: it answers every connection with the same text and leaves it open. */
async function answerWith(bytes: string): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.once('data', () => socket.write(bytes))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy()
    return new Promise((resolve) => server.close(resolve))
  })
  const address = server.address()
  return `http://127.0.0.1:${typeof address === 'object' && address?.port}`
}

test('a call to a handler that never answers ends with its signal, and the service can be stopped and called again', async () => {
  const { services } = open()
  let calls = 0
  const never = new Promise(() => undefined)
  const onMessage = () => (calls++ === 0 ? never : 'answered')
  await services.register({ id: 'one', type: 'agent', handlers: { onMessage } })
  await services.start('one')
  const abort = new AbortController()
  const call = services.call('one', { prompt: 'hi' }, { signal: abort.signal })
  abort.abort(new Error('enough'))
  await expect(call).rejects.toThrow('enough')
  expect(services.get('one').inFlight).toBe(0)
  expect(await services.call('one', { prompt: 'hi' })).toEqual({ text: 'answered' })
  await services.stop('one')
})

test('a call to a handler that never answers ends with its service', async () => {
  const { services } = open()
  const gate = createGate()
  const onMessage = () => {
    gate.open()
    return new Promise(() => undefined)
  }
  await services.register({ id: 'one', type: 'agent', handlers: { onMessage } })
  await services.start('one')
  const call = services.call('one', { prompt: 'hi' })
  const failed = expect(call).rejects.toMatchObject({ code: 'SERVICE_NOT_RUNNING' })
  await gate.opened
  await services.stop('one', { drainMs: 0 })
  await failed
  expect(services.get('one').inFlight).toBe(0)
})

test('a server that changes the protocol instead of answering fails the call', async () => {
  const { services } = open()
  const endpoint = await answerWith('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n')
  await services.register({ id: 'one', type: 'network', endpoint })
  await services.start('one')
  await expect(services.call('one', { path: '/' })).rejects.toMatchObject({ code: 'PROVIDER_UNAVAILABLE' })
})

test('a path that only begins like the endpoint is not below it', async () => {
  const { services } = open()
  const endpoint = await answerWith('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
  await services.register({ id: 'one', type: 'network', endpoint: `${endpoint}/v1` })
  await services.start('one')
  for (const path of ['../v10/keys', '/../v1x', '..\\v10']) {
    await expect(services.call('one', { path }), path).rejects.toMatchObject({ code: 'SERVICE_ADDRESS_REFUSED' })
  }
  for (const path of ['', '/', 'models', '../v1', '../v1/models']) {
    expect(await services.call('one', { path }), path).toMatchObject({ status: 200 })
  }
})

test('a service that is removed and started at one instant does not run on without a name', async () => {
  const { services } = open()
  let starts = 0
  await services.register({ id: 'one', type: 'agent', handlers: { start: () => void starts++ } })
  const [removed, started] = await Promise.allSettled([services.remove('one'), services.start('one')])
  expect(removed.status).toBe('fulfilled')
  expect(started).toMatchObject({ status: 'rejected', reason: { code: 'SERVICE_NOT_FOUND' } })
  expect(starts).toBe(0)
})

test('a handler of events may command the service whose change it hears of', async () => {
  const { services } = open()
  const again = createGate()
  let outcome: unknown
  await services.register({ id: 'one', type: 'agent' })
  services.onEvent(async ({ type, data }) => {
    if (type !== 'service_state' || !JSON.stringify(data).includes('"to":"idle"')) return
    outcome = await services.start('one').then(
      ({ state }) => state,
      (error: unknown) => error,
    )
    again.open()
  })
  await services.start('one')
  await services.stop('one')
  await again.opened
  expect(outcome).toBe('running')
})

test('a sign of life starts no service of this machine that was stopped', async () => {
  const { services } = open()
  await services.register({ id: 'one', type: 'agent' })
  expect(services.heartbeat('one').state).toBe('idle')
  await services.start('one')
  expect(services.heartbeat('one').state).toBe('running')
})

test('a service does not start in a slot that it got after its dependency has ended', async () => {
  const { services, untilState, states } = open({ settings: { maxConcurrent: 2 } })
  const healthy = { base: true }
  const start = () => 'ready'
  await services.register({ id: 'other', type: 'agent', handlers: { start } })
  await services.register({ id: 'base', type: 'agent', handlers: { start, health: () => healthy.base } })
  await services.register({ id: 'top', type: 'agent', dependsOn: ['base'], handlers: { start } })
  await services.start('other')
  await services.start('base')
  const top = services.start('top')
  await untilState('top', 'waiting')
  healthy.base = false
  await untilState('base', 'degraded')
  await services.stop('other')
  expect(services.get('top').state).toBe('waiting')
  healthy.base = true
  await top
  expect(states('top')).toEqual(['waiting', 'starting', 'running'])
})

test('a call between services is an event with both ids and without its content', async () => {
  const { services, events } = open()
  await services.register({ id: 'one', type: 'agent', handlers: { onMessage: () => 'yes' } })
  await services.register({
    id: 'two',
    type: 'agent',
    handlers: { start: ({ call }) => call('one', { prompt: 'a secret' }) },
  })
  await services.start('one')
  await services.start('two')
  const messages = events.filter(({ type }) => type === 'service_message')
  expect(messages).toMatchObject([{ subject: 'one', data: { from: 'two', to: 'one' } }])
  expect(JSON.stringify(messages)).not.toContain('secret')
})

test('what became of the runs of an earlier supervisor is told, and only what is doubtful is a warning', async () => {
  const left: readonly LeftRun[] = [
    { id: 'a', outcome: 'ended', pids: [10, 11] },
    { id: 'b', outcome: 'set_aside', reason: 'other_process', path: '/run/b.set-aside' },
    { id: 'c', outcome: 'unkillable', pids: [12] },
    { id: 'd', outcome: 'gone' },
  ]
  const refuse = () => Promise.reject(new Error('no program'))
  const driver: ProcessDriver = {
    kind: 'process',
    supervise: async () => undefined,
    adopt: async () => left,
    findLiving: async () => [],
    start: refuse,
    logs: async function* () {},
    allocatePort: refuse,
    releasePort: () => undefined,
    close: async () => undefined,
  }
  const { services, events } = open({ process: driver })
  await services.register({ id: 'one', type: 'agent', executable: 'program' })
  await services.startAll()
  const told = events.filter(({ type }) => type === 'service_orphan')
  expect(told.map(({ subject, data, priority }) => ({ subject, data, priority }))).toEqual([
    { subject: 'a', data: { serviceId: 'a', outcome: 'ended', pids: [10, 11] }, priority: 'normal' },
    {
      subject: 'b',
      data: { serviceId: 'b', outcome: 'set_aside', reason: 'other_process', path: '/run/b.set-aside' },
      priority: 'high',
    },
    { subject: 'c', data: { serviceId: 'c', outcome: 'unkillable', pids: [12] }, priority: 'high' },
    { subject: 'd', data: { serviceId: 'd', outcome: 'gone' }, priority: 'normal' },
  ])
})

test('a config that JSON cannot hold, and placeholders without a value, are refused', async () => {
  const { services } = open()
  const circle: { self?: unknown } = {}
  circle.self = circle
  for (const config of [circle, { size: 10n }]) {
    await expect(services.register({ id: 'one', type: 'llm', config: { ...config } })).rejects.toMatchObject({
      code: 'SERVICE_INVALID',
      details: { problems: [{ path: 'config' }] },
    })
  }
  const wrong = [
    [{ executable: ['run', '--port', '{{port}}'] }, 'executable[2]'],
    [{ executable: ['run', '{{endpoint}}'] }, 'executable[1]'],
    [{ executable: ['run'], environment: { PORT_OF: '{{port}}' } }, 'environment.PORT_OF'],
    [{ executable: ['run'], health: { url: 'http://127.0.0.1:{{port}}/' } }, 'health.url'],
    [{ executable: ['run'], health: { tcp: '127.0.0.1:{{port}}' } }, 'health.tcp'],
    [{ executable: ['run'], endpoint: '{{endpoint}}/v1' }, 'endpoint'],
  ] as const
  for (const [more, path] of wrong) {
    const service = { id: 'one', type: 'llm' as const, ...more, executable: [...more.executable] }
    const refused = await services.register(service).catch((error: unknown) => error)
    expect(refused, path).toMatchObject({ code: 'SERVICE_INVALID', details: { problems: [{ path }] } })
  }
})

test('a chain of ten and a fan of ninety services run in a hundred slots, and stop and start again in them', async () => {
  const { services } = open({ settings: { maxConcurrent: 100 } })
  for (let index = 0; index < 100; index++) {
    const dependsOn = index === 0 ? [] : [`s${index < 10 ? index - 1 : 0}`]
    await services.register({ id: `s${index}`, type: 'agent', dependsOn, handlers: { start: () => 'ready' } })
  }
  for (let round = 0; round < 2; round++) {
    const reports = await services.startAll()
    expect(reports.filter(({ state }) => state !== 'running')).toEqual([])
    await Promise.all(reports.map(({ id }) => services.stop(id)))
  }
})

test('values of no type at all are refused with a code', async () => {
  const { services } = open()
  for (const given of [undefined, null, 7]) {
    await expect(Reflect.apply(services.register, services, [given])).rejects.toMatchObject({ code: 'SERVICE_INVALID' })
    expect(() => Reflect.apply(services.get, services, [given])).toThrow(expect.objectContaining({ code: 'SERVICE_NOT_FOUND' }))
  }
})

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { serviceSchema } from '../../src/domain/services/service-schema.ts'
import { ROUND_MS } from '../../src/services/elsewhere/service-table.ts'
import type { ServiceInput } from '../../src/services/service.ts'
import { rejection } from '../support/caught.ts'
import { createGate, openServiceWorld, type ServiceWorldOptions } from './service-world.ts'
import { createSharedTable } from './shared-table.ts'

let table: ReturnType<typeof createSharedTable>
const opened: { readonly services: { close(): Promise<void> } }[] = []
beforeEach(() => {
  table = createSharedTable()
})
afterEach(async () => {
  vi.useRealTimers()
  table.isDown = false
  for (const { services } of opened.splice(0)) await services.close()
})

const open = (ownerId: string, more: ServiceWorldOptions & { readonly host?: string } = {}) => {
  const world = openServiceWorld({ shared: table.of(ownerId, more.host), ...more })
  opened.push(world)
  return world
}

/** A service of this process that answers at an address. */
const writer = (more: Partial<ServiceInput> = {}): ServiceInput => ({
  id: 'writer',
  type: 'llm',
  start: 'manual',
  endpoint: 'http://127.0.0.1:8000/api/',
  advertise: 'http://localhost:9000',
  handlers: {},
  provider: { kind: 'openai-compatible', models: ['small'] },
  ...more,
})

const enter = ({ services }: ReturnType<typeof open>) => services.providerCalls.enter('writer', new AbortController().signal)

describe('advertise in a definition', () => {
  const program = { id: 'writer', type: 'llm', executable: ['node'], port: 'auto', endpoint: 'http://127.0.0.1:{{port}}' }
  const problemOf = (more: object) => serviceSchema.safeParse({ ...program, ...more }).error?.issues[0]

  test.each(['http://models-1:8000', 'https://models.example.com', 'http://[2001:db8::1]:80/', 'http://{{id}}.local:{{port}}'])(
    'accepts %s',
    (advertise) => expect(problemOf({ advertise })).toBeUndefined(),
  )

  test.each([
    'models-1:8000',
    'ftp://models-1:8000',
    'http://models-1:8000/v1',
    'http://models-1:8000?a=1',
    'http://user:secret@models-1:8000',
    'http://models-1:99999',
    'http://{{endpoint}}',
    '{{endpoint}}',
  ])('refuses %s', (advertise) => {
    expect(problemOf({ advertise })).toMatchObject({
      path: ['advertise'],
      message: 'expected http://host:port, which other machines reach, without a path',
    })
  })

  test('needs an endpoint, whose path it has, and a port for its placeholder', () => {
    const advertise = 'http://models-1:{{port}}'
    expect(problemOf({ advertise, endpoint: undefined })?.message).toBe('expected only together with endpoint')
    expect(problemOf({ advertise, port: undefined, endpoint: 'http://127.0.0.1:1' })?.message).toBe(
      'expected port to be set for {{port}}',
    )
  })

  test('is refused for a remote service, which all processes reach at its endpoint', async () => {
    const { services } = open('one')
    const { handlers: _, ...remote } = writer()
    await expect(services.register(remote)).rejects.toMatchObject({
      code: 'SERVICE_INVALID',
      message: expect.stringContaining('advertise: expected it only for a program or code of this process'),
    })
    expect(services.list()).toEqual([])
  })
})

describe('the process that runs a service', () => {
  test('writes nothing and reads nothing without advertise', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const { services } = open('one')
    await services.register(writer({ advertise: undefined }))
    await services.start('writer')
    vi.advanceTimersByTime(10 * ROUND_MS)
    await services.stop('writer')
    await services.close()
    expect(table.statements).toEqual([])
  })

  test('states every change, confirms it at intervals, and withdraws the service when it stops', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    const { services } = open('one')
    await services.register(writer())
    await services.start('writer')
    await vi.waitFor(() => expect(table.rows()).toMatchObject([{ address: 'http://localhost:9000/api', state: 'running' }]))
    const before = table.statements.length
    vi.advanceTimersByTime(2 * ROUND_MS)
    await vi.waitFor(() =>
      expect(table.statements.slice(before)).toEqual(['one advertises writer running', 'one advertises writer running']),
    )
    await services.stop('writer')
    await vi.waitFor(() => expect(table.rows()).toEqual([]))
    expect(table.statements.at(-1)).toBe('one withdraws writer')
    vi.advanceTimersByTime(ROUND_MS)
    await vi.waitFor(() => expect(table.statements.at(-1)).toBe('one reads writer'))
  })

  test('has withdrawn everything when it is closed, also what it could not withdraw before', async () => {
    const { services } = open('one')
    await services.register(writer())
    await services.start('writer')
    await vi.waitFor(() => expect(table.rows()).toHaveLength(1))
    table.isDown = true
    await services.stop('writer')
    await vi.waitFor(() => expect(table.failures).toHaveLength(1))
    expect(table.rows()).toHaveLength(1)
    table.isDown = false
    await services.close()
    expect(table.rows()).toEqual([])
  })

  test('runs its services while the table cannot be written', async () => {
    table.isDown = true
    const { services } = open('one')
    await services.register(writer())
    expect(await services.start('writer')).toMatchObject({ state: 'running' })
    await services.close()
    expect(table.failures.length).toBeGreaterThan(0)
  })
})

describe('a process that does not run the service', () => {
  test('uses the address of the one that does, and shows where it runs', async () => {
    const [one, two] = [open('one'), open('two')]
    for (const { services } of [one, two]) await services.register(writer())
    await expect(enter(two)).rejects.toMatchObject({ code: 'SERVICE_NOT_RUNNING', details: { state: 'idle' } })
    await one.services.start('writer')
    await vi.waitFor(() => expect(table.rows()).toMatchObject([{ state: 'running' }]))
    const visit = await vi.waitFor(() => enter(two), { timeout: 30_000 })
    expect(visit.endpoint).toBe('http://localhost:9000/api')
    const report = two.services.get('writer')
    expect(report).toMatchObject({
      state: 'running',
      endpoint: 'http://localhost:9000/api',
      elsewhere: { host: 'here', ownerId: 'one', address: 'http://localhost:9000/api' },
      inFlight: 1,
    })
    expect(two.services.list({ state: 'running' })).toHaveLength(1)
    expect(two.services.providerCalls.standing('writer')).toMatchObject({ mayAsk: true })
    expect(two.services.providerCalls.hindrance('writer')).toBeUndefined()
    visit.leave(true)
    expect(two.services.get('writer').inFlight).toBe(0)
  })

  test('waits while the other one starts it again', async () => {
    table.put({ state: 'backoff' })
    const { services } = open('two')
    await services.register(writer())
    const error = await rejection(services.providerCalls.enter('writer', new AbortController().signal))
    expect(error).toMatchObject({
      code: 'PROVIDER_UNAVAILABLE',
      details: { service: 'writer', state: 'backoff', host: 'here', notSent: true, retryAfterMs: 1_000 },
    })
    expect(services.providerCalls.standing('writer')).toMatchObject({ mayAsk: false, mayReturn: true, waitMs: 1_000 })
    expect(services.providerCalls.hindrance('writer')).toEqual({
      message: 'the service "writer" is backoff on here; it will run by itself',
      startsByItself: true,
    })
  })

  test('starts no copy for a call, and one of its own when it is told to, which it then uses', async () => {
    table.put({})
    const { services, states } = open('two')
    await services.register(writer({ start: 'demand' }))
    const visit = await services.providerCalls.enter('writer', new AbortController().signal)
    expect(visit.endpoint).toBe('http://127.0.0.1:1')
    expect(states('writer')).toEqual([])
    await services.start('writer')
    const own = await services.providerCalls.enter('writer', new AbortController().signal)
    expect(own.endpoint).toBe('http://127.0.0.1:8000/api/')
    expect(visit.ended.aborted).toBe(false)
    expect(services.get('writer').elsewhere).toBeUndefined()
    for (const { leave } of [visit, own]) leave(true)
  })

  test('with start: demand runs the service itself where no one else does', async () => {
    const { services } = open('two')
    await services.register(writer({ start: 'demand' }))
    const visit = await services.providerCalls.enter('writer', new AbortController().signal)
    expect(visit.endpoint).toBe('http://127.0.0.1:8000/api/')
    visit.leave(true)
    await vi.waitFor(() => expect(table.rows()).toMatchObject([{ ownerId: 'two', state: 'running' }]))
  })

  test('sends what code calls to the address and not to its own handlers', async () => {
    const server = createServer((request, response) => response.end(`over ${request.url}`))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    try {
      const { port } = server.address() as AddressInfo
      table.put({ address: `http://127.0.0.1:${port}/api` })
      const { services } = open('two')
      await services.register(writer({ type: 'network', handlers: { onMessage: () => 'own' } }))
      expect(await services.call('writer', { path: '/x' })).toMatchObject({ status: 200, text: 'over /api/x' })
    } finally {
      server.close()
    }
  })

  test.each([
    ['an origin that no one named', { address: 'http://models-1:8000' }],
    ['an address of cloud metadata', { address: 'http://169.254.169.254' }],
    ['the loopback address of another machine', { host: 'there' }],
    ['what is no address', { address: 'file:///etc/passwd' }],
  ])('does not call %s, and says so', async (_name, row) => {
    table.put(row)
    const { services } = open('two')
    await services.register(writer())
    await expect(services.providerCalls.enter('writer', new AbortController().signal)).rejects.toMatchObject({
      code: 'SERVICE_ADDRESS_REFUSED',
    })
    await expect(services.call('writer', { prompt: 'x' })).rejects.toMatchObject({ code: 'SERVICE_ADDRESS_REFUSED' })
    const report = services.get('writer')
    expect(report).toMatchObject({ state: 'idle', lastError: { code: 'SERVICE_ADDRESS_REFUSED' }, elsewhere: { ownerId: 'x' } })
    expect(report.endpoint).toBe('http://127.0.0.1:8000/api/')
    expect(services.providerCalls.standing('writer')).toMatchObject({ mayAsk: false, mayReturn: false })
    expect(services.providerCalls.hindrance('writer')).toMatchObject({ startsByItself: false })
  })

  test('calls an origin of the configuration', async () => {
    table.put({ address: 'https://models.example.com', host: 'there' })
    const { services } = open('two', { settings: { registration: { origins: ['https://models.example.com'] } } })
    await services.register(writer())
    expect(await services.providerCalls.enter('writer', new AbortController().signal)).toMatchObject({
      endpoint: 'https://models.example.com',
    })
  })

  test('ends calls in flight when the other process is gone or its service fails', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    table.put({})
    const { services } = open('two')
    await services.register(writer())
    const ended = async (change: () => void) => {
      const visit = await services.providerCalls.enter('writer', new AbortController().signal)
      const gate = createGate()
      visit.ended.addEventListener('abort', gate.open)
      change()
      vi.advanceTimersByTime(ROUND_MS)
      await gate.opened
      visit.leave(false)
    }
    await ended(() => table.put({ state: 'backoff' }))
    table.put({})
    vi.advanceTimersByTime(ROUND_MS)
    await vi.waitFor(() => expect(services.get('writer').state).toBe('running'))
    await ended(() => table.clear())
    expect(services.get('writer')).toMatchObject({ state: 'idle' })
  })
})

import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { createAddressRule } from '../../src/services/network/address-rule.ts'
import { createPinnedRequest } from '../../src/services/network/pinned-request.ts'
import { createHttpProbe, createTcpProbe } from '../../src/services/network/probes.ts'
import { createGate, openServiceWorld } from './service-world.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean()
})

async function serve(handler: RequestListener) {
  const server = createServer(handler)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  const { port } = server.address() as AddressInfo
  return { url: `http://127.0.0.1:${port}`, port }
}
const open = (...options: Parameters<typeof openServiceWorld>) => {
  const world = openServiceWorld(...options)
  cleanups.push(() => world.services.close())
  return world
}
const signal = () => AbortSignal.timeout(30_000)

describe('a remote service', () => {
  test('is called at its endpoint once its probe is good, and is degraded when the probe fails', async () => {
    let healthy = true
    const { url } = await serve((request, response) => {
      if (request.url === '/health') return void response.writeHead(healthy ? 200 : 503).end()
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ path: request.url, method: request.method }))
    })
    const { services, untilState } = open()
    await services.register({ id: 'one', type: 'network', endpoint: `${url}/base`, health: { url: '{{endpoint}}/../health' } })
    await services.start('one')
    expect(services.get('one')).toMatchObject({ driver: 'remote', health: 'healthy', endpoint: `${url}/base` })
    expect(await services.call('one', { path: '/speak', body: { a: 1 } })).toMatchObject({
      status: 200,
      body: { path: '/base/speak', method: 'POST' },
    })
    await expect(services.call('one', { path: '../../secret' })).rejects.toMatchObject({ code: 'SERVICE_ADDRESS_REFUSED' })
    healthy = false
    await untilState('one', 'degraded')
  })

  test('prompts to a model server are Chat Completions with the settings of its config', async () => {
    let sent = ''
    const { url } = await serve((request, response) => {
      request.on('data', (chunk) => {
        sent += chunk
      })
      request.on('end', () => {
        response.setHeader('content-type', 'application/json')
        response.end(JSON.stringify({ choices: [{ message: { content: `from ${request.url}` } }] }))
      })
    })
    const { services } = open()
    await services.register({ id: 'llm', type: 'llm', endpoint: url, config: { model: 'llama', maxTokens: 7 } })
    await services.start('llm')
    expect(await services.call('llm', { prompt: 'hi' })).toMatchObject({ text: 'from /v1/chat/completions', status: 200 })
    expect(JSON.parse(sent)).toEqual({ model: 'llama', messages: [{ role: 'user', content: 'hi' }], max_tokens: 7 })
  })

  test('a lease that is not renewed degrades it, ten of them make it idle, and a heartbeat starts it again', async () => {
    const { services, untilState, states } = open()
    await services.register({ id: 'one', type: 'agent', endpoint: 'http://127.0.0.1:9/', leaseMs: 10 })
    await services.start('one')
    await untilState('one', 'idle')
    expect(states('one')).toEqual(['waiting', 'starting', 'running', 'degraded', 'stopping', 'idle'])
    services.heartbeat('one')
    await untilState('one', 'running')
  })

  test('a service that cannot be reached is unavailable, and its address is in no error', async () => {
    const { services } = open()
    const { url } = await serve((request) => request.socket.destroy())
    await services.register({ id: 'one', type: 'agent', endpoint: url })
    await services.start('one')
    await expect(services.call('one', { prompt: 'hi' })).rejects.toMatchObject({ code: 'PROVIDER_UNAVAILABLE' })
    await services.remove('one')
    expect(() => services.get('one')).toThrow(expect.objectContaining({ code: 'SERVICE_NOT_FOUND' }))
  })
})

describe('addresses of services', () => {
  const REFUSED = [
    ...['http://169.254.169.254/latest', 'http://168.63.129.16/', 'http://[fd00:ec2::254]/', 'http://100.100.100.200/'],
    ...[
      'http://10.0.0.1/',
      'http://192.168.1.1/',
      'http://0.0.0.0/',
      'http://[::]/',
      'http://example.com/',
      'http://[::ffff:169.254.169.254]/',
    ],
    ...[
      'file:///etc/passwd',
      'gopher://127.0.0.1/',
      'http://user:secret@127.0.0.1/',
      'http://127.0.0.1.nip.io/',
      'not an address',
    ],
    ...['http://metadata.google.internal/', 'http://0xa9fea9fe/', 'http://2852039166/'],
  ]
  test.each(REFUSED)('%s is refused', (address) => {
    const rule = createAddressRule({ origins: [] })
    const refuse = () => rule.check(address)
    expect(refuse).toThrow(expect.objectContaining({ code: 'SERVICE_ADDRESS_REFUSED' }))
    expect(refuse).not.toThrow(/secret/)
  })

  test.each(['http://127.0.0.1:8001/health', 'http://localhost:1/', 'http://[::1]:1/', 'http://0x7f.1/', 'https://127.9.9.9/'])(
    '%s is an address of this machine',
    (address) => {
      expect(createAddressRule({ origins: [] }).check(address).href).toBeTruthy()
    },
  )

  test('a configured origin is allowed, another port of it is not, and metadata is refused even there', () => {
    const rule = createAddressRule({ origins: ['https://models.example.com', 'http://10.1.2.3:8000', 'http://169.254.169.254'] })
    expect(rule.check('https://models.example.com/v1').hostname).toBe('models.example.com')
    expect(rule.check('http://10.1.2.3:8000/').port).toBe('8000')
    for (const address of ['https://models.example.com:444/', 'http://models.example.com/', 'http://169.254.169.254/']) {
      expect(() => rule.check(address)).toThrow(expect.objectContaining({ code: 'SERVICE_ADDRESS_REFUSED' }))
    }
  })

  test('a name is connected to only at an address that was checked', async () => {
    const { port } = await serve((_request, response) => response.end('inside'))
    const rule = createAddressRule({
      origins: [`http://models.test:${port}`],
      resolve: (_name, _options, callback) => callback(null, [{ address: '169.254.169.254', family: 4 }]),
    })
    const request = createPinnedRequest(rule)
    await expect(request(`http://models.test:${port}/`, { signal: signal(), maxBytes: 10 })).rejects.toMatchObject({
      code: 'SERVICE_ADDRESS_REFUSED',
    })
    const pinned = createAddressRule({
      origins: [`http://models.test:${port}`],
      resolve: (_name, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }]),
    })
    const answer = await createPinnedRequest(pinned)(`http://models.test:${port}/`, { signal: signal(), maxBytes: 100 })
    expect(answer.text).toBe('inside')
  })
})

describe('probes', () => {
  const rule = createAddressRule({ origins: [] })
  const request = createPinnedRequest(rule)

  test('a redirect is not followed and counts as unhealthy', async () => {
    let others = 0
    const other = await serve((_request, response) => {
      others++
      response.end()
    })
    const { url } = await serve((_request, response) => response.writeHead(302, { location: other.url }).end())
    expect(await createHttpProbe(url, request)(signal())).toEqual({ ok: false, detail: 'HTTP 302' })
    expect(others).toBe(0)
  })

  test('of an endless answer at most 64 kB are read', async () => {
    const closed = createGate()
    let written = 0
    const { url } = await serve((_request, response) => {
      const write = () => {
        while (!response.destroyed) {
          written += 16_384
          if (!response.write(Buffer.alloc(16_384))) return void response.once('drain', write)
        }
      }
      response.on('close', closed.open)
      write()
    })
    expect(await createHttpProbe(url, request)(signal())).toEqual({ ok: true, detail: 'HTTP 200' })
    await closed.opened
    // What lies in the buffers of sockets was sent but not read.
    expect(written).toBeLessThan(20_000_000)
  })

  test('an answer that drips slowly ends with the time of the probe', async () => {
    const { url } = await serve((_request, response) => void response.write('a'))
    const abort = new AbortController()
    const probe = createHttpProbe(url, request)(abort.signal)
    abort.abort(new Error('no answer in time'))
    await expect(probe).rejects.toThrow('no answer in time')
  })

  test('a port that accepts connections is healthy, a closed or foreign one is not', async () => {
    const { port } = await serve((_request, response) => response.end())
    expect(await createTcpProbe(`127.0.0.1:${port}`, rule)(signal())).toMatchObject({ ok: true })
    expect(await createTcpProbe(`localhost:${port}`, rule)(signal())).toMatchObject({ ok: true })
    await expect(createTcpProbe('169.254.169.254:80', rule)(signal())).rejects.toMatchObject({ code: 'SERVICE_ADDRESS_REFUSED' })
  })
})

import { getEventListeners, once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { connect } from 'node:net'
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { afterEach, describe, expect, test } from 'vitest'
import { createVendorTransport } from '../../src/providers/transport/transport.ts'
import { readBody } from '../../src/providers/transport/transport-response.ts'
import { listenOnLoopback } from '../support/loopback.ts'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

async function serve(answer: RequestListener): Promise<{ readonly url: string; readonly server: Server }> {
  const server = createServer(answer)
  servers.push(server)
  return { server, url: `http://127.0.0.1:${await listenOnLoopback(server)}` }
}
const portOf = (server: Server): number => {
  const address = server.address()
  return typeof address === 'object' && address ? address.port : 0
}

const account = { id: 'desk', vendor: 'openai', simulated: false }
const transportOf = (settings: Partial<Parameters<typeof createVendorTransport>[0]> = {}, environment: NodeJS.ProcessEnv = {}) =>
  createVendorTransport({ ...account, ...settings }, environment)
const { fetch: send } = transportOf()

describe('the transport', () => {
  test('sends method, headers and body, and returns status, headers and body', async () => {
    const { url } = await serve(async (request, response) => {
      let body = ''
      for await (const chunk of request) body += chunk
      const { method, url: path, headers } = request
      response.writeHead(201, 'Made', { 'content-type': 'application/json', 'set-cookie': ['a=1', 'b=2'], 'X-Id': '7' })
      response.end(JSON.stringify({ method, path, body, key: headers['x-key'], length: headers['content-length'] }))
    })
    const response = await send(`${url}/v1/a?b=c`, { method: 'POST', headers: { 'X-Key': 'k' }, body: '{"é":1}' })
    expect(await response.json()).toEqual({ method: 'POST', path: '/v1/a?b=c', body: '{"é":1}', key: 'k', length: '8' })
    expect([response.status, response.statusText, response.ok]).toEqual([201, 'Made', true])
    expect([response.headers.get('x-ID'), response.headers.get('nothing'), response.headers.has('x-id')]).toEqual([
      '7',
      null,
      true,
    ])
    expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2'])
    expect(Object.fromEntries(response.headers)).toMatchObject({ 'x-id': '7', 'set-cookie': 'a=1, b=2' })
    await expect(response.text()).rejects.toThrow('read before')
  })

  test('sends half of a surrogate pair, with which vendors refuse a request, as U+FFFD', async () => {
    const { url } = await serve(async (request, response) => {
      for await (const chunk of request) response.write(chunk)
      response.end()
    })
    const body = JSON.stringify({ cut: 'a\ud83d', whole: '😀', escaped: '\\ud83d' })
    for (const { fetch } of [transportOf(), transportOf({ fetch: globalThis.fetch })]) {
      const response = await fetch(url, { method: 'POST', body })
      expect(await response.json()).toEqual({ cut: 'a\ufffd', whole: '😀', escaped: '\\ud83d' })
    }
  })

  test('reuses a connection, even after a reading that stopped at an end mark', async () => {
    const usedPorts = new Set<number | undefined>()
    const { url } = await serve((request, response) => {
      usedPorts.add(request.socket.remotePort)
      response.write('mark')
      response.end('rest')
    })
    for (let call = 0; call < 3; call++) {
      await readBody(await send(url), () => true)
      await (await send(url)).text()
    }
    // The rest of an answer may still be on its way when the next request leaves.
    expect(usedPorts.size).toBeLessThanOrEqual(2)
  })

  test.each([301, 302, 307, 308])('returns a redirect of status %i as the response', async (status) => {
    const paths: (string | undefined)[] = []
    const { url } = await serve((request, response) => {
      paths.push(request.url)
      response.writeHead(status, { location: '/elsewhere' }).end()
    })
    expect((await send(`${url}/here`, { method: 'POST', body: '{}' })).status).toBe(status)
    expect(paths).toEqual(['/here'])
  })

  test.each([
    ['gzip', gzipSync],
    ['x-gzip', gzipSync],
    ['deflate', deflateSync],
    ['deflate', deflateRawSync],
    ['br', brotliCompressSync],
    ['GZIP', gzipSync],
    ['br, gzip', (text: string) => gzipSync(brotliCompressSync(text))],
    ['identity', (text: string) => Buffer.from(text)],
  ] as const)('undoes content-encoding %s', async (encoding, encode) => {
    const text = 'é世'.repeat(100_000)
    const { url } = await serve((_, response) => {
      response.writeHead(200, { 'content-encoding': encoding }).end(encode(text))
    })
    expect(await (await send(url)).text()).toBe(text)
  })

  test('passes on chunks of a compressed stream as they arrive', async () => {
    const { createGzip, constants } = await import('node:zlib')
    let end = () => {}
    const { url } = await serve((_, response) => {
      const zip = createGzip({ flush: constants.Z_SYNC_FLUSH })
      response.writeHead(200, { 'content-encoding': 'gzip' })
      zip.pipe(response)
      zip.write('first')
      end = () => zip.end('second')
    })
    const chunks: string[] = []
    await readBody(await send(url), (chunk) => {
      chunks.push(Buffer.from(chunk).toString())
      if (chunks.length === 1) end()
      return false
    })
    expect(chunks).toEqual(['first', 'second'])
  })

  test('rejects a body that does not match its content-encoding', async () => {
    const { url } = await serve((_, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end('plain'))
    await expect((await send(url)).text()).rejects.toMatchObject({ code: 'Z_DATA_ERROR' })
  })

  test('cuts the body of an error, and returns the received part of one that breaks off', async () => {
    const { url } = await serve((request, response) => {
      response.writeHead(401)
      if (request.url === '/long') response.end('x'.repeat(1_000_000))
      else response.write('who are', () => response.destroy())
    })
    expect((await (await send(`${url}/long`)).text()).length).toBeLessThan(200_000)
    expect(await (await send(`${url}/short`)).text()).toBe('who are')
  })

  test('pauses a body without a reader, and delivers all of it to a later reader', async () => {
    const size = 20_000_000
    let sentBytes = 0
    const { url } = await serve((_, response) => {
      const chunk = Buffer.alloc(100_000)
      const write = () => {
        while (sentBytes < size) {
          sentBytes += chunk.length
          if (!response.write(chunk)) {
            response.once('drain', write)
            return
          }
        }
        response.end()
      }
      write()
    })
    const response = await send(url)
    for (let turn = 0; turn < 200; turn++) await new Promise(setImmediate)
    expect(sentBytes).toBeLessThan(size)
    let read = 0
    await readBody(response, (chunk) => {
      read += chunk.length
      return false
    })
    expect(read).toBe(size)
  })

  test('rejects with the network code if a connection is refused, reset or cut', async () => {
    const { url, server } = await serve((request, response) => {
      if (request.url === '/cut') response.writeHead(200, { 'content-length': 100 }).write('part', () => request.socket.destroy())
      else request.socket.destroy()
    })
    await expect(send(`${url}/reset`)).rejects.toMatchObject({ code: 'UND_ERR_SOCKET' })
    await expect((await send(`${url}/cut`)).text()).rejects.toMatchObject({ code: 'UND_ERR_SOCKET' })
    server.closeAllConnections()
    await new Promise((done) => server.close(done))
    await expect(send(url)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})

describe('an abort', () => {
  const reason = new Error('enough')

  test('closes the connection before the headers arrive', async () => {
    const controller = new AbortController()
    let closed: Promise<unknown> | undefined
    const { url } = await serve((request) => {
      closed = once(request.socket, 'close')
      controller.abort(reason)
    })
    await expect(send(url, { signal: controller.signal })).rejects.toBe(reason)
    await closed
  })

  test('closes the connection in the middle of a body', async () => {
    const controller = new AbortController()
    let closed: Promise<unknown> | undefined
    const { url } = await serve((request, response) => {
      closed = once(request.socket, 'close')
      response.write('first')
    })
    const response = await send(url, { signal: controller.signal })
    const reading = readBody(response, () => {
      controller.abort(reason)
      return false
    })
    await expect(reading).rejects.toBe(reason)
    await closed
  })

  test('closes the connection in the middle of a compressed body', async () => {
    const { createGzip, createBrotliCompress, createDeflate } = await import('node:zlib')
    const zips = { gzip: createGzip, br: createBrotliCompress, deflate: createDeflate }
    for (const [encoding, createZip] of Object.entries(zips)) {
      const controller = new AbortController()
      let closed: Promise<unknown> | undefined
      const { url } = await serve((request, response) => {
        closed = once(request.socket, 'close')
        const zip = createZip()
        response.writeHead(200, { 'content-encoding': encoding })
        zip.pipe(response)
        zip.write('first')
        zip.flush()
      })
      const chunks: string[] = []
      const reading = readBody(await send(url, { signal: controller.signal }), (chunk) => {
        chunks.push(Buffer.from(chunk).toString())
        controller.abort(reason)
        return false
      })
      await expect(reading, encoding).rejects.toBe(reason)
      expect(chunks).toEqual(['first'])
      await closed
      expect(getEventListeners(controller.signal, 'abort')).toEqual([])
    }
  })

  test('closes the connection before a compressed body has produced any output', async () => {
    const controller = new AbortController()
    let closed: Promise<unknown> | undefined
    const head = gzipSync('text').subarray(0, 10)
    const { url } = await serve((request, response) => {
      closed = once(request.socket, 'close')
      response.writeHead(200, { 'content-encoding': 'gzip' }).write(head)
    })
    const reading = readBody(await send(url, { signal: controller.signal }), () => false)
    controller.abort(reason)
    await expect(reading).rejects.toBe(reason)
    await closed
  })

  test('closes the connection between the headers and the reading of the body, which then rejects', async () => {
    const controller = new AbortController()
    let closed: Promise<unknown> | undefined
    const { url } = await serve((request, response) => {
      closed = once(request.socket, 'close')
      response.write('first')
    })
    const response = await send(url, { signal: controller.signal })
    controller.abort(reason)
    await closed
    await expect(response.text()).rejects.toBe(reason)
  })

  test('closes the connection of an error whose body does not end', async () => {
    const controller = new AbortController()
    let closed: Promise<unknown> | undefined
    const { url } = await serve((request, response) => {
      closed = once(request.socket, 'close')
      response.writeHead(500).write('{"error":')
    })
    const response = await send(url, { signal: controller.signal })
    const reading = response.text().catch(() => undefined)
    controller.abort(reason)
    await closed
    await reading
    expect(getEventListeners(controller.signal, 'abort')).toEqual([])
  })

  test('closes a connection that does not complete TLS, and rejects at once', async () => {
    const { createServer: createTcpServer } = await import('node:net')
    const controller = new AbortController()
    const silent = createTcpServer()
    const port = await listenOnLoopback(silent)
    const connected = once(silent, 'connection')
    const sending = send(`https://127.0.0.1:${port}/`, { signal: controller.signal })
    const [socket] = await connected
    socket.on('error', () => undefined)
    controller.abort(reason)
    await expect(sending).rejects.toBe(reason)
    expect(getEventListeners(controller.signal, 'abort')).toEqual([])
    socket.destroy()
    silent.close()
  })

  test('rejects at once before anything is sent and while the connection is opened', async () => {
    let requests = 0
    const { url } = await serve((_, response) => {
      requests++
      response.end()
    })
    await expect(send(url, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const controller = new AbortController()
    const sending = send(url, { signal: controller.signal })
    controller.abort(reason)
    await expect(sending).rejects.toBe(reason)
    await (await send(`${url}/after`)).text()
    expect(requests).toBe(1)
  })

  test('leaves no listener after any end of the request', async () => {
    const { signal } = new AbortController()
    const { url } = await serve((request, response) => {
      if (request.url === '/reset') request.socket.destroy()
      else response.end('text')
    })
    await (await send(url, { signal })).text()
    await readBody(await send(url, { signal }), () => true)
    await send(`${url}/reset`, { signal }).catch(() => undefined)
    await expect(
      readBody(await send(url, { signal }), () => {
        throw reason
      }),
    ).rejects.toBe(reason)
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })
})

describe('the proxy of an account', () => {
  /** A proxy that notes what it is asked for; requests without TLS are answered by it, tunnels lead to `target`. */
  async function serveProxy(target?: Server) {
    const asked: string[] = []
    const credentials: (string | undefined)[] = []
    const { server, url } = await serve((request, response) => {
      asked.push(`${request.method} ${request.url}`)
      credentials.push(request.headers['proxy-authorization'])
      response.end('by the proxy')
    })
    server.on('connect', (request, socket) => {
      asked.push(`CONNECT ${request.url}`)
      if (!target) {
        socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n')
        return
      }
      const tunnel = connect(portOf(target), '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n')
        tunnel.pipe(socket).pipe(tunnel)
      })
    })
    return { asked, credentials, url }
  }

  test('gets requests without TLS with the whole address and its own credentials', async () => {
    const { asked, credentials, url } = await serveProxy()
    const { fetch: over } = transportOf({ proxy: url.replace('//', '//ada:s%3Acret@') })
    const response = await over('http://models.invalid/v1/a?b=c', { method: 'POST', body: '{}', headers: { 'x-key': 'k' } })
    expect(await response.text()).toBe('by the proxy')
    expect(asked).toEqual(['POST http://models.invalid/v1/a?b=c'])
    expect(credentials).toEqual([`Basic ${Buffer.from('ada:s:cret').toString('base64')}`])
  })

  test('is used as a tunnel for TLS, and is named without its password if it opens none', async () => {
    const { asked, url } = await serveProxy()
    const { fetch: over } = transportOf({ proxy: url.replace('//', '//ada:topsecret@') })
    const error = await over('https://models.invalid/v1').catch((failure: unknown) => failure)
    expect(asked).toEqual(['CONNECT models.invalid:443'])
    expect(error).toMatchObject({ proxy: url, message: expect.stringContaining(url) })
    expect(String(error)).not.toContain('topsecret')
  })

  test('comes from the environment in lower or upper case, with all_proxy last', async () => {
    const { asked, url } = await serveProxy()
    const used = async (environment: NodeJS.ProcessEnv, address: string) => {
      asked.length = 0
      await transportOf({}, environment)
        .fetch(address)
        .catch(() => undefined)
      return asked.length > 0
    }
    const dead = 'http://127.0.0.1:1'
    for (const name of ['http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY']) {
      expect([name, await used({ [name]: url }, 'http://models.invalid/')]).toEqual([name, true])
    }
    for (const name of ['https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY']) {
      expect([name, await used({ [name]: url }, 'https://models.invalid/')]).toEqual([name, true])
    }
    expect(await used({ http_proxy: url, HTTP_PROXY: dead, all_proxy: dead }, 'http://models.invalid/')).toBe(true)
    expect(await used({ https_proxy: url }, 'http://models.invalid/')).toBe(false)
    expect(await used({ http_proxy: new URL(url).host }, 'http://models.invalid/')).toBe(true)
    expect(await used({ http_proxy: ' ' }, 'http://models.invalid/')).toBe(false)
  })

  test.each(['*', 'models.invalid', '.invalid', 'other, models.invalid:80', 'INVALID'])(
    'is not used for hosts matched by no_proxy "%s"',
    async (exempt) => {
      const { asked, url } = await serveProxy()
      for (const name of ['no_proxy', 'NO_PROXY']) {
        await expect(transportOf({}, { http_proxy: url, [name]: exempt }).fetch('http://models.invalid/')).rejects.toThrow()
      }
      expect(asked).toEqual([])
    },
  )

  test.each(['dels.invalid', 'models.invalid:443', 'models.invalid.example', '10.0.0.0/8', ''])(
    'is used for hosts not matched by no_proxy "%s"',
    async (exempt) => {
      const { asked, url } = await serveProxy()
      await transportOf({}, { http_proxy: url, no_proxy: exempt }).fetch('http://models.invalid/')
      expect(asked).toEqual(['GET http://models.invalid/'])
    },
  )

  test('is not used for networks in no_proxy', async () => {
    const { findEnvironmentProxy } = await import('../../src/providers/transport/proxy.ts')
    const proxyFor = (url: string, no_proxy: string) => findEnvironmentProxy(new URL(url), { http_proxy: 'http://p:1', no_proxy })
    expect(proxyFor('http://10.1.2.3/', '10.0.0.0/8')).toBeUndefined()
    expect(proxyFor('http://[fd00::7]/', 'fd00::/8')).toBeUndefined()
    expect(proxyFor('http://11.1.2.3/', '10.0.0.0/8')).toMatchObject({ host: 'p:1' })
  })

  test('of the environment is never used for loopback addresses, unlike one of the account', async () => {
    const { asked, url } = await serveProxy()
    const { url: vendor } = await serve((_, response) => response.end('by the vendor'))
    expect(await (await transportOf({}, { http_proxy: url }).fetch(vendor)).text()).toBe('by the vendor')
    expect(await (await transportOf({ proxy: url }).fetch(vendor)).text()).toBe('by the proxy')
    expect(asked).toEqual([`GET ${vendor}/`])
  })

  test('is rejected with the name of its variable and without its value if it is not an address of a proxy', async () => {
    const { fetch: over } = transportOf({}, { https_proxy: 'socks5://ada:topsecret@p:1' })
    const error = await Promise.resolve()
      .then(() => over('https://models.invalid/'))
      .catch((failure: unknown) => failure)
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('https_proxy') })
    expect(String(error)).not.toContain('topsecret')
  })
})

describe('headers of a function', () => {
  test('are computed before every request and sent with the others', async () => {
    const seen: unknown[] = []
    const { url } = await serve((request, response) => {
      seen.push([request.headers.authorization, request.headers['x-fixed']])
      response.end()
    })
    let calls = 0
    const { fetch: over, secrets } = transportOf({ headers: async () => ({ Authorization: `Bearer token-${++calls}\n` }) })
    for (let call = 0; call < 2; call++) await (await over(url, { headers: { 'x-fixed': 'f', authorization: 'old' } })).text()
    expect(seen).toEqual([
      ['Bearer token-1', 'f'],
      ['Bearer token-2', 'f'],
    ])
    expect(secrets).toEqual(['Bearer token-1', 'Bearer token-2'])
  })

  test.each([
    ['throws', () => Promise.reject(new TypeError('token s3cret-value expired')), 'PROVIDER_UNAVAILABLE'],
    ['returns a value with a line break', () => ({ 'x-key': 's3cret-value\nb' }), 'CONFIG_INVALID'],
    ['returns a name that is none', () => ({ 'x key': 's3cret-value' }), 'CONFIG_INVALID'],
  ] as const)('are an error of their own where the function %s, which shows no value', async (_, headers, code) => {
    const { fetch: over } = transportOf({ headers })
    const error = await over('http://127.0.0.1:1/').catch((failure: unknown) => failure)
    expect(error).toMatchObject({ code, message: expect.stringContaining('providers.desk.headers') })
    expect(JSON.stringify(error) + String(error)).not.toContain('s3cret')
  })
})

test("an account's own fetch gets the request with redirects disabled and a native signal", async () => {
  const calls: unknown[] = []
  const { fetch: over } = transportOf({
    fetch: async (input, init) => {
      calls.push([String(input), init?.redirect, init?.body, init?.signal instanceof AbortSignal])
      return new Response('x'.repeat(1_000_000), { status: 500 })
    },
  })
  const { signal } = new AbortController()
  const response = await over('http://models.invalid/', { method: 'POST', body: '{}', signal })
  expect(calls).toEqual([['http://models.invalid/', 'manual', '{}', true]])
  expect((await response.text()).length).toBeLessThan(200_000)
})

test("headers that an account's own fetch adds to one request are not part of the next", async () => {
  const seen: string[] = []
  const { fetch: own } = transportOf({
    fetch: async (_, init) => {
      const { headers } = init ?? {}
      if (!(headers instanceof Headers)) throw new Error('expected headers')
      headers.append('x-signature', 'one')
      seen.push(headers.get('x-signature') ?? '')
      return new Response('{}')
    },
  })
  const headers = new Headers({ accept: 'application/json' })
  await own('http://models.invalid/', { headers })
  await own('http://models.invalid/', { headers })
  expect(seen).toEqual(['one', 'one'])
})

import { expect, test } from 'vitest'
import { createOriginCheck } from '../../../src/server/access/origin-check.ts'
import { type RunningServer, runServer } from '../running-server.ts'
import { openTcp, type RawAnswer, readAnswer, sendRaw } from './raw-request.ts'

const BODY_NEVER_SENT = 100_000
const KEYED = [false, true] as const

interface Place {
  readonly url: string
  readonly port: string
  /** Headers that prove who calls, as an attacker's page would hope to have them added. */
  readonly proof: string
}

/** A server whose every request would be answered, were it not for where it comes from. */
async function open(keyed: boolean, server: Parameters<typeof runServer>[0] = {}): Promise<Place & { server: RunningServer }> {
  const running = await runServer(server, { isKeyed: keyed })
  const proof = keyed ? `Authorization: Bearer ${await running.keyOf('ada')}\r\n` : ''
  return { url: running.url, port: new URL(running.url).port, proof, server: running }
}

interface Surface {
  readonly name: string
  readonly line: string
  readonly rest: string
}

const UPGRADE =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: polyphony.v1\r\n'
const body = (type: string) => `Content-Type: ${type}\r\nContent-Length: ${BODY_NEVER_SENT}\r\n`

/** Every way in. The bodies are announced and never sent: who answers has not waited for them. */
const surfaces: readonly Surface[] = [
  { name: 'reading', line: 'GET /api/v1/me', rest: '' },
  { name: 'creating', line: 'POST /api/v1/threads', rest: body('application/json') },
  { name: 'a form', line: 'POST /api/v1/threads', rest: body('application/x-www-form-urlencoded') },
  { name: 'plain text', line: 'POST /api/v1/threads', rest: body('text/plain') },
  { name: 'multipart', line: 'POST /api/v1/threads', rest: body('multipart/form-data; boundary=x') },
  { name: 'a body without a type', line: 'POST /api/v1/threads', rest: `Content-Length: ${BODY_NEVER_SENT}\r\n` },
  { name: 'a body in chunks', line: 'POST /api/v1/threads', rest: 'Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n' },
  { name: 'no body', line: 'POST /api/v1/threads', rest: 'Content-Length: 0\r\n' },
  { name: 'server-sent events', line: 'GET /api/v1/flows/any/updates', rest: 'Accept: text/event-stream\r\n' },
  { name: 'a ticket', line: 'POST /api/v1/tickets', rest: 'Content-Length: 0\r\n' },
  { name: 'the description', line: 'GET /openapi.json', rest: '' },
  { name: 'the pages', line: 'GET /docs/', rest: '' },
  { name: 'nothing there', line: 'GET /wp-login.php', rest: '' },
  { name: 'a WebSocket', line: 'GET /ws', rest: UPGRADE },
  { name: 'a preflight', line: 'OPTIONS /api/v1/threads', rest: 'Access-Control-Request-Method: POST\r\n' },
]

const ask = (place: Place, { line, rest }: Surface, headers: string, target = line): Promise<RawAnswer> =>
  sendRaw(place.url, `${target} HTTP/1.1\r\n${headers}${place.proof}${rest}\r\n`)

const codeOf = ({ body: text }: RawAnswer): unknown => (text.startsWith('{') ? JSON.parse(text).code : undefined)

/** What stands in Origin when a page of somebody else calls. */
const foreignOrigins = (port: string): readonly string[] => [
  'null',
  '',
  '*',
  'https://evil.example',
  `http://evil.example:${port}`,
  `http://127.0.0.1.evil.example:${port}`,
  `http://localhost.evil.example:${port}`,
  `http://evil-127.0.0.1:${port}`,
  `http://user@127.0.0.1:${port}`,
  `http://user:secret@127.0.0.1:${port}`,
  `http://127.0.0.1:${port}@evil.example`,
  `http://127.0.0.1:${Number(port) + 1}`,
  'http://127.0.0.1',
  'http://127.0.0.1:80',
  `https://127.0.0.1:${port}`,
  `ws://127.0.0.1:${port}`,
  `http://127.0.0.1.:${port}`,
  `http://127.1:${port}`,
  `http://2130706433:${port}`,
  `http://localhost:${port}`,
  `http://[::1]:${port}`,
  `http://127.0.0.1:${port}/`,
  `http://127.0.0.1:${port}/docs`,
  `http://127.0.0.1:${port}?x`,
  `http://127.0.0.1:${port}#x`,
  `http:\\\\127.0.0.1:${port}`,
  `http:127.0.0.1:${port}`,
  `//127.0.0.1:${port}`,
  `127.0.0.1:${port}`,
  `http://127.0.0.1:${port}, https://evil.example`,
  `https://evil.example, http://127.0.0.1:${port}`,
  'http://xn--lcalhost-n2a.example',
  `http://löcalhost:${port}`,
  `http://１２７.0.0.1:${port}`,
  'file://',
  'file:///etc/passwd',
  'data:',
  'about:blank',
  'blob:null/1234',
  'chrome-extension://abcdefghijklmnop',
  'moz-extension://1234',
  'capacitor://localhost',
]

test.each(KEYED)('every endpoint refuses pages of other origins, with a key: %s', async (keyed) => {
  const place = await open(keyed)
  const through: string[] = []
  for (const origin of foreignOrigins(place.port)) {
    const answers = await Promise.all(
      surfaces.map((surface) => ask(place, surface, `Host: 127.0.0.1:${place.port}\r\nOrigin: ${origin}\r\n`)),
    )
    answers.forEach((answer, index) => {
      if (answer.status === 403 && codeOf(answer) === 'ORIGIN_REFUSED') return
      through.push(`${surfaces[index]?.name} from "${origin}": ${answer.status}`)
    })
  }
  expect(through).toEqual([])
})

test.each(KEYED)('a second Origin header does not hide the first, with a key: %s', async (keyed) => {
  const place = await open(keyed)
  const own = `Origin: http://127.0.0.1:${place.port}\r\n`
  const other = 'Origin: https://evil.example\r\n'
  for (const origins of [own + other, other + own]) {
    for (const surface of surfaces) {
      const answer = await ask(place, surface, `Host: 127.0.0.1:${place.port}\r\n${origins}`)
      expect([surface.name, answer.status]).toEqual([surface.name, 403])
    }
  }
})

test.each(KEYED)('Sec-Fetch-Site counts if there is no Origin header, with a key: %s', async (keyed) => {
  const place = await open(keyed)
  for (const site of ['cross-site', 'same-site', 'Cross-Site', 'same-origin, cross-site', 'made-up', '']) {
    for (const surface of surfaces) {
      const answer = await ask(place, surface, `Host: 127.0.0.1:${place.port}\r\nSec-Fetch-Site: ${site}\r\n`)
      expect([surface.name, site, answer.status, codeOf(answer)]).toEqual([surface.name, site, 403, 'ORIGIN_REFUSED'])
    }
  }
  for (const site of ['same-origin', 'none']) {
    const answer = await ask(
      place,
      { name: '', line: 'GET /api/v1/me', rest: '' },
      `Host: 127.0.0.1:${place.port}\r\nSec-Fetch-Site: ${site}\r\n`,
    )
    expect(answer.status).toBe(200)
  }
})

/** What stands in Host when a name that somebody else owns points here. */
const foreignHosts = (port: string): readonly string[] => [
  'evil.example',
  `evil.example:${port}`,
  `127.0.0.1.evil.example:${port}`,
  `localhost.evil.example:${port}`,
  `evil.localhost:${port}`,
  `localhost.:${port}`,
  `127.0.0.1.nip.io:${port}`,
  `user@127.0.0.1:${port}`,
  `127.0.0.1:${port}@evil.example`,
  `127.0.0.1:${port}/evil.example`,
  `127.0.0.1:${port}\\evil.example`,
  `127.0.0.1:${port}#evil.example`,
  `127.0.0.1:${port}?evil.example`,
  `127.0.0.1:${port}, evil.example`,
  `127.0.0.1 evil.example`,
  `127.0.0.1:99999999`,
  `127.0.0.1:evil`,
  `[::ffff:7f00:1]:${port}`,
  `[fe80::1]:${port}`,
  '::1',
  '[::1',
  '[::1]evil.example',
  `0.0.0.0:${port}`,
  `[::]:${port}`,
  '169.254.169.254',
  `１２７.0.0.1:${port}`,
  `%6c%6f%63alhost:${port}`,
  ':',
  '.',
  '',
]

test.each(KEYED)('every endpoint refuses a foreign Host header, with a key: %s', async (keyed) => {
  const place = await open(keyed)
  const through: string[] = []
  for (const host of foreignHosts(place.port)) {
    const answers = await Promise.all(
      surfaces.flatMap((surface) => [
        ask(place, surface, `Host: ${host}\r\n`),
        ask(place, surface, `Host: ${host}\r\nOrigin: http://${host}\r\n`),
        ask(
          place,
          surface,
          `Host: ${host}\r\nX-Forwarded-Host: 127.0.0.1:${place.port}\r\nForwarded: host="127.0.0.1:${place.port}"\r\n`,
        ),
      ]),
    )
    answers.forEach((answer, index) => {
      if (answer.status === 421 && codeOf(answer) === 'HOST_REFUSED') return
      through.push(`${surfaces[Math.floor(index / 3)]?.name} at "${host}": ${answer.status}`)
    })
  }
  expect(through).toEqual([])
})

test('a foreign Host header is refused even behind a trusted proxy', async () => {
  const place = await open(true, { server: { trustProxy: true } })
  for (const surface of surfaces) {
    const forwarded = `X-Forwarded-Host: 127.0.0.1:${place.port}\r\nX-Forwarded-For: 127.0.0.1\r\n`
    expect((await ask(place, surface, `Host: evil.example\r\n${forwarded}`)).status).toBe(421)
  }
})

test('two Host headers, no Host header, and one that contradicts the request target are refused', async () => {
  const place = await open(false)
  const own = `Host: 127.0.0.1:${place.port}\r\n`
  const foreign = 'Host: evil.example\r\n'
  for (const surface of surfaces) {
    for (const hosts of [own + foreign, foreign + own, own + own]) {
      expect([surface.name, (await ask(place, surface, hosts)).status]).toEqual([surface.name, 421])
    }
    expect([400, 421]).toContain((await ask(place, surface, '')).status)
    const [method = '', path = ''] = surface.line.split(' ')
    expect([400, 421]).toContain((await sendRaw(place.url, `${surface.line} HTTP/1.0\r\n\r\n`)).status)
    for (const address of [
      'http://evil.example',
      'https://evil.example',
      'HTTP://evil.example',
      `http://evil.example@127.0.0.1:${place.port}`,
      '//evil.example',
    ]) {
      const answer = await ask(place, surface, own, `${method} ${address}${path}`)
      expect([surface.name, address, [400, 404, 421].includes(answer.status)]).toEqual([surface.name, address, true])
    }
    expect((await ask(place, surface, foreign, `${method} http://127.0.0.1:${place.port}${path}`)).status).toBe(421)
  }
})

test('a request target with a foreign host is refused before its route is searched', async () => {
  const place = await open(false)
  const own = `Host: 127.0.0.1:${place.port}\r\n`
  const answer = await sendRaw(place.url, `GET http://evil.example/api/v1/me HTTP/1.1\r\n${own}\r\n`)
  expect([answer.status, codeOf(answer)]).toEqual([421, 'HOST_REFUSED'])
  expect((await sendRaw(place.url, `GET http://127.0.0.1:${place.port}/api/v1/me HTTP/1.1\r\n${own}\r\n`)).status).toBe(200)
})

test('loopback names are accepted in every spelling', async () => {
  const place = await open(false)
  for (const host of ['127.0.0.1', 'localhost', 'LOCALHOST', '[::1]', '[0:0:0:0:0:0:0:1]']) {
    for (const port of [`:${place.port}`, '']) {
      const answer = await sendRaw(place.url, `GET /api/v1/me HTTP/1.1\r\nHost: ${host}${port}\r\n\r\n`)
      expect([host, answer.status]).toEqual([host, 200])
    }
  }
})

test('a page of the server itself may call it under any of its names', async () => {
  const place = await open(false)
  for (const host of ['127.0.0.1', 'localhost', '[::1]']) {
    const own = `Host: ${host}:${place.port}\r\nOrigin: http://${host}:${place.port}\r\nSec-Fetch-Site: same-origin\r\n`
    const answer = await sendRaw(place.url, `GET /api/v1/me HTTP/1.1\r\n${own}\r\n`)
    expect([host, answer.status]).toEqual([host, 200])
    const { json } = await place.server.send('POST', '/api/v1/tickets')
    const protocols = Array.isArray(json.protocols) ? json.protocols.join(', ') : ''
    const opened = await sendRaw(
      place.url,
      `GET /ws HTTP/1.1\r\n${own}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ${protocols}\r\n\r\n`,
    )
    expect([host, opened.status]).toEqual([host, 101])
  }
})

const PAGE = 'https://app.example.com'
const PUBLIC = 'https://flows.example.com'
const nearly = [
  'http://app.example.com',
  'https://app.example.com:8443',
  'https://app.example.com.',
  'https://app.example.com.evil.example',
  'https://evilapp.example.com',
  'https://sub.app.example.com',
  'https://example.com',
  'https://user@app.example.com',
  'https://app.example.com/',
  'http://flows.example.com',
  'https://flows.example.com:8443',
  'https://sub.flows.example.com',
  'null',
]

test('configured origins are accepted, and similar ones are refused', async () => {
  const place = await open(true, { server: { corsOrigins: [PAGE], publicUrl: `${PUBLIC}/somewhere` } })
  const local = `Host: 127.0.0.1:${new URL(localUrl(place.server)).port}\r\n`
  const at = { ...place, url: localUrl(place.server) }
  const me = { name: '', line: 'GET /api/v1/me', rest: '' }
  for (const host of [local, 'Host: flows.example.com\r\n', 'Host: FLOWS.example.com:443\r\n']) {
    for (const origin of [PAGE, PUBLIC]) {
      const answer = await ask(at, me, `${host}Origin: ${origin}\r\nSec-Fetch-Site: cross-site\r\n`)
      expect([host, origin, answer.status]).toEqual([host, origin, 200])
      expect(answer.head).toMatch(new RegExp(`^access-control-allow-origin: ${origin}$`, 'im'))
      expect(answer.head).toMatch(/^vary: .*origin/im)
    }
    for (const origin of nearly) {
      for (const surface of surfaces) {
        const answer = await ask(at, surface, `${host}Origin: ${origin}\r\n`)
        expect([surface.name, host, origin, answer.status]).toEqual([surface.name, host, origin, 403])
        expect(answer.head).not.toMatch(/^access-control-allow-origin/im)
      }
    }
  }
})

const localUrl = ({ server }: RunningServer): string => {
  const address = server.app.server.address()
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
}

test('a preflight is granted only to configured origins, for the headers that clients send', async () => {
  const place = await open(true, { server: { corsOrigins: [PAGE] } })
  const preflight = (origin: string) =>
    sendRaw(
      place.url,
      `OPTIONS /api/v1/flows/f/execute HTTP/1.1\r\nHost: 127.0.0.1:${place.port}\r\nOrigin: ${origin}\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization, content-type, idempotency-key, last-event-id, traceparent, x-request-id\r\n\r\n`,
    )
  const granted = await preflight(PAGE)
  expect(granted.status).toBe(204)
  expect(granted.head).toMatch(/^access-control-allow-origin: https:\/\/app\.example\.com$/im)
  expect(granted.head).toMatch(/^access-control-allow-methods: .*POST/im)
  for (const name of ['authorization', 'content-type', 'idempotency-key', 'last-event-id', 'traceparent', 'x-request-id']) {
    expect(granted.head).toMatch(new RegExp(`^access-control-allow-headers: .*${name}`, 'im'))
  }
  // Keys travel in headers: nothing that a browser adds by itself ever counts.
  expect(granted.head).not.toMatch(/^access-control-allow-credentials/im)
  for (const origin of nearly) {
    const refused = await preflight(origin)
    expect([origin, refused.status]).toEqual([origin, 403])
    expect(refused.head).not.toMatch(/^access-control-allow/im)
  }
})

test('a body that a page can send without a preflight is never parsed as JSON', async () => {
  const place = await open(false)
  const types = [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/plain; application/json',
    'application/jsonp',
  ]
  for (const type of types) {
    const text = '{"title":"forged"}'
    const answer = await sendRaw(
      place.url,
      `POST /api/v1/threads HTTP/1.1\r\nHost: 127.0.0.1:${place.port}\r\nContent-Type: ${type}\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
    )
    expect([type, answer.status, codeOf(answer)]).toEqual([type, 415, 'MEDIA_TYPE_UNSUPPORTED'])
  }
  const { json } = await place.server.send('GET', '/api/v1/threads')
  expect(json.items).toEqual([])
})

test('a server on an IPv6 address accepts it as its own host', () => {
  const settings = { host: 'fd00::12', allowedHosts: ['fd00::13'], corsOrigins: [] }
  const { assertAllowed } = createOriginCheck(settings)
  for (const host of ['[fd00::12]:4100', '[FD00:0::12]', '[fd00::13]']) {
    expect(() => assertAllowed({ headers: { host }, rawHeaders: ['Host', host], url: '/' })).not.toThrow()
  }
  expect(() => assertAllowed({ headers: { host: '[fd00::14]' }, rawHeaders: ['Host', '[fd00::14]'], url: '/' })).toThrow(/Host/)
})

test('a refused upgrade leaves no connection behind', async () => {
  const { url, port } = await open(false)
  const socket = await openTcp(url)
  const answer = readAnswer(socket)
  socket.write(`GET /ws HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nOrigin: https://evil.example\r\n${UPGRADE}\r\n`)
  expect((await answer).status).toBe(403)
  await new Promise((resolve) => socket.once('close', resolve))
})

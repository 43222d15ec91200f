import { connect } from 'node:net'
import fc from 'fast-check'
import type { SeenAnswer } from './answers.ts'
import type { ValidRequest } from './valid-requests.ts'

export interface RawPlace {
  readonly host: string
  readonly key: string
}

/** A request as text, to be spoilt byte by byte. */
function toText({ method, path, query, body }: ValidRequest, { host, key }: RawPlace): string {
  const search = new URLSearchParams(query).toString()
  const bytes = body === undefined ? undefined : JSON.stringify(body)
  return [
    `${method} ${path}${search === '' ? '' : `?${search}`} HTTP/1.1`,
    `Host: ${host}`,
    `Authorization: Bearer ${key}`,
    'Accept: application/json, text/event-stream',
    ...(bytes === undefined ? [] : ['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(bytes)}`]),
    '',
    bytes ?? '',
  ].join('\r\n')
}

/** What no client sends, whole. */
function crafted({ host, key }: RawPlace): readonly (string | Buffer)[] {
  const head = (line: string, ...headers: readonly string[]) =>
    [line, `Host: ${host}`, `Authorization: Bearer ${key}`, ...headers, '', ''].join('\r\n')
  const post = (...headers: readonly string[]) =>
    head('POST /api/v1/threads HTTP/1.1', 'Content-Type: application/json', ...headers)
  const get = (...headers: readonly string[]) => head('GET /api/v1/me HTTP/1.1', ...headers)
  const me = get()
  return [
    '',
    '\r\n\r\n\r\n',
    '\0\0\0\0',
    'GET\r\n\r\n',
    'GET /\r\n\r\n',
    'GET / HTTP/0.9\r\n\r\n',
    'GET /api/v1/me HTTP/1.0\r\n\r\n',
    `GET /api/v1/me HTTP/1.0\r\nHost: ${host}\r\nAuthorization: Bearer ${key}\r\n\r\n`,
    'GET /api/v1/me HTTP/1.1\r\n\r\n',
    head('GET /api/v1/me HTTP/1.2'),
    head('GET /api/v1/me HTTP/2.0'),
    head('GET /api/v1/me HTTP/9.9'),
    head('GET /api/v1/me http/1.1'),
    head('GET /api/v1/me ICAP/1.0'),
    head('get /api/v1/me HTTP/1.1'),
    head('FOO /api/v1/me HTTP/1.1'),
    head('GET api/v1/me HTTP/1.1'),
    head('GET  /api/v1/me HTTP/1.1'),
    head('GET /api/v1/me  HTTP/1.1'),
    head('GET /api/v1/me\tHTTP/1.1'),
    head('GET /api/v1/m\x00e HTTP/1.1'),
    head('GET /api/v1/m\x7fe HTTP/1.1'),
    head('GET /api/v1/mé HTTP/1.1'),
    Buffer.from(head('GET /api/v1/\xff\xfe HTTP/1.1'), 'latin1'),
    head('GET * HTTP/1.1'),
    head('OPTIONS * HTTP/1.1'),
    head(`GET http://${host}/api/v1/me HTTP/1.1`),
    head('GET http://evil.example/api/v1/me HTTP/1.1'),
    head('GET http://[::1 HTTP/1.1'),
    head('GET //api/v1/me HTTP/1.1'),
    head('GET /../../etc/passwd HTTP/1.1'),
    head('GET /docs/static/../../../../etc/passwd HTTP/1.1'),
    head('GET /docs/static/%2e%2e/%2e%2e/package.json HTTP/1.1'),
    head('GET /docs/static/..%5c..%5cpackage.json HTTP/1.1'),
    head('GET /docs/static/%00 HTTP/1.1'),
    head('GET /docs/static/index.html%00.css HTTP/1.1'),
    head('CONNECT evil.example:443 HTTP/1.1'),
    head('TRACE / HTTP/1.1'),
    head('PRI * HTTP/2.0', '', 'SM'),
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    Buffer.from('16030100d8010000d403037d', 'hex'),
    head(`GET /${'a'.repeat(20_000)} HTTP/1.1`),
    get(`X-Big: ${'a'.repeat(20_000)}`),
    get(...Array.from({ length: 300 }, (_, index) => `X-${index}: a`)),
    get(...Array.from({ length: 2_000 }, (_, index) => `X-${index}: a`)),
    get('No colon'),
    get(': no name'),
    get('Space : before'),
    get('Bad\x01Name: x'),
    get('X: a\x00b'),
    get('X: a\x01b'),
    get('X: folded', ' value'),
    get('X: a\rX-Injected: b'),
    get('X: a\nX-Injected: b'),
    get('Host: evil.example'),
    get('Authorization: Bearer nonsense'),
    get('Connection: close, keep-alive, x'),
    get('Connection: Upgrade', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAAP__'),
    get('Connection: Upgrade', 'Upgrade: websocket'),
    get('Connection: Upgrade', 'Upgrade: x'),
    get('Connection: Upgrade', 'Upgrade: h2c', 'Upgrade: h2c'),
    get('Connection: Upgrade', 'Upgrade: websocket, h2c'),
    `${post('Connection: Upgrade', 'Upgrade: h2c', 'Content-Length: 2')}{}${me}`,
    `${post('Connection: Upgrade', 'Upgrade: h2c', 'Transfer-Encoding: chunked')}2\r\n{}\r\n0\r\n\r\n`,
    ...[
      [],
      ['Sec-WebSocket-Version: 13'],
      ['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: x'],
      ['Sec-WebSocket-Version: 7', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='],
      ['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Protocol: ,,'],
      ['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Extensions: ;;'],
    ].map((headers) => head('GET /ws HTTP/1.1', 'Connection: Upgrade', 'Upgrade: websocket', ...headers)),
    head('POST /ws HTTP/1.1', 'Connection: Upgrade', 'Upgrade: websocket', 'Content-Length: 2'),
    get('Content-Length: 5'),
    post('Content-Length: -1'),
    post('Content-Length: 1e3'),
    post('Content-Length: 0x10'),
    post('Content-Length: 99999999999999999999999'),
    post('Content-Length: 9007199254740993'),
    post('Content-Length: 5, 5'),
    `${post('Content-Length: 2', 'Content-Length: 3')}{}`,
    `${post('Content-Length: 2', 'Content-Length: 2')}{}`,
    `${post('Content-Length: 20')}{}`,
    `${post('Content-Length: 1')}{}`,
    `${post('Content-Length: 2', 'Transfer-Encoding: chunked')}{}`,
    `${post('Transfer-Encoding: chunked', 'Content-Length: 2')}2\r\n{}\r\n0\r\n\r\n`,
    `${post('Transfer-Encoding: chunked')}2\r\n{}\r\n0\r\n\r\n`,
    `${post('Transfer-Encoding: chunked')}zz\r\n{}\r\n0\r\n\r\n`,
    `${post('Transfer-Encoding: chunked')}-2\r\n{}\r\n0\r\n\r\n`,
    `${post('Transfer-Encoding: chunked')}ffffffffffffffffff\r\n{}\r\n`,
    `${post('Transfer-Encoding: chunked')}5\r\n{}\r\n0\r\n\r\n`,
    `${post('Transfer-Encoding: chunked')}2\r\n{}0\r\n\r\n`,
    `${post('Transfer-Encoding: chunked')}2;${'x'.repeat(30_000)}\r\n{}\r\n0\r\n\r\n`,
    `${post('Transfer-Encoding: chunked')}2\r\n{}\r\n0\r\nX-Trailer: ${'x'.repeat(30_000)}\r\n\r\n`,
    `${post('Transfer-Encoding: chunked')}2\r\n{}\r\n0\r\nAuthorization: Bearer x\r\n\r\n`,
    `${post('Transfer-Encoding: chunked, identity')}2\r\n{}\r\n0\r\n\r\n`,
    `${post('Transfer-Encoding: identity')}{}`,
    `${post('Transfer-Encoding: gzip')}{}`,
    `${post('Transfer-Encoding: xchunked')}2\r\n{}\r\n0\r\n\r\n`,
    `${post('Transfer-Encoding:\x0bchunked')}2\r\n{}\r\n0\r\n\r\n`,
    `${post('Expect: 100-continue', 'Content-Length: 2')}{}`,
    `${post('Expect: something', 'Content-Length: 2')}{}`,
    post('Expect: 100-continue', 'Content-Length: 99999999'),
    `${post('Content-Encoding: gzip', 'Content-Length: 2')}{}`,
    me.repeat(20),
    `${me}garbage\r\n\r\n`,
    `${me + post('Content-Length: 2')}{}${me}\0`,
    `${post('Content-Length: 2')}{}${post('Content-Length: 3')}{}${me}`,
    head('GET /api/v1/me HTTP/1.1').replaceAll('\r\n', '\n'),
    head('GET /api/v1/me HTTP/1.1').replaceAll('\r\n', '\r'),
    `\r\n\r\n${me}`,
    ` ${me}`,
    me.slice(0, -2),
    me.slice(0, 20),
    Buffer.alloc(100_000, 0x41),
    Buffer.alloc(100_000, 0xff),
    `GET /api/v1/me HTTP/1.1\r\nHost: ${'a'.repeat(300)}\r\n\r\n`,
    'GET /api/v1/me HTTP/1.1\r\nHost: a b\r\n\r\n',
    'GET /api/v1/me HTTP/1.1\r\nHost: \r\n\r\n',
    'GET /api/v1/me HTTP/1.1\r\nHost: [::1\r\n\r\n',
    'GET /api/v1/me HTTP/1.1\r\nHost: user@127.0.0.1\r\n\r\n',
  ]
}

const PIECES = [
  '\r\n',
  '\n',
  '\r',
  '\0',
  '\t',
  ' ',
  ':',
  '\x7f',
  '\xff',
  '%',
  'HTTP/1.1',
  'Content-Length: 7\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Expect: x\r\n',
  '{',
  '"',
  '\x00\x01\x02',
]

/** Bytes that are nearly a request. */
export function spoiltBytes(valid: readonly ValidRequest[], place: RawPlace): fc.Arbitrary<Buffer> {
  // Answers to HEAD cannot be told from others in a row of answers.
  const texts = valid.filter(({ method }) => method !== 'HEAD').map((request) => toText(request, place))
  const change = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    kind: fc.constantFrom('flip', 'cut', 'insert', 'repeat', 'truncate'),
    length: fc.integer({ min: 1, max: 40 }),
    byte: fc.nat(255),
    piece: fc.constantFrom(...PIECES),
  })
  const spoil = (
    bytes: Buffer,
    { at, kind, length, byte, piece }: { at: number; kind: string; length: number; byte: number; piece: string },
  ): Buffer => {
    const from = Math.floor(at * bytes.length)
    const [before, after] = [bytes.subarray(0, from), bytes.subarray(from)]
    if (kind === 'flip') return Buffer.concat([before, Buffer.from([byte]), after.subarray(1)])
    if (kind === 'cut') return Buffer.concat([before, after.subarray(length)])
    if (kind === 'insert') return Buffer.concat([before, Buffer.from(piece, 'latin1'), after])
    if (kind === 'repeat') return Buffer.concat([before, after.subarray(0, length), after])
    return before
  }
  return fc.oneof(
    { weight: 1, arbitrary: fc.constantFrom(...crafted(place)).map((bytes) => Buffer.from(bytes)) },
    {
      weight: 4,
      arbitrary: fc
        .record({ text: fc.constantFrom(...texts), changes: fc.array(change, { minLength: 1, maxLength: 3 }) })
        .map(({ text, changes }) => changes.reduce(spoil, Buffer.from(text))),
    },
  )
}

/** All bytes that come back until the connection is closed; `undefined` where it is not. */
export function exchange(port: number, bytes: Buffer, withinMs: number): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const pieces: Buffer[] = []
    const timer = setTimeout(() => {
      socket.destroy()
      resolve(undefined)
    }, withinMs)
    socket.on('data', (piece: Buffer) => pieces.push(piece))
    // A server that has enough closes before all of it is sent.
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(Buffer.concat(pieces))
    })
    socket.end(bytes)
  })
}

/** The answers in the bytes, one after the other; `undefined` where they are none. */
export function readAnswers(bytes: Buffer): readonly SeenAnswer[] | undefined {
  const answers: SeenAnswer[] = []
  for (let at = 0; at < bytes.length; ) {
    const headEnd = bytes.indexOf('\r\n\r\n', at)
    const head = bytes.toString('latin1', at, headEnd)
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1])
    if (headEnd === -1 || Number.isNaN(status)) return undefined
    const length = /^content-length: *(\d+)/im.exec(head)?.[1]
    const begin = headEnd + 4
    const { body, end } = /^transfer-encoding: chunked/im.test(head)
      ? readChunks(bytes, begin)
      : status < 200
        ? { body: Buffer.alloc(0), end: begin }
        : toBody(bytes, begin, length === undefined ? bytes.length : begin + Number(length))
    answers.push({ status, contentType: /^content-type: *(.*)$/im.exec(head)?.[1] ?? '', body: body.toString('utf8') })
    at = end
  }
  return answers
}

const toBody = (bytes: Buffer, begin: number, end: number) => ({ body: bytes.subarray(begin, end), end })

function readChunks(bytes: Buffer, begin: number): { readonly body: Buffer; readonly end: number } {
  const pieces: Buffer[] = []
  for (let at = begin; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at)
    const length = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16)
    if (lineEnd === -1 || Number.isNaN(length)) return { body: Buffer.concat(pieces), end: bytes.length }
    if (length === 0) return { body: Buffer.concat(pieces), end: lineEnd + 4 }
    pieces.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + length))
    at = lineEnd + 2 + length + 2
  }
}

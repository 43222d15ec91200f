import fc from 'fast-check'
import { wellFormed } from '../../support/stored-data.ts'
import { type BodyKind, kindOf } from './body-status.ts'
import { ODD_TEXTS, oddJson, spoilt } from './spoilt-values.ts'
import type { ValidRequest } from './valid-requests.ts'

/** A request as Node's own client can send it. */
export interface MalformedRequest {
  readonly method: string
  /** With its query, as it stands in the request line. */
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: Buffer
  /** What its body is, where nothing else is wrong with the request. */
  readonly bodyKind?: BodyKind
}

const CONTENT_TYPES = [
  'text/plain',
  'application/json; charset=utf-16',
  'application/json;;;',
  'application/JSON',
  'application/json, text/html',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  'multipart/form-data',
  'application/xml',
  'application/problem+json',
  'application/vnd.api+json',
  'x',
  '/',
  'application/json; charset="',
  `application/json; ${'a'.repeat(2_000)}=b`,
  '',
]
const ENCODINGS = ['gzip', 'br', 'deflate', 'identity', 'gzip, gzip, gzip', 'x', 'zstd']
const METHODS = [
  'HEAD',
  'OPTIONS',
  'PATCH',
  'TRACE',
  'PROPFIND',
  'SEARCH',
  'LINK',
  'PURGE',
  'MKCOL',
  'QUERY',
  'PUT',
  'DELETE',
  'POST',
  'GET',
]
const TOKENS = ['', 'x', 'a'.repeat(300), 'ä', 'a b', '"', '\t', '😀', '\x7f', 'null', '__proto__', "'", '%00', '{}']
const NUMBERS = ['-1', '1.5', 'x', '1e9', '1e999', 'NaN', '0x1', '٣', '99999999999999999999', ' 1', '1,2', '']
const oddHeader = fc.oneof(
  header('idempotency-key', TOKENS),
  header('last-event-id', NUMBERS),
  header('x-request-id', TOKENS),
  header('traceparent', [
    '00-x',
    '00-00000000000000000000000000000000-0000000000000000-00',
    `00-${'f'.repeat(32)}-${'f'.repeat(16)}-ff`,
    'x'.repeat(3_000),
  ]),
  header('tracestate', ['x'.repeat(3_000), '=,=,=', '\t']),
  header('baggage', ['x'.repeat(3_000), '=;;,']),
  header('authorization', [
    '',
    'Bearer',
    'Bearer ',
    'Bearer pk_',
    `Bearer pk_${'0'.repeat(16)}_${'a'.repeat(43)}`,
    'Basic eDp5',
    `Bearer ${'a.'.repeat(2_000)}`,
    'Bearer eyJhbGciOiJub25lIn0.e30.',
    "Bearer ' or 1=1 --",
  ]),
  header('accept', ['x', '*/*;q=2', 'text/event-stream', 'application/xml', ', , ,', 'a/b;'.repeat(500)]),
  header('accept-encoding', ['x', 'gzip;q=nope']),
  header('content-encoding', ENCODINGS),
  header('cookie', ['a=b; '.repeat(500), '\t=;']),
  header('x-forwarded-for', ['x', '1.2.3.4, '.repeat(200), '::::']),
  header('x-http-method-override', ['DELETE', 'x']),
  header('mcp-protocol-version', ['x', '1900-01-01', '2026-07-28', '']),
  header('mcp-session-id', ['x'.repeat(3_000), '\t']),
  header('if-none-match', ['*', 'W/"x"']),
  header('range', ['bytes=0-0', 'bytes=9999999999-', 'x']),
  header('prefer', ['wait=x']),
  header('x-big', ['x'.repeat(12_000)]),
  header('__proto__', ['x']),
  header('constructor', ['x']),
)

function header(name: string, values: readonly string[]): fc.Arbitrary<Readonly<Record<string, string>>> {
  return fc.constantFrom(...values).map((value) => ({
    [name]: Buffer.from(value)
      .toString('latin1')
      .replaceAll(/[^\t\x20-\x7e\x80-\xff]/g, ''),
  }))
}

const oddSegment = fc.oneof(
  fc.constantFrom(
    ...[
      '%',
      '%zz',
      '%00',
      '%ff%fe',
      '%c0%ae',
      '%2e%2e%2f',
      '%2F',
      '..',
      '.',
      '*',
      ';a=b',
      '%u0041',
      '%ED%A0%80',
      ':flowId',
      '%20',
      '{}',
      '~',
      'a'.repeat(499),
      'a'.repeat(501),
      'a'.repeat(6_000),
    ],
  ),
  fc.constantFrom(...ODD_TEXTS.filter((text) => !/\p{Surrogate}/u.test(text) && text.length < 1_000)).map(encodeURIComponent),
  fc.string({ maxLength: 20 }).map((text) => encodeURIComponent(wellFormed(text))),
)

const ODD_QUERIES = [
  'limit=abc',
  'limit=-1',
  'limit=0',
  'limit=1e2',
  'limit=',
  'limit',
  'limit=5&limit=6',
  'limit[]=5',
  'limit[a]=5',
  'offset=99999999999999999999',
  'offset=1e5&cursor=x',
  'cursor=',
  `cursor=${'A'.repeat(1_000)}`,
  `cursor=${'A'.repeat(1_001)}`,
  'cursor=%00',
  `cursor=${Buffer.from('flows by name ASC\x019a0000-0000-7000-8000-000000000000\0a\0b\0\ud800', 'utf16le').toString('base64url')}`,
  `cursor=${Buffer.from('flows by createdAt DESC\x019a0000-0000-7000-8000-000000000000\x009999999999999999', 'utf16le').toString('base64url')}`,
  `cursor=${Buffer.from('flows by createdAt DESC\x019a0000-0000-7000-8000-000000000000\x008640000000000000', 'utf16le').toString('base64url')}`,
  `cursor=${Buffer.from('flows by completedAt DESC\0x', 'utf16le').toString('base64url')}`,
  'sortBy=name;drop table x',
  'sortBy=__proto__',
  'sortOrder=asc',
  'status=RUNNING&status=FAILED',
  'threadId=%00',
  'threadId=',
  'wait=-1',
  'wait=99999999999',
  'afterSeq=-1',
  'afterSeq=99999999999999',
  'from=x&to=y',
  'from=2026-01-01&to=2025-01-01',
  'from=-271821-04-20T00:00:00Z',
  'from=0000-01-01',
  'to=9999-12-31T23:59:59.999999999Z',
  'groupBy=,,,',
  'groupBy=day,day,day',
  'groupBy=user_id',
  'flowId=%ff',
  '__proto__[a]=1',
  'constructor.prototype.a=1',
  '%',
  '%zz=1',
  '=',
  '&&&&',
  '?',
  '#',
  `a=${'b'.repeat(10_000)}`,
  Array.from({ length: 2_000 }, (_, index) => `a${index}=1`).join('&'),
]
const oddQuery = fc.oneof(
  fc.constantFrom(...ODD_QUERIES),
  fc
    .record({
      name: fc.constantFrom(
        'limit',
        'offset',
        'cursor',
        'status',
        'type',
        'wait',
        'afterSeq',
        'from',
        'to',
        'groupBy',
        'flowId',
        'threadId',
        'x',
      ),
      text: fc.oneof(fc.constantFrom(...NUMBERS), fc.string()),
    })
    .map(({ name, text }) => `${name}=${encodeURIComponent(wellFormed(text))}`),
)

const JSON_TYPE = { 'content-type': 'application/json' }
const toBytes = (value: unknown): Buffer | undefined => {
  const text = value === undefined ? undefined : JSON.stringify(value)
  return text === undefined ? undefined : Buffer.from(text)
}

/** A request of ours with something wrong in it, or with something in it that few clients send. */
export function malformedRequest(valid: readonly ValidRequest[], key: string): fc.Arbitrary<MalformedRequest> {
  const withBody = valid.filter(({ body }) => body !== undefined)
  const withParameters = valid.filter(({ path }) => path.split('/').length > 4)
  const whole = ({ method, path, query, body }: ValidRequest): MalformedRequest => {
    const search = new URLSearchParams(query).toString()
    const bytes = toBytes(body)
    return {
      method,
      target: search === '' ? path : `${path}?${search}`,
      headers: { authorization: `Bearer ${key}`, accept: 'application/json, text/event-stream', ...(bytes && JSON_TYPE) },
      body: bytes,
    }
  }
  const withKind = (request: MalformedRequest, { schema }: ValidRequest): MalformedRequest =>
    schema === undefined ? request : { ...request, bodyKind: kindOf(request.body, schema) }
  const of = (requests: readonly ValidRequest[]) => fc.constantFrom(...requests)
  const wrongBody = of(withBody).chain((request) =>
    spoilt(request.body).map((body) => withKind(whole({ ...request, body }), request)),
  )
  const deepBody = fc
    .record({ request: of(withBody), depth: fc.constantFrom(1_000, 1_490, 1_600, 6_000, 100_000), isKeyed: fc.boolean() })
    .map(({ request, depth, isKeyed }): MalformedRequest => {
      const { headers, ...rest } = whole(request)
      const deep = `{"metadata":{"a":${'['.repeat(depth)}${']'.repeat(depth)}},`
      const text = JSON.stringify({ ...Object(request.body), metadata: undefined }).replace('{', deep)
      const key: Readonly<Record<string, string>> = isKeyed ? { 'idempotency-key': `deep-${depth}-${request.path}` } : {}
      return { ...rest, headers: { ...headers, ...key }, body: Buffer.from(text) }
    })
  const wrongJson = of(withBody).chain((request) =>
    oddJson(request.body).map((body) => withKind({ ...whole(request), body }, request)),
  )
  const bodyNotAsked = fc
    .record({ request: of(valid), body: fc.constantFrom('x', '{}', '[]', '{"a":1}') })
    .map(({ request, body }) => ({
      ...whole(request),
      headers: { ...whole(request).headers, ...JSON_TYPE },
      body: Buffer.from(body),
    }))
  const wrongType = fc.record({ request: of(valid), type: fc.constantFrom(...CONTENT_TYPES) }).map(({ request, type }) => ({
    ...whole({ body: { a: 1 }, ...request }),
    headers: { ...whole(request).headers, 'content-type': type },
  }))
  const wrongPath = fc
    .record({ request: of(withParameters), place: fc.integer({ min: 3, max: 8 }), segment: oddSegment })
    .map(({ request, place, segment }) => {
      const parts = request.path.split('/')
      parts[Math.min(place, parts.length - 1)] = segment
      return whole({ ...request, path: parts.join('/') })
    })
  const otherPath = fc
    .record({
      request: of(valid),
      change: fc.constantFrom<(path: string) => string>(
        (path) => `/${path}`,
        (path) => `${path}/`,
        (path) => `${path}//x`,
        (path) => path.toUpperCase(),
        (path) => path.slice(0, -1),
        (path) => `${path}.json`,
        (path) => `${path}%00`,
        (path) => `/x${path}`,
        (path) => path.replace('v1', 'v2'),
      ),
    })
    .map(({ request, change }) => whole({ ...request, path: change(request.path) }))
  const wrongQuery = fc.record({ request: of(valid), query: oddQuery }).map(({ request, query }) => {
    const target = `${request.path}?${query}`
    return { ...whole(request), target: target.replaceAll(/[^\x21-\x7e]/g, encodeURIComponent) }
  })
  const wrongHeader = fc
    .record({ request: of(valid), headers: fc.array(oddHeader, { minLength: 1, maxLength: 3 }) })
    .map(({ request, headers }) => ({
      ...whole(request),
      headers: { ...whole(request).headers, ...Object.assign({}, ...headers) },
    }))
  const wrongMethod = fc.record({ request: of(valid), method: fc.constantFrom(...METHODS) }).map(({ request, method }) => {
    const { body, ...rest } = whole(request)
    return { ...rest, method, ...(body && method !== 'TRACE' && { body }) }
  })
  return fc.oneof(
    { weight: 30, arbitrary: wrongBody },
    { weight: 15, arbitrary: wrongJson },
    { weight: 1, arbitrary: deepBody },
    { weight: 4, arbitrary: bodyNotAsked },
    { weight: 8, arbitrary: wrongType },
    { weight: 12, arbitrary: wrongPath },
    { weight: 5, arbitrary: otherPath },
    { weight: 15, arbitrary: wrongQuery },
    { weight: 15, arbitrary: wrongHeader },
    { weight: 6, arbitrary: wrongMethod },
  )
}

import type { ServerResponse } from 'node:http'
import type { FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import type { ErrorCode } from '../../src/errors/error-codes.ts'
import { JSON_TYPE, SSE, type Wire } from './vendor-wires.ts'

export interface Play {
  readonly wire: Wire
  readonly streamed: boolean
  readonly response: ServerResponse
  readonly elsewhere: string
  readonly here: string
}

export interface Expected {
  readonly code: ErrorCode
  /** Requests at the server, with two retries allowed. */
  readonly tries: number
  /** Milliseconds that every wait between two tries must at least take. */
  readonly waitMs?: number
}

export interface Fault {
  readonly name: string
  readonly play: (play: Play) => unknown
  readonly whole?: Expected
  readonly streamed?: Expected
  readonly step?: Partial<FlowStepInput>
  /** The step fails when this much time has passed since its request came; the test moves the clock, and never before. */
  readonly passesMs?: number
}

const ALL = 3
const TEXT = 'Once upon a time there was a text that broke off'
const retried = (code: ErrorCode): Expected => ({ code, tries: ALL })
const final = (code: ErrorCode): Expected => ({ code, tries: 1 })
const both = (expected: Expected) => ({ whole: expected, streamed: expected })

const status =
  (code: number, headers: Record<string, string> = {}, body: unknown = { error: { message: 'No.', type: 'x', code: null } }) =>
  ({ response }: Play) =>
    response.writeHead(code, { ...JSON_TYPE, ...headers }).end(JSON.stringify(body))

const quota = { error: { message: 'You exceeded your quota', type: 'insufficient_quota', code: 'insufficient_quota' } }

/** Sends what is given of an answer and then ends it, resets it or leaves it open. */
function send(response: ServerResponse, headers: Record<string, string>, body: string, then: 'end' | 'reset' | 'open'): void {
  response.writeHead(200, headers)
  response.write(body, () => {
    if (then === 'end') response.end()
    // One turn later, so that the piece has left before the connection is reset.
    if (then === 'reset') setTimeout(() => response.socket?.resetAndDestroy(), 10)
  })
}

const cut =
  (then: 'end' | 'reset' | 'open', share = 0.5) =>
  ({ wire, streamed, response }: Play) => {
    const whole = JSON.stringify(wire.whole(TEXT, { input: 10, output: 5 }))
    if (streamed) send(response, SSE, wire.opening(TEXT).join(''), then)
    else send(response, JSON_TYPE, whole.slice(0, Math.floor(whole.length * share)), then)
  }

function trickle({ wire, streamed, response }: Play): void {
  const text = streamed
    ? wire.opening(TEXT.repeat(50)).join('')
    : JSON.stringify(wire.whole(TEXT.repeat(50), { input: 1, output: 1 }))
  response.writeHead(200, streamed ? SSE : JSON_TYPE)
  let at = 0
  const timer = setInterval(() => response.write(text.charAt(at++ % text.length)), 10)
  response.once('close', () => clearInterval(timer))
}

function flood(response: ServerResponse, statusCode: number, contentType: string): void {
  response.writeHead(statusCode, { 'content-type': contentType })
  const piece = Buffer.alloc(64 * 1024, 'x')
  const more = () => {
    while (!response.destroyed && response.write(piece));
  }
  response.on('drain', more)
  more()
}

const redirect =
  (code: number, where: 'elsewhere' | 'here') =>
  (play: Play): unknown =>
    play.response.writeHead(code, { location: `${play[where]}/stolen` }).end()

const html = '<!doctype html><html><body><h1>Bad gateway</h1></body></html>'
const errorEvent = (wire: Wire) => `event: error\ndata: ${JSON.stringify(wire.error)}\n\n`

export const FAULTS: readonly Fault[] = [
  ...[400, 404, 413, 422].map((code): Fault => ({ name: `${code}`, play: status(code), ...both(final('PROVIDER_REJECTED')) })),
  ...[401, 403].map((code): Fault => ({ name: `${code}`, play: status(code), ...both(final('PROVIDER_AUTH')) })),
  { name: '402', play: status(402), ...both(final('PROVIDER_QUOTA_EXHAUSTED')) },
  ...[408, 409, 500, 502, 503, 504, 529].map(
    (code): Fault => ({ name: `${code}`, play: status(code), ...both(retried('PROVIDER_UNAVAILABLE')) }),
  ),
  { name: '429 without Retry-After', play: status(429), ...both(retried('PROVIDER_RATE_LIMITED')) },
  {
    name: '429 with Retry-After in seconds',
    play: status(429, { 'retry-after': '1' }),
    ...both({ code: 'PROVIDER_RATE_LIMITED', tries: 2, waitMs: 1_000 }),
    step: { maxRetries: 1 },
  },
  {
    name: '429 with Retry-After as a date',
    play: (play) => status(429, { 'retry-after': new Date(Date.now() + 2_000).toUTCString() })(play),
    ...both({ code: 'PROVIDER_RATE_LIMITED', tries: 2, waitMs: 500 }),
    step: { maxRetries: 1 },
  },
  {
    name: '429 with retry-after-ms',
    play: status(429, { 'retry-after-ms': '40' }),
    ...both({ code: 'PROVIDER_RATE_LIMITED', tries: ALL, waitMs: 40 }),
  },
  {
    name: '429 with Retry-After of an hour',
    play: status(429, { 'retry-after': '3600' }),
    ...both(final('PROVIDER_RATE_LIMITED')),
  },
  {
    name: '503 with retry-after-ms',
    play: status(503, { 'retry-after-ms': '40' }),
    ...both({ ...retried('PROVIDER_UNAVAILABLE'), waitMs: 40 }),
  },
  {
    name: '429 insufficient_quota',
    play: status(429, { 'retry-after': '1' }, quota),
    ...both(final('PROVIDER_QUOTA_EXHAUSTED')),
  },
  {
    name: 'reset before the headers',
    play: ({ response }) => response.socket?.resetAndDestroy(),
    ...both(retried('PROVIDER_UNAVAILABLE')),
  },
  {
    name: 'reset in the middle of the body',
    play: cut('reset'),
    whole: retried('PROVIDER_UNAVAILABLE'),
    streamed: final('PROVIDER_STREAM_CUT'),
  },
  {
    name: 'half an answer that ends',
    play: cut('end'),
    whole: retried('PROVIDER_BAD_REPLY'),
    streamed: final('PROVIDER_STREAM_CUT'),
  },
  {
    name: 'a body shorter than announced',
    play: ({ wire, response }) => {
      const body = JSON.stringify(wire.whole(TEXT, { input: 1, output: 1 }))
      response.writeHead(200, { ...JSON_TYPE, 'content-length': `${body.length + 10}` })
      response.write(body.slice(0, -4), () => setTimeout(() => response.socket?.destroy(), 5))
    },
    whole: retried('PROVIDER_UNAVAILABLE'),
  },
  {
    name: 'a stream that breaks off before its first text',
    play: ({ response }) => send(response, SSE, ': ping\n\n', 'end'),
    streamed: retried('PROVIDER_STREAM_CUT'),
  },
  {
    name: 'a stream that is reset before its first event',
    play: ({ response }) => send(response, SSE, ': ping\n\n', 'reset'),
    streamed: retried('PROVIDER_STREAM_CUT'),
  },
  {
    name: 'an error inside a 200 stream, before any text',
    play: ({ wire, response }) => send(response, SSE, errorEvent(wire), 'end'),
    streamed: retried('PROVIDER_UNAVAILABLE'),
  },
  {
    name: 'an error inside a 200 stream, after text',
    play: ({ wire, response }) => send(response, SSE, wire.opening(TEXT).join('') + errorEvent(wire), 'end'),
    streamed: final('PROVIDER_UNAVAILABLE'),
  },
  {
    name: 'a 200 body that is an error',
    play: ({ wire, response }) => response.writeHead(200, JSON_TYPE).end(JSON.stringify(wire.error)),
    ...both(retried('PROVIDER_UNAVAILABLE')),
  },
  {
    name: 'HTML with status 200',
    play: ({ response }) => response.writeHead(200, { 'content-type': 'text/html' }).end(html),
    ...both(retried('PROVIDER_BAD_REPLY')),
  },
  {
    name: 'HTML with status 502',
    play: ({ response }) => response.writeHead(502, { 'content-type': 'text/html' }).end(html),
    ...both(retried('PROVIDER_UNAVAILABLE')),
  },
  {
    name: 'bytes of an image',
    play: ({ response }) =>
      response.writeHead(200, { 'content-type': 'image/png' }).end(Buffer.from([137, 80, 78, 71, 0, 255, 10, 10])),
    ...both(retried('PROVIDER_BAD_REPLY')),
  },
  {
    name: 'an empty body',
    play: ({ streamed, response }) => response.writeHead(200, streamed ? SSE : JSON_TYPE).end(),
    whole: retried('PROVIDER_BAD_REPLY'),
    streamed: retried('PROVIDER_STREAM_CUT'),
  },
  { name: '204 without a body', play: ({ response }) => response.writeHead(204).end(), ...both(retried('PROVIDER_BAD_REPLY')) },
  {
    name: 'JSON of another protocol',
    play: ({ response }) => response.writeHead(200, JSON_TYPE).end('{"ok":true,"choices":null,"content":7,"candidates":{}}'),
    ...both(retried('PROVIDER_BAD_REPLY')),
  },
  {
    name: 'events that are no JSON',
    play: ({ response }) => send(response, SSE, 'data: {nonsense}\n\ndata: [DONE]\n\n', 'end'),
    ...both(retried('PROVIDER_BAD_REPLY')),
  },
  {
    name: 'an error body without an end',
    play: ({ response }) => flood(response, 500, 'text/plain'),
    ...both(retried('PROVIDER_UNAVAILABLE')),
  },
  {
    name: 'bytes that come slowly, with a step timeout',
    play: trickle,
    ...both(final('STEP_TIMEOUT')),
    step: { timeout: 60_000 },
    passesMs: 60_000,
  },
  {
    name: 'silence after text, with an idle timeout',
    play: cut('open'),
    streamed: final('PROVIDER_UNAVAILABLE'),
    step: { idleTimeout: 400 },
  },
  {
    name: 'no answer at all, with a step timeout',
    play: () => undefined,
    ...both(final('STEP_TIMEOUT')),
    step: { timeout: 60_000 },
    passesMs: 60_000,
  },
  { name: '302 to another origin', play: redirect(302, 'elsewhere'), ...both(final('PROVIDER_REJECTED')) },
  { name: '307 to another origin', play: redirect(307, 'elsewhere'), ...both(final('PROVIDER_REJECTED')) },
  { name: '308 in a circle', play: redirect(308, 'here'), ...both(final('PROVIDER_REJECTED')) },
]

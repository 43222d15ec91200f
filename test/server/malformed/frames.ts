import { connect } from 'node:net'
import fc from 'fast-check'
import type { ClientFrameInput } from '../../../src/protocol/socket.ts'
import { OPCODE, toFrame } from '../abuse/frames.ts'
import { ODD_TEXTS, oddJson, spoilt } from './spoilt-values.ts'
import type { KnownIds } from './valid-requests.ts'

/** A message of a client, as it is sent. */
export type Message = string | Buffer

const MAX_LENGTH = 20_000

/** Messages with something wrong in them, on a connection that keeps to its protocol. */
export function malformedMessage({ flowId, failingFlowId }: KnownIds): fc.Arbitrary<Message> {
  const valid: readonly ClientFrameInput[] = [
    { type: 'subscribe', flowId, afterSeq: 0, requestId: 'r' },
    { type: 'unsubscribe', flowId, requestId: 'r' },
    { type: 'subscribe_events', requestId: 'r', filter: { type: ['service_*'], correlationId: flowId }, afterSeq: 0 },
    { type: 'unsubscribe_events', requestId: 'r' },
    {
      type: 'execute',
      flowId: failingFlowId,
      requestId: 'r',
      options: { input: 'x', limits: { maxTokens: 5_000 }, metadata: { a: 1 } },
    },
    { type: 'cancel', flowId, requestId: 'r' },
    { type: 'ping', requestId: 'r' },
  ]
  const base = fc.constantFrom(...valid)
  return fc
    .oneof(
      { weight: 6, arbitrary: base.chain((frame) => spoilt(frame)).map((value) => JSON.stringify(value) ?? 'undefined') },
      // Bytes that are no UTF-8 would break the protocol: they are read as text first.
      { weight: 3, arbitrary: base.chain((frame) => oddJson(frame)).map((bytes) => bytes.toString('utf8')) },
      { weight: 1, arbitrary: fc.constantFrom(...ODD_TEXTS, 'undefined', '[1,2', '"type"', '{"type":"ping"}{"type":"ping"}') },
      { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 200 }).map((text) => Buffer.from(text).toString('utf8')) },
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)) },
    )
    .filter((message) => message.length <= MAX_LENGTH)
}

const bytes = (...values: readonly number[]) => Buffer.from(values)
const close = (code: number, reason: string | Buffer = '') =>
  toFrame({ opcode: OPCODE.close, payload: Buffer.concat([bytes(code >> 8, code & 255), Buffer.from(reason)]) })
const text = (payload: string | Buffer, rest: Partial<Parameters<typeof toFrame>[0]> = {}) =>
  toFrame({ opcode: OPCODE.text, payload, ...rest })

const CRAFTED: readonly Buffer[] = [
  text(bytes(0xff, 0xfe)),
  text(bytes(0xc0, 0x80)),
  text(bytes(0xed, 0xa0, 0x80)),
  text(bytes(0xf4, 0x90, 0x80, 0x80)),
  text('{"type":"ping"}', { masked: false }),
  ...[1, 2, 4, 7].map((reserved) => text('{"type":"ping"}', { reserved })),
  ...[3, 4, 7, 11, 15].map((opcode) => toFrame({ opcode, payload: 'x' })),
  ...[0, 999, 1000, 1001, 1004, 1005, 1006, 1015, 2999, 3000, 4999, 5000, 65_535].map((code) => close(code)),
  close(1000, bytes(0xff)),
  toFrame({ opcode: OPCODE.close, payload: bytes(3) }),
  toFrame({ opcode: OPCODE.close, payload: 'x'.repeat(126) }),
  toFrame({ opcode: OPCODE.ping, payload: 'x'.repeat(126) }),
  toFrame({ opcode: OPCODE.ping, fin: false }),
  toFrame({ opcode: OPCODE.pong, payload: 'x'.repeat(125) }),
  toFrame({ opcode: OPCODE.continuation, payload: 'x' }),
  Buffer.concat([text('{"type":', { fin: false }), text('"ping"}')]),
  Buffer.concat([text('{"type":', { fin: false }), toFrame({ opcode: OPCODE.binary, payload: '"ping"}' })]),
  Buffer.concat([
    text('{"type":', { fin: false }),
    toFrame({ opcode: OPCODE.ping }),
    toFrame({ opcode: OPCODE.continuation, payload: '"ping"}' }),
  ]),
  Buffer.concat([text(bytes(0xe2, 0x82), { fin: false }), toFrame({ opcode: OPCODE.continuation, payload: bytes(0xac) })]),
  Buffer.concat([
    text('', { fin: false }),
    ...Array.from({ length: 100 }, () => toFrame({ opcode: OPCODE.continuation, fin: false, payload: 'x' })),
  ]),
  text('x'.repeat(262_144)),
  text('x'.repeat(262_145)),
  ...[125n, 126n, 65_535n, 65_536n, 2n ** 31n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n].map((saidLength) =>
    text('x', { saidLength }),
  ),
  bytes(0x81),
  bytes(0x81, 0xfe, 0),
  bytes(0x81, 0xff, 0, 0, 0, 0),
  bytes(0x81, 0x85, 1, 2),
  Buffer.from('GET /api/v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'),
  Buffer.alloc(70_000, 0xff),
]

const anyFrame = fc
  .record({
    opcode: fc.oneof(fc.constantFrom(0, 1, 2, 8, 9, 10), fc.nat(15)),
    fin: fc.boolean(),
    masked: fc.oneof({ weight: 9, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
    reserved: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(7) }),
    payload: fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map((raw) => Buffer.from(raw)),
      fc.constantFrom('{"type":"ping"}', '{').map((word) => Buffer.from(word)),
    ),
    saidLength: fc.option(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), { freq: 10, nil: undefined }),
  })
  .map(toFrame)

/** Bytes on an open WebSocket that break its protocol, or nearly do. */
export const malformedBytes: fc.Arbitrary<Buffer> = fc.oneof(
  { weight: 1, arbitrary: fc.constantFrom(...CRAFTED) },
  { weight: 2, arbitrary: fc.array(anyFrame, { minLength: 1, maxLength: 4 }).map((frames) => Buffer.concat(frames)) },
  { weight: 1, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 400 }).map((raw) => Buffer.from(raw)) },
)

export interface SocketAnswers {
  /** Texts of the server. */
  readonly texts: readonly string[]
  /** Code of its closing frame; 1006 where there is none. */
  readonly code: number
}

/** Sends the bytes on a WebSocket of its own, and reads until the server has closed it; `undefined` where it does not. */
export function pourBytes(url: string, key: string, sent: Buffer, withinMs: number): Promise<SocketAnswers | undefined> {
  return new Promise((resolve, reject) => {
    const { host, hostname, port } = new URL(url)
    const tcp = connect(Number(port), hostname)
    let got = Buffer.alloc(0)
    let isUpgraded = false
    const timer = setTimeout(() => {
      tcp.destroy()
      resolve(undefined)
    }, withinMs)
    tcp.write(
      `GET /ws HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${key}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
    )
    tcp.on('data', (piece: Buffer) => {
      got = Buffer.concat([got, piece])
      const headEnd = got.indexOf('\r\n\r\n')
      if (isUpgraded || headEnd === -1) return
      if (!got.toString('latin1', 0, 12).endsWith('101')) return reject(new Error(`expected an upgrade, found ${got}`))
      isUpgraded = true
      got = got.subarray(headEnd + 4)
      tcp.end(sent)
    })
    tcp.on('error', () => {})
    tcp.on('close', () => {
      clearTimeout(timer)
      resolve(readServerFrames(got))
    })
  })
}

function readServerFrames(got: Buffer): SocketAnswers {
  const texts: string[] = []
  let code = 1006
  for (let at = 0; at + 2 <= got.length; ) {
    const opcode = got.readUInt8(at) & 15
    const said = got.readUInt8(at + 1) & 127
    const [length, begin] =
      said === 127
        ? [Number(got.readBigUInt64BE(at + 2)), at + 10]
        : said === 126
          ? [got.readUInt16BE(at + 2), at + 4]
          : [said, at + 2]
    const payload = got.subarray(begin, begin + length)
    if (opcode === OPCODE.text) texts.push(payload.toString('utf8'))
    if (opcode === OPCODE.close && payload.length >= 2) code = payload.readUInt16BE(0)
    at = begin + length
  }
  return { texts, code }
}

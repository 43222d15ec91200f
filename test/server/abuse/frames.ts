import type { Socket } from 'node:net'
import { openTcp, readAnswer } from './raw-request.ts'

export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const

export interface FrameParts {
  readonly opcode: number
  readonly payload?: string | Buffer
  /** Default true. */
  readonly fin?: boolean
  /** What the header says of the length, where it lies. */
  readonly saidLength?: bigint
  /** Default true, as clients must. */
  readonly masked?: boolean
  readonly reserved?: number
}

/** A WebSocket frame byte by byte; the mask is zero, so the payload stands as it is. */
export function toFrame({ opcode, payload = '', fin = true, saidLength, masked = true, reserved = 0 }: FrameParts): Buffer {
  const body = Buffer.from(payload)
  const length = saidLength ?? BigInt(body.length)
  const head = [(fin ? 0x80 : 0) | (reserved << 4) | opcode]
  const mask = masked ? 0x80 : 0
  if (length < 126n) head.push(mask | Number(length))
  else if (length < 65_536n) head.push(mask | 126, Number(length >> 8n), Number(length & 0xffn))
  else {
    head.push(mask | 127)
    for (let shift = 56n; shift >= 0n; shift -= 8n) head.push(Number((length >> shift) & 0xffn))
  }
  return Buffer.concat([Buffer.from(head), masked ? Buffer.alloc(4) : Buffer.alloc(0), body])
}

export interface RawSocket {
  readonly tcp: Socket
  /** Resolves with the code of the server's closing frame, 1006 where the connection ended without one. */
  readonly closed: Promise<number>
}

const PLAIN_UPGRADE = (host: string): string =>
  `GET /ws HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`

/** An upgraded connection that sends what it is told and understands only closing frames. */
export async function openRawSocket(url: string): Promise<RawSocket> {
  const tcp = await openTcp(url)
  const answer = readAnswer(tcp)
  tcp.write(PLAIN_UPGRADE(new URL(url).host))
  const { status } = await answer
  if (status !== 101) throw new Error(`expected an upgrade, found ${status}`)
  tcp.removeAllListeners('data')
  let code = 1006
  let pending = Buffer.alloc(0)
  tcp.on('data', (bytes: Buffer) => {
    pending = Buffer.concat([pending, bytes])
    for (;;) {
      if (pending.length < 2) return
      const [first = 0, second = 0] = pending
      const isLong = (second & 127) === 126
      const headLength = isLong ? 4 : 2
      if (pending.length < headLength) return
      const length = isLong ? pending.readUInt16BE(2) : second & 127
      if (pending.length < headLength + length) return
      if ((first & 15) === OPCODE.close && length >= 2) code = pending.readUInt16BE(headLength)
      pending = pending.subarray(headLength + length)
    }
  })
  const closed = new Promise<number>((resolve) => tcp.once('close', () => resolve(code)))
  return { tcp, closed }
}

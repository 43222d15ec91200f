// Readers of a fan-out, in their own process. Raw TCP that parses only frame headers and the time stamp in a chunk, so
// that the measurement is of the server. Receives one request at a time over IPC and answers each with one message.
import { connect } from 'node:net'
import { median, quantile } from './statistics.mjs'

const STAMP = Buffer.from('"delta":"')
const STAMP_DIGITS = 16
const OPCODE_PING = 9
const AT_ONCE = 50

const nowUs = () => Number(process.hrtime.bigint() / 1_000n)

/** A client frame with a mask of zeros. */
function toFrame(opcode, text) {
  const body = Buffer.from(text)
  const head =
    body.length < 126
      ? Buffer.from([0x80 | opcode, 0x80 | body.length])
      : Buffer.from([0x80 | opcode, 0x80 | 126, body.length >> 8, body.length & 255])
  return Buffer.concat([head, Buffer.alloc(4), body])
}

const readers = []
/** Delays of chunks in milliseconds, by the second in which the provider sent them. */
let seconds = new Map()
let ended = 0

function noteDelay(sentUs, atUs) {
  const second = Math.floor(sentUs / 1_000_000)
  const delays = seconds.get(second)
  if (delays) delays.push((atUs - sentUs) / 1_000)
  else seconds.set(second, [(atUs - sentUs) / 1_000])
}

function open({ host, port, path, hello }) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true })
    const reader = { socket, frames: 0, isStopped: false }
    let pending
    let upgraded = false
    socket.on('error', reject)
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: ${host}:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    )
    const take = (bytes, atUs) => {
      let at = 0
      for (;;) {
        if (bytes.length - at < 2) return at
        let length = bytes[at + 1] & 127
        let head = 2
        if (length === 126) {
          if (bytes.length - at < 4) return at
          length = bytes.readUInt16BE(at + 2)
          head = 4
        } else if (length === 127) {
          if (bytes.length - at < 10) return at
          length = Number(bytes.readBigUInt64BE(at + 2))
          head = 10
        }
        const start = at + head
        if (bytes.length - start < length) return at
        const opcode = bytes[at] & 15
        const stop = start + length
        if (opcode === OPCODE_PING) socket.write(toFrame(10, bytes.latin1Slice(start, stop)))
        else {
          reader.frames++
          const stamp = bytes.indexOf(STAMP, start)
          if (stamp >= 0 && stamp < stop && !reader.isStopped) {
            const sentUs = Number(bytes.latin1Slice(stamp + STAMP.length, stamp + STAMP.length + STAMP_DIGITS))
            noteDelay(sentUs, atUs)
          }
          if (length < 200 && bytes.latin1Slice(start, start + 13) === '{"type":"end"') ended++
        }
        at = stop
      }
    }
    socket.on('data', (chunk) => {
      const atUs = nowUs()
      let bytes = pending ? Buffer.concat([pending, chunk]) : chunk
      pending = undefined
      if (!upgraded) {
        const headEnd = bytes.indexOf('\r\n\r\n')
        if (headEnd < 0) {
          pending = bytes
          return
        }
        if (!bytes.latin1Slice(0, 12).endsWith('101')) return reject(new Error(bytes.latin1Slice(0, 100)))
        upgraded = true
        bytes = bytes.subarray(headEnd + 4)
        if (hello) socket.write(toFrame(1, hello))
        resolve(reader)
      }
      const taken = take(bytes, atUs)
      if (taken < bytes.length) pending = bytes.subarray(taken)
    })
  })
}

const questions = {
  async open({ count, ...where }) {
    for (let opened = 0; opened < count; opened += AT_ONCE) {
      readers.push(...(await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - opened) }, () => open(where)))))
    }
    // Readers that send a first frame are open once it is answered.
    while (where.hello && readers.some((reader) => reader.frames === 0)) await new Promise((resolve) => setTimeout(resolve, 10))
    return readers.length
  },
  async stop({ count }) {
    for (const reader of readers.slice(0, count)) {
      reader.isStopped = true
      reader.socket.pause()
    }
  },
  async reset() {
    seconds = new Map()
    ended = 0
  },
  /**
   * Delays of the chunks since `reset` in milliseconds: of the median second, which other processes do not disturb, and
   * of all.
   */
  async delays() {
    const all = [...seconds.values()]
    const ofMedianSecond = (share) => median(all.map((delays) => quantile(delays, share)))
    const pieces = all.flat()
    return { count: pieces.length, ended, p50: ofMedianSecond(0.5), p99: ofMedianSecond(0.99), allP99: quantile(pieces, 0.99) }
  },
  async leave() {
    for (const { socket } of readers) socket.destroy()
    readers.length = 0
  },
}

process.on('message', async ({ question, ...rest }) => {
  try {
    process.send({ answer: (await questions[question](rest)) ?? null })
  } catch (error) {
    process.send({ problem: error.message })
  }
})
process.on('disconnect', () => process.exit())

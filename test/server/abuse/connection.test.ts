import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type WebSocket, WebSocketServer } from 'ws'
import { createSemaphore } from '../../../src/async/semaphore.ts'
import type { FlowUpdate } from '../../../src/domain/execution/flow-update.ts'
import { LOCAL_CALLER } from '../../../src/server/access/caller.ts'
import { createConnection } from '../../../src/server/socket/connection.ts'
import { createFlowFeeds } from '../../../src/server/streaming/flow-feeds.ts'
import { createSubscriptionCursor } from '../../../src/server/streaming/subscription-cursor.ts'
import type { Subscriptions } from '../../../src/server/streaming/subscriptions.ts'
import { OPCODE, toFrame } from './frames.ts'

const MAX_BUFFERED = 20_000
const FLOW = 'flow-1'
const LONG_FLOW = 'flow-2'
const LONG = 100_000

/** A line whose other end takes bytes only when it is told to. */
function createLine() {
  const held: (() => void)[] = []
  let isOpen = true
  let sent = Buffer.alloc(0)
  const longBuffers = new Set<ArrayBufferLike>()
  const take = (pieces: readonly Buffer[], done: () => void) => {
    sent = Buffer.concat([sent, ...pieces])
    for (const { length, buffer } of pieces) if (length > LONG) longBuffers.add(buffer)
    if (isOpen) done()
    else held.push(done)
  }
  const stream = new Duplex({
    read: () => {},
    write: (bytes: Buffer, _, done) => take([bytes], done),
    writev: (pieces, done) =>
      take(
        pieces.map(({ chunk }) => chunk),
        done,
      ),
  })
  return {
    stream,
    /** Memory in which long pieces stood. */
    longBuffers,
    stopReading() {
      isOpen = false
    },
    readAgain() {
      isOpen = true
      for (const done of held.splice(0)) done()
    },
    say: (...frames: readonly Buffer[]) => stream.push(Buffer.concat(frames)),
    /** Of a closing frame that has left. */
    closeCode(): number | undefined {
      return walk().code
    },
    /** Text frames that have left so far. */
    frames: () => walk().frames,
  }

  function walk() {
    const frames: Record<string, unknown>[] = []
    let code: number | undefined
    let message = Buffer.alloc(0)
    for (let at = sent.indexOf('\r\n\r\n') + 4; at + 1 < sent.length; ) {
      const [opening = 0, second = 0] = sent.subarray(at)
      const head = second === 127 ? 10 : second === 126 ? 4 : 2
      const length = second === 127 ? Number(sent.readBigUInt64BE(at + 2)) : second === 126 ? sent.readUInt16BE(at + 2) : second
      const payload = sent.subarray(at + head, at + head + length)
      const opcode = opening & 15
      if (opcode === OPCODE.text || opcode === OPCODE.continuation) {
        message = Buffer.concat([message, payload])
        if (opening & 0x80) {
          frames.push(JSON.parse(String(message)))
          message = Buffer.alloc(0)
        }
      }
      if (opcode === OPCODE.close) code = payload.readUInt16BE(0)
      at += head + length
    }
    return { frames, code }
  }
}

const stored: FlowUpdate[] = Array.from({ length: 2_000 }, (_, index) => ({
  seq: index + 1,
  flowId: FLOW,
  type: 'step_progress',
  stepId: 'write',
  data: { delta: `<${index}>`.padEnd(100, '.') },
  timestamp: new Date(0),
}))

const [first] = stored
const long: FlowUpdate[] =
  first?.type === 'step_progress' ? [{ ...first, flowId: LONG_FLOW, data: { delta: 'ä'.repeat(1_000_000) } }] : []

async function* readStored(afterSeq: number, flowId = FLOW) {
  yield* (flowId === FLOW ? stored : long).slice(afterSeq)
}

const feeds = createFlowFeeds({
  stream: (flowId, _userId, afterSeq) => readStored(afterSeq, flowId),
  statusOf: async () => ({ status: 'COMPLETED' }),
  resumedWithinMs: 0,
})
const subscriptions: Subscriptions = {
  feeds,
  open: async (_caller, flowId, afterSeq, sink) => {
    const feed = feeds.open(flowId, 'ada', afterSeq)
    const follower = createSubscriptionCursor({
      feed,
      afterSeq,
      sink,
      readBack: (after) => readStored(after, flowId),
      readBackLimit: createSemaphore(1),
    })
    return { flowId, lastSeq: 0, resume: follower.resume, stop: follower.stop, isAllowed: async () => true }
  },
  close: () => {},
}

const neverCalled = () => Promise.reject(new Error('expected no command'))

async function open(slowAfterMs = 1_000_000, cancelFlow: () => Promise<never> = neverCalled) {
  const line = createLine()
  const request = new IncomingMessage(new Socket())
  Object.assign(request, {
    method: 'GET',
    headers: { upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' },
  })
  const server = new WebSocketServer({ noServer: true, autoPong: false })
  const webSocket = await new Promise<WebSocket>((resolve) =>
    server.handleUpgrade(request, line.stream, Buffer.alloc(0), resolve),
  )
  const settings = {
    maxConnections: 1,
    maxConnectionsPerUser: 1,
    maxSubscriptions: 10,
    maxMessageBytes: 100_000,
    maxBufferedBytes: MAX_BUFFERED,
    slowAfterMs,
    pingEveryMs: 1_000_000,
  }
  const connection = createConnection(webSocket, line.stream, LOCAL_CALLER, {
    subscriptions,
    events: { follow: neverCalled, list: neverCalled, newestSeq: neverCalled, ready: neverCalled },
    serviceFeed: { subscribe: () => () => {}, count: () => 0 },
    orchestrator: { startFlow: neverCalled, cancelFlow, signal: neverCalled },
    settings,
  })
  return { line, webSocket, connection }
}

const settle = async () => {
  for (let turns = 0; turns < 30; turns++) await turn()
}
const ask = (frame: object) => toFrame({ opcode: OPCODE.text, payload: JSON.stringify(frame) })

test('a client that sends requests but reads no answers is paused, and continues where it stopped', async () => {
  const { line, webSocket } = await open()
  line.stopReading()
  for (let count = 0; count < 900; count++) {
    line.say(ask({ type: 'ping', requestId: `${count}`.padStart(100, '0') }))
    await turn()
    expect(webSocket.bufferedAmount).toBeLessThan(MAX_BUFFERED * 2.1)
  }
  expect(webSocket.isPaused).toBe(true)
  line.readAgain()
  await settle()
  expect(webSocket.isPaused).toBe(false)
  const answered = line.frames().map(({ requestId }) => Number(requestId))
  expect(answered).toEqual(Array.from({ length: 900 }, (_, index) => index))
})

test('pongs for a client that reads nothing count as waiting answers', async () => {
  const { line, webSocket } = await open()
  line.stopReading()
  for (let count = 0; count < 900; count++) {
    line.say(toFrame({ opcode: OPCODE.ping, payload: 'x'.repeat(125) }))
    await turn()
  }
  expect(webSocket.bufferedAmount).toBeLessThan(MAX_BUFFERED * 2.1)
  expect(webSocket.isPaused).toBe(true)
})

test('updates for a reader that reads nothing stay in the database, and memory stays bounded', async () => {
  const { line, webSocket } = await open()
  line.stopReading()
  line.say(ask({ type: 'subscribe', flowId: FLOW }))
  await settle()
  expect(webSocket.bufferedAmount).toBeGreaterThan(MAX_BUFFERED / 2)
  for (let times = 0; times < 100; times++) {
    // One merged piece may go over it.
    expect(webSocket.bufferedAmount).toBeLessThan(MAX_BUFFERED + 66_000)
    line.readAgain()
    line.stopReading()
    await settle()
  }
  line.readAgain()
  await settle()
  const frames = line.frames()
  const text = frames.map(({ data }) => (typeof data === 'object' && data && 'delta' in data ? data.delta : '')).join('')
  expect(text).toBe(stored.map(({ data }) => ('delta' in data ? data.delta : '')).join(''))
  expect(frames.length).toBeLessThan(1_000)
  expect(frames.at(-1)).toMatchObject({ type: 'end', status: 'COMPLETED', lastSeq: 2_000 })
})

test('a long update is sent in fragments whose progress is measured, and is in memory once for all its readers', async () => {
  const readers = [await open(), await open(), await open()]
  for (const { line } of readers) line.say(ask({ type: 'subscribe', flowId: LONG_FLOW }))
  await settle()
  const buffers = new Set(readers.flatMap(({ line }) => [...line.longBuffers]))
  expect(buffers.size).toBe(1)
  for (const { line } of readers) {
    const text = line.frames().find(({ type }) => type === 'step_progress')
    expect(text).toMatchObject({ data: { delta: 'ä'.repeat(1_000_000) } })
  }
})

test('a reader that reads nothing is closed as slow and not as dead, and one that reads again is not closed', async () => {
  const slow = await open(0)
  const recovered = await open(0)
  for (const { line } of [slow, recovered]) {
    line.stopReading()
    line.say(ask({ type: 'subscribe', flowId: FLOW }))
  }
  await settle()
  recovered.line.readAgain()
  await settle()
  for (let pings = 0; pings < 3; pings++) slow.connection.ping()
  recovered.connection.ping()
  for (const { connection } of [slow, recovered]) connection.closeIfSlow()
  await settle()
  expect(slow.line.closeCode()).toBeUndefined()
  slow.line.readAgain()
  await settle()
  expect([slow.line.closeCode(), slow.connection.subscriptionCount]).toEqual([4008, 0])
  expect([recovered.line.closeCode(), recovered.webSocket.readyState]).toEqual([undefined, recovered.webSocket.OPEN])
  expect(recovered.line.frames().at(-1)).toMatchObject({ type: 'end' })
})

test('a client that does not answer a ping is disconnected at the next one', async () => {
  const { connection, webSocket, line } = await open()
  connection.ping()
  line.say(toFrame({ opcode: OPCODE.pong }))
  await settle()
  connection.ping()
  await settle()
  expect(webSocket.readyState).toBe(webSocket.OPEN)
  connection.ping()
  await settle()
  expect(webSocket.readyState).toBe(webSocket.CLOSED)
})

test('a client whose answer this side does not read, because it is busy with earlier messages, is not taken for dead', async () => {
  const held: (() => void)[] = []
  const cancelFlow = () => new Promise<never>((_, reject) => held.push(() => reject(new Error('expected a flow'))))
  const { connection, webSocket, line } = await open(undefined, cancelFlow)
  connection.ping()
  const messages = Array.from({ length: 40 }, () => ask({ type: 'cancel', flowId: FLOW }))
  for (const message of messages) line.say(message)
  await settle()
  expect(webSocket.isPaused).toBe(true)
  connection.ping()
  connection.ping()
  line.say(toFrame({ opcode: OPCODE.pong }))
  connection.ping()
  expect(webSocket.readyState).toBe(webSocket.OPEN)
  for (let count = 0; count < messages.length; count++) {
    held.shift()?.()
    await settle()
  }
  expect(line.frames()).toHaveLength(messages.length)
  connection.ping()
  connection.ping()
  await settle()
  expect(webSocket.readyState).toBe(webSocket.CLOSED)
})

test('a client that is sending a long message is not taken for dead, though its answer must wait for its end', async () => {
  const { connection, webSocket, line } = await open()
  const message = toFrame({ opcode: OPCODE.text, payload: JSON.stringify({ type: 'ping', requestId: 'x'.repeat(90) }) })
  for (const byte of message.subarray(0, 10)) {
    connection.ping()
    line.say(Buffer.from([byte]))
    await settle()
  }
  expect(webSocket.readyState).toBe(webSocket.OPEN)
  line.say(message.subarray(10))
  await settle()
  expect(line.frames()).toMatchObject([{ type: 'pong' }])
})

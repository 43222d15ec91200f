import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { send } from '../running-server.ts'
import { bytesThatFit, createWritingFlow, type ServerProcess, startFlow, startServerProcess } from '../server-process.ts'
import { connect } from '../socket-client.ts'
import { OPCODE, openRawSocket, type RawSocket, toFrame } from './frames.ts'
import { followBeside } from './healthy-client.ts'
import { openTcp } from './raw-request.ts'

const MOST_GROWTH_BYTES = 150_000_000

let server: ServerProcess
beforeAll(async () => {
  server = await startServerProcess({
    server: { headersTimeoutMs: 500, sockets: { pingEveryMs: 3_000 } },
  })
})
afterAll(() => server.kill())

/** Abuses the server beside a healthy client, and holds the server to what it must not cost. */
async function beside(server: ServerProcess, abuse: () => Promise<void>): Promise<void> {
  const healthy = await followBeside(server)
  await healthy.isServed()
  const { rssBytes } = await server.rest()
  healthy.look()
  await Promise.all([abuse(), healthy.isServed()])
  const { updates, pongs, isWhole } = healthy.look()
  await healthy.isServed()
  const { mostBytes } = await server.memory()
  await healthy.leave()
  if (process.env.REPORT_ABUSE) {
    console.log(expect.getState().currentTestName, { updates, pongs, growthMb: Math.round((mostBytes - rssBytes) / 1e6) })
  }
  expect(isWhole).toBe(true)
  expect(updates).toBeGreaterThan(0)
  expect(pongs).toBeGreaterThan(0)
  expect(server.isAlive()).toBe(true)
  expect(mostBytes - rssBytes).toBeLessThan(MOST_GROWTH_BYTES)
}

async function openSocketsOf({ url }: ServerProcess): Promise<number> {
  const { text } = await send(url, 'GET', '/metrics')
  return Number(/^polyphony_open_sockets (\d+)$/m.exec(text)?.[1] ?? Number.NaN)
}

const openMany = (url: string, count: number): Promise<readonly RawSocket[]> =>
  Promise.all(Array.from({ length: count }, () => openRawSocket(url)))

/** Writes until the server has had enough or there is nothing left. */
async function pour({ tcp, closed }: RawSocket, piece: Buffer, times: number): Promise<number> {
  for (let written = 0; written < times && tcp.writable; written++) {
    if (!tcp.write(piece)) await Promise.race([new Promise((resolve) => tcp.once('drain', resolve)), closed])
  }
  return closed
}

test('a thousand sockets that never read cost little, and are closed', { timeout: 300_000 }, async () => {
  const server = await startServerProcess({ server: { sockets: { slowAfterMs: 3_000 } } })
  onTestFinished(() => server.kill())
  const pieces = Math.ceil(((await bytesThatFit()) + 1_000_000) / 10_000)
  const flowId = await createWritingFlow(server.url, { pieces, everyMs: 1, characters: 10_000, inShort: true })
  await beside(server, async () => {
    const subscribe = toFrame({ opcode: OPCODE.text, payload: JSON.stringify({ type: 'subscribe', flowId }) })
    const sockets: RawSocket[] = []
    for (let count = 0; count < 1_000; count += 50) sockets.push(...(await openMany(server.url, 50)))
    for (const { tcp } of sockets) {
      tcp.pause()
      tcp.write(subscribe)
    }
    const reader = await connect(server.url)
    reader.send({ type: 'subscribe', flowId })
    await reader.next(({ type }) => type === 'subscribed')
    await startFlow(server.url, flowId)
    const end = await Promise.race([reader.next(({ type }) => type === 'end'), reader.closed])
    expect(end).toMatchObject({ type: 'end', status: 'COMPLETED' })
    expect((await server.memory()).waitingBytes).toBeGreaterThan(100_000_000)
    // Nobody reads: the server has to find that out by itself.
    while ((await openSocketsOf(server)) > 2) await new Promise((resolve) => setTimeout(resolve, 50))
    for (const { tcp } of sockets) tcp.resume()
    expect(new Set(await Promise.all(sockets.map(({ closed }) => closed)))).toEqual(new Set([1006]))
  })
})

test('fifty clients that send 131,000 fragments of one byte each are closed', { timeout: 300_000 }, async () => {
  const fragments = Buffer.concat([
    toFrame({ opcode: OPCODE.text, payload: '{', fin: false }),
    ...Array.from({ length: 131_000 }, () => toFrame({ opcode: OPCODE.continuation, payload: ' ', fin: false })),
  ])
  await beside(server, async () => {
    const sockets = await openMany(server.url, 50)
    const codes = await Promise.all(sockets.map((socket) => pour(socket, fragments, 1)))
    expect(codes.filter((code) => code !== 1008 && code !== 1006)).toEqual([])
    expect(codes.filter((code) => code === 1008).length).toBeGreaterThan(0)
  })
})

test.each([
  ['messages', toFrame({ opcode: OPCODE.text, payload: '{"type":"ping"}' })],
  ['subscriptions', toFrame({ opcode: OPCODE.text, payload: '{"type":"subscribe","flowId":"none"}' })],
  ['pings', toFrame({ opcode: OPCODE.ping, payload: 'x'.repeat(125) })],
  ['answers to pings that were never sent', toFrame({ opcode: OPCODE.pong, payload: 'x'.repeat(125) })],
  ['empty messages', toFrame({ opcode: OPCODE.text })],
  ['text that is no JSON', toFrame({ opcode: OPCODE.text, payload: '{{{{' })],
  ['bytes', toFrame({ opcode: OPCODE.binary, payload: Buffer.alloc(10) })],
])('a flood of %s ends the connection that sends it', { timeout: 300_000 }, async (_, frame) => {
  const flood = Buffer.concat(Array.from({ length: 1_000 }, () => frame))
  await beside(server, async () => {
    const sockets = await openMany(server.url, 50)
    const codes = await Promise.all(sockets.map((socket) => pour(socket, flood, 200)))
    expect(codes.filter((code) => ![4029, 1008, 1006].includes(code))).toEqual([])
    expect(codes.filter((code) => code !== 1006).length).toBeGreaterThan(0)
  })
})

test('a flood of long requests whose answers are not read does not accumulate', { timeout: 300_000 }, async () => {
  const keys = Array.from({ length: 20_000 }, (_, index) => `"k${index}":1`).join(',')
  const misfit = toFrame({ opcode: OPCODE.text, payload: `{"type":"ping",${keys}}` })
  const fit = toFrame({ opcode: OPCODE.text, payload: '{"type":"ping"}' })
  await beside(server, async () => {
    const sockets = await openMany(server.url, 5)
    const round = Buffer.concat([...Array.from({ length: 40 }, () => misfit), fit])
    for (const { tcp } of sockets) {
      tcp.pause()
      for (let times = 0; times < 5; times++) tcp.write(round)
    }
    // Each answer to somebody else gives it time to read on what was sent.
    for (let times = 0; times < 200; times++) await send(server.url, 'GET', '/livez')
    for (const { tcp } of sockets) tcp.destroy()
  })
})

test('a message of 100 MB is refused at its header, in one fragment or in many', { timeout: 300_000 }, async () => {
  const megabyte = Buffer.alloc(1_000_000, 0x20)
  await beside(server, async () => {
    const [whole, pieces] = await openMany(server.url, 2)
    if (!whole || !pieces) throw new Error('expected two sockets')
    whole.tcp.write(toFrame({ opcode: OPCODE.text, saidLength: 100_000_000n }))
    expect([1009, 1006]).toContain(await pour(whole, megabyte, 100))
    pieces.tcp.write(toFrame({ opcode: OPCODE.text, payload: megabyte.subarray(0, 50_000), fin: false }))
    const next = toFrame({ opcode: OPCODE.continuation, payload: megabyte.subarray(0, 50_000), fin: false })
    expect([1009, 1006]).toContain(await pour(pieces, next, 2_000))
  })
})

const broken: readonly (readonly [string, Buffer, number])[] = [
  ['a length of 2^31', toFrame({ opcode: OPCODE.text, saidLength: 2n ** 31n }), 1009],
  ['a length of 2^32', toFrame({ opcode: OPCODE.text, saidLength: 2n ** 32n }), 1009],
  ['a length of 2^53', toFrame({ opcode: OPCODE.text, saidLength: 2n ** 53n }), 1009],
  ['a length of 2^63', toFrame({ opcode: OPCODE.text, saidLength: 2n ** 63n }), 1009],
  ['a length of 2^64 - 1', toFrame({ opcode: OPCODE.binary, saidLength: 2n ** 64n - 1n }), 1009],
  ['a byte more than a message may have', toFrame({ opcode: OPCODE.text, saidLength: 262_145n }), 1009],
  ['a frame without a mask', toFrame({ opcode: OPCODE.text, payload: '{}', masked: false }), 1002],
  ['bits that nobody agreed on', toFrame({ opcode: OPCODE.text, payload: '{}', reserved: 4 }), 1002],
  ['an opcode that there is not', toFrame({ opcode: 3, payload: '{}' }), 1002],
  ['a continuation of nothing', toFrame({ opcode: OPCODE.continuation, payload: '{}' }), 1002],
  ['a ping in fragments', toFrame({ opcode: OPCODE.ping, fin: false }), 1002],
  ['a ping that is too long', toFrame({ opcode: OPCODE.ping, saidLength: 126n }), 1002],
  ['a closing code that there is not', toFrame({ opcode: OPCODE.close, payload: Buffer.from([0, 1]) }), 1002],
  ['a closing reason that is no text', toFrame({ opcode: OPCODE.close, payload: Buffer.from([3, 0xe8, 0xff]) }), 1007],
  ['a message that is no text', toFrame({ opcode: OPCODE.text, payload: Buffer.from([0xff, 0xfe]) }), 1007],
]

test('a connection that violates the protocol is closed with a reason, and no other one is', async () => {
  const told: (readonly [string, number])[] = []
  await beside(server, async () => {
    await Promise.all(
      broken.map(async ([name, frame]) => {
        const socket = await openRawSocket(server.url)
        socket.tcp.write(frame)
        told.push([name, await socket.closed])
      }),
    )
  })
  expect(new Map(told)).toEqual(new Map(broken.map(([name, , code]) => [name, code])))
})

test('a thousand connections with incomplete requests are closed', { timeout: 300_000 }, async () => {
  const halves = [
    '',
    'GET /api/v1/flo',
    'GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgr',
    `POST /api/v1/threads HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: ${'x'.repeat(2_000)}`,
  ]
  await beside(server, async () => {
    const closed: Promise<unknown>[] = []
    for (let count = 0; count < 1_000; count++) {
      if (count % 5 === 4) {
        closed.push((await openRawSocket(server.url)).closed)
        continue
      }
      const tcp = await openTcp(server.url)
      tcp.resume()
      tcp.write(halves[count % 5] ?? '')
      closed.push(new Promise((resolve) => tcp.once('close', resolve)))
    }
    await Promise.all(closed)
  })
})

test('clients that were refused or sent invalid data do not keep their connections', async () => {
  const host = new URL(server.url).host
  const upgrade =
    'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
  const requests = [
    `GET /ws HTTP/1.1\r\nHost: ${host}\r\nOrigin: https://evil.example\r\n${upgrade}\r\n`,
    `GET /ws HTTP/1.1\r\nHost: evil.example\r\n${upgrade}\r\n`,
    `GET /nowhere HTTP/1.1\r\nHost: ${host}\r\n${upgrade}\r\n`,
    `GET /ws HTTP/1.1\r\nHost: ${host}\r\n${upgrade.replace('13', '7')}\r\n`,
    'nonsense\r\n\r\n',
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    `GET / HTTP/1.1\r\nHost: ${host}\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n`,
  ]
  await Promise.all(
    requests.map(async (request) => {
      const tcp = await openTcp(server.url, { allowHalfOpen: true })
      tcp.write(request)
      tcp.resume()
      // Half open on this side: the connection only ends when the server closes it for good.
      await new Promise((resolve) => tcp.once('end', resolve))
      while (!tcp.destroyed) {
        tcp.write('x')
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }),
  )
  expect(server.isAlive()).toBe(true)
})

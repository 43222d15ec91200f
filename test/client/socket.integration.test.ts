import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import type { ClientOptions, FlowUpdate, PolyphonySocket, SocketOptions } from '../../src/client/client.ts'
import { rejection } from '../support/caught.ts'
import { until } from '../support/flows.ts'
import { updatesOf } from './flow-server.ts'
import { createQuickClient, problemOf } from './scripted-server.ts'
import { createSocketServer, type SocketServer } from './socket-server.ts'

let server: SocketServer
let sockets: PolyphonySocket[] = []
beforeAll(async () => {
  server = await createSocketServer()
})
afterAll(() => server.close())
beforeEach(() => server.play({}))
afterEach(() => {
  for (const socket of sockets) socket.close()
  sockets = []
})

function open(options: SocketOptions = {}, clientOptions: Partial<ClientOptions> = {}) {
  const { client, delays } = createQuickClient(server, { WebSocket, ...clientOptions })
  const socket = client.socket(options)
  sockets.push(socket)
  return { socket, delays }
}
async function collect(loop: AsyncIterable<FlowUpdate>): Promise<readonly FlowUpdate[]> {
  const collected: FlowUpdate[] = []
  for await (const update of loop) collected.push(update)
  return collected
}
const flow = (flowId: string, count: number) =>
  updatesOf(Array.from({ length: count }, (_, index) => `${flowId}${index}`)).map((update) => ({ ...update, flowId }))
const asked = () =>
  server.frames.map(
    ({ frame }) => `${frame.type} ${'flowId' in frame ? frame.flowId : ''}${'afterSeq' in frame ? ` ${frame.afterSeq}` : ''}`,
  )

describe('updates over a socket', () => {
  test('of many flows arrive over one connection, once and in order, wherever connections end', async () => {
    const fate = fc.record({
      frames: fc.nat({ max: 30 }),
      how: fc.constantFrom('reset' as const, 1001, 1006 as const, 1011, 4008, 4029),
    })
    const valid = fate.map(({ frames, how }) => ({ frames: frames + 1, how: how === 1006 ? ('reset' as const) : how }))
    const counts = fc.array(fc.nat({ max: 12 }), { minLength: 1, maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(counts, fc.array(valid, { maxLength: 5 }), fc.nat({ max: 3 }), async (lengths, fates, afterSeq) => {
        const flows = lengths.map((count, index) => flow(`f${index}`, count))
        server.play(Object.fromEntries(flows.map((updates, index) => [`f${index}`, updates])), ...fates)
        const { socket } = open()
        const collected = await Promise.all(flows.map((_, index) => collect(socket.follow(`f${index}`, { afterSeq }))))
        expect(collected).toEqual(flows.map((updates) => updates.slice(afterSeq)))
        socket.close()
      }),
      { numRuns: 100 },
    )
  }, 120_000)

  test('are yielded once when the server repeats them', async () => {
    const [first, second] = flow('f', 2)
    server.answerWith(() => [first, first, second, first, second, { type: 'end', flowId: 'f', status: 'COMPLETED', lastSeq: 2 }])
    expect(await collect(open().socket.follow('f'))).toEqual([first, second])
  })

  test('that the server merged stay merged', async () => {
    const [first, , third] = flow('f', 3)
    server.play({})
    server.answerWith(() => [first, third, { type: 'end', flowId: 'f', status: 'COMPLETED', lastSeq: 3 }])
    expect(await collect(open().socket.follow('f'))).toEqual([first, third])
  })

  test('stay at the server while the loop is slow, and none is lost', async () => {
    const many = flow('f', 3_000)
    server.play({ f: many })
    const loop = open().socket.follow('f')
    expect((await loop.next()).value).toEqual(many[0])
    const stops = () => asked().filter((line) => line === 'unsubscribe f').length
    await until(() => stops() === 1)
    const sentUntilThen = server.sent
    expect(sentUntilThen).toBeLessThan(1_500)
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(server.sent - sentUntilThen).toBeLessThan(10)
    const rest: unknown[] = []
    for await (const update of loop) {
      rest.push(update)
      if (rest.length === 1_100) await until(() => stops() === 2)
    }
    expect(rest).toEqual(many.slice(1))
  })

  test('reach a loop that starts while another one of the same flow ends', async () => {
    server.play({ f: flow('f', 200) })
    const { socket } = open()
    for (let round = 0; round < 3; round++) {
      let count = 0
      for await (const { seq } of socket.follow('f')) {
        expect(seq).toBe(++count)
        if (count === 5) break
      }
    }
    expect(await collect(socket.follow('f'))).toHaveLength(200)
    expect(server.handshakes).toHaveLength(1)
  })

  test('of one flow go to only one loop of a socket', async () => {
    server.play({ f: flow('f', 50) })
    const { socket } = open()
    const first = collect(socket.follow('f'))
    expect(await rejection(collect(socket.follow('f')))).toMatchObject({ code: 'INPUT_INVALID' })
    expect(await first).toHaveLength(50)
  })
})

describe('the connection of a socket', () => {
  test('is not opened before it is needed', async () => {
    open().socket.follow('f')
    await new Promise((resolve) => setImmediate(resolve))
    expect(server.handshakes).toEqual([])
  })

  test('authenticates with a header if the platform supports it', async () => {
    server.play({ f: flow('f', 1) })
    await collect(open({}, { apiKey: 'pk_1_x', headers: { 'x-team': 'blue' } }).socket.follow('f'))
    expect(server.handshakes[0]).toMatchObject({
      authorization: 'Bearer pk_1_x',
      'sec-websocket-protocol': 'polyphony.v1',
      'x-team': 'blue',
    })
    expect(server.tickets).toBe(0)
  })

  test('authenticates with a new ticket each time on other platforms', async () => {
    server.play({ f: flow('f', 10) }, { frames: 4 })
    expect(await collect(open({}, { apiKey: 'pk_1_x', socketAuth: 'ticket' }).socket.follow('f'))).toHaveLength(10)
    expect(server.handshakes.map((headers) => [headers['sec-websocket-protocol'], headers.authorization])).toEqual([
      ['polyphony.v1,ticket.t1', undefined],
      ['polyphony.v1,ticket.t2', undefined],
    ])
  })

  test('fails with INPUT_INVALID on a platform without a WebSocket', async () => {
    vi.stubGlobal('WebSocket', undefined)
    onTestFinished(() => void vi.unstubAllGlobals())
    const { socket } = open({}, { WebSocket: undefined })
    expect(await rejection(collect(socket.follow('f')))).toMatchObject({ code: 'INPUT_INVALID' })
  })

  test('is opened with the WebSocket of the platform if there is one', async () => {
    server.play({ f: flow('f', 2) })
    vi.stubGlobal('WebSocket', WebSocket)
    onTestFinished(() => void vi.unstubAllGlobals())
    expect(await collect(open({}, { WebSocket: undefined }).socket.follow('f'))).toHaveLength(2)
  })

  test.each(['header', 'ticket'] as const)(
    'ends every loop and request when it is refused permanently (%s)',
    async (socketAuth) => {
      server.refuse(401)
      const { socket, delays } = open({}, { socketAuth, apiKey: 'pk_1_x' })
      const expected = { code: 'UNAUTHENTICATED', status: 401 }
      const errors = await Promise.all([
        rejection(collect(socket.follow('f'))),
        rejection(collect(socket.follow('g'))),
        rejection(socket.cancel('f')),
      ])
      for (const error of errors) expect(error).toMatchObject(expected)
      expect(delays).toEqual([])
      server.play({ f: flow('f', 2) })
      expect(await collect(socket.follow('f'))).toHaveLength(2)
    },
  )

  test.each(['header', 'ticket'] as const)(
    'is retried with growing delays after a temporary refusal, but not for ever (%s)',
    async (socketAuth) => {
      server.refuse(503)
      const failures: number[] = []
      const { socket, delays } = open(
        { maxReconnects: 3, onReconnect: (reconnection) => failures.push(reconnection.failures) },
        { socketAuth },
      )
      expect(PolyphonyErrorCode(await rejection(collect(socket.follow('f'))))).toMatch(/NETWORK|SERVER_CLOSING/)
      expect(delays).toEqual([375, 750, 1_500])
      expect(failures).toEqual([1, 2, 3])
    },
  )

  test('stops waiting for a token when the socket is closed', async () => {
    const { socket } = open({}, { token: () => new Promise(() => {}) })
    const loop = collect(socket.follow('f'))
    setImmediate(() => socket.close())
    expect(await loop).toEqual([])
    expect(server.handshakes).toEqual([])
  })

  test('is not reopened when the server closes it because of the protocol', async () => {
    server.play({ f: flow('f', 5) }, { frames: 1, how: 1008 })
    expect(await rejection(collect(open().socket.follow('f')))).toMatchObject({
      code: 'BAD_ANSWER',
      message: expect.stringContaining('as scripted'),
    })
    expect(server.handshakes).toHaveLength(1)
  })
})

describe('a loop of a socket', () => {
  test('throws when the server refuses it, and the other loops continue', async () => {
    server.play({ f: flow('f', 5) })
    server.answerWith((frame) =>
      frame.type === 'subscribe' && frame.flowId === 'other'
        ? [{ type: 'refused', requestId: frame.requestId, flowId: 'other', problem: problemOf(404, 'FLOW_NOT_FOUND') }]
        : undefined,
    )
    const { socket } = open()
    const [error, updates] = await Promise.all([rejection(collect(socket.follow('other'))), collect(socket.follow('f'))])
    expect(error).toMatchObject({ code: 'FLOW_NOT_FOUND', status: 404 })
    expect(updates).toHaveLength(5)
  })

  test('subscribes again after a temporary refusal, and continues after its last update', async () => {
    const updates = flow('f', 4)
    let refusals = 0
    server.play({ f: updates })
    server.answerWith((frame) => {
      if (frame.type !== 'subscribe' || ++refusals > 2) return undefined
      const problem = problemOf(503, 'DATABASE_UNAVAILABLE', { retryable: true })
      return refusals === 1
        ? [{ type: 'refused', requestId: frame.requestId, problem }]
        : [updates[0], { type: 'refused', flowId: 'f', problem }]
    })
    const { socket, delays } = open()
    expect(await collect(socket.follow('f'))).toEqual(updates)
    expect(asked()).toEqual(['subscribe f 0', 'subscribe f 0', 'subscribe f 1'])
    expect(delays).toEqual([375, 375])
  })

  test('throws after too many temporary refusals', async () => {
    server.answerWith(({ requestId }) => [
      { type: 'refused', requestId, problem: problemOf(503, 'DATABASE_UNAVAILABLE', { retryable: true }) },
    ])
    expect(await rejection(collect(open({ maxReconnects: 2 }).socket.follow('f')))).toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
    })
    expect(server.frames).toHaveLength(3)
  })

  test('is unsubscribed when it is left, and at once, without an error, when its signal is aborted', async () => {
    server.play({ f: flow('f', 10), g: flow('g', 10) })
    server.answerWith((frame) => (frame.type === 'subscribe' ? [flow(frame.flowId, 1)[0]] : undefined))
    const { socket } = open()
    for await (const _ of socket.follow('f')) break
    await until(() => asked().includes('unsubscribe f'))
    const abort = new AbortController()
    const taken: number[] = []
    for await (const { seq } of socket.follow('g', { signal: abort.signal })) {
      taken.push(seq)
      abort.abort()
      await until(() => asked().includes('unsubscribe g'))
    }
    expect(taken).toEqual([1])
    const again = new AbortController()
    const waiting = socket.follow('g', { signal: again.signal })
    await waiting.next()
    setImmediate(() => again.abort())
    expect(await waiting.next()).toEqual({ done: true, value: undefined })
    expect(await collect(socket.follow('g', { signal: AbortSignal.abort() }))).toEqual([])
  })

  test('ends without an error when the socket is closed, together with the connection', async () => {
    server.play({})
    server.answerWith(() => [])
    const { socket } = open()
    const loop = collect(socket.follow('f'))
    const request = rejection(socket.cancel('g'))
    await until(() => server.frames.length === 2)
    socket.close()
    expect(await loop).toEqual([])
    expect(await request).toMatchObject({ code: 'NETWORK', message: 'The socket was closed' })
    await until(() => server.openSockets === 0)
    expect(await rejection(socket.execute('f'))).toMatchObject({ code: 'INPUT_INVALID' })
    expect(await rejection(collect(socket.follow('f')))).toMatchObject({ code: 'INPUT_INVALID' })
  })
})

describe('a request over a socket', () => {
  test('receives its own answer', async () => {
    const { socket } = open()
    const [executed, cancelled] = await Promise.all([
      socket.execute('f', { input: 'x', limits: { maxSteps: 3 } }),
      socket.cancel('g'),
    ])
    expect([executed, cancelled]).toEqual([
      { flowId: 'f', status: 'RUNNING' },
      { flowId: 'g', status: 'CANCELLED' },
    ])
    expect(server.frames[0]?.frame).toMatchObject({
      type: 'execute',
      flowId: 'f',
      options: { input: 'x', limits: { maxSteps: 3 } },
    })
  })

  test('rejects with the error of the server', async () => {
    server.answerWith(({ requestId }) => [
      { type: 'refused', requestId, problem: problemOf(409, 'FLOW_ALREADY_RUNNING', { retryable: true }) },
    ])
    expect(await rejection(open().socket.execute('f'))).toMatchObject({ code: 'FLOW_ALREADY_RUNNING', status: 409 })
  })

  test('is not repeated for execute when the connection ends before the answer, and is repeated for cancel', async () => {
    server.play({}, { frames: 1 })
    const lost = { type: 'pong' }
    server.answerWith((frame) => (server.handshakes.length === 1 ? (frame.type === 'cancel' ? [lost] : []) : undefined))
    const { socket } = open()
    const executed = rejection(socket.execute('f'))
    const cancelled = socket.cancel('g')
    expect(await executed).toMatchObject({ code: 'NETWORK', retryable: true })
    expect(await cancelled).toMatchObject({ status: 'CANCELLED' })
    expect(server.frames.map(({ connection, frame }) => [connection, frame.type])).toEqual([
      [0, 'execute'],
      [0, 'cancel'],
      [1, 'cancel'],
    ])
  })

  test('that is too large rejects with REQUEST_TOO_LARGE', async () => {
    server.play({}, { frames: 1, how: 1009 })
    server.answerWith((frame) => (frame.type === 'execute' ? [{ type: 'pong' }] : undefined))
    expect(await rejection(open().socket.execute('f'))).toMatchObject({ code: 'REQUEST_TOO_LARGE' })
  })

  test('is refused before it is sent if JSON cannot express it, and ends with its signal', async () => {
    server.answerWith(() => [])
    const { socket } = open()
    expect(await rejection(socket.execute('f', { metadata: { run: () => 1 } }))).toMatchObject({
      code: 'INPUT_INVALID',
      pointer: '#/options/metadata/run',
    })
    expect(server.handshakes).toEqual([])
    const abort = new AbortController()
    const request = socket.execute('f', {}, { signal: abort.signal })
    await until(() => server.frames.length === 1)
    abort.abort('enough')
    expect(await rejection(request)).toBe('enough')
    expect(await rejection(socket.cancel('f', { signal: AbortSignal.abort('before') }))).toBe('before')
  })
})

const PolyphonyErrorCode = (error: unknown): string =>
  typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : ''

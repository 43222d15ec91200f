import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { createClient, type FlowUpdate, type Reconnection, type SocketEvent } from '../../src/client/client.ts'
import { rejection } from '../support/caught.ts'
import { updatesOf } from './flow-server.ts'

const [first, second, third] = updatesOf(['a', 'b', 'c'])
const END = 'event: end\ndata: {"flowId":"f","status":"COMPLETED","lastSeq":3}\n\n'
const eventOf = (update: unknown) => `data: ${JSON.stringify(update)}\n\n`

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval'] })
})
afterEach(() => {
  vi.useRealTimers()
})

/** A fetch whose answers a test sends chunk by chunk. */
function createFetch() {
  const asked: {
    url: string
    signal: AbortSignal | null | undefined
    isClosed: boolean
    answer: () => void
    send: (text: string) => void
  }[] = []
  const fetch: typeof globalThis.fetch = (url, { signal } = {}) =>
    new Promise((resolve, reject) => {
      const encoder = new TextEncoder()
      let chunks: ReadableStreamDefaultController<Uint8Array> | undefined
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          chunks = controller
        },
        cancel() {
          request.isClosed = true
        },
      })
      const request = {
        url: String(url),
        signal,
        isClosed: false,
        answer: () => resolve(new Response(body, { headers: { 'content-type': 'text/event-stream' } })),
        send: (text: string) => chunks?.enqueue(encoder.encode(text)),
      }
      signal?.addEventListener('abort', () => {
        request.isClosed = true
        reject(signal.reason)
      })
      asked.push(request)
    })
  return { fetch, asked }
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms)

test('a call is repeated when its answer takes longer than a minute, or longer than its timeoutMs', async () => {
  const { fetch, asked } = createFetch()
  const client = createClient({ baseUrl: 'http://flows.test', fetch, random: () => 0 })
  const read = rejection(client.me.get())
  await pass(59_999)
  expect([asked.length, asked[0]?.isClosed]).toEqual([1, false])
  await pass(1)
  expect(asked[0]?.isClosed).toBe(true)
  await pass(249)
  expect(asked).toHaveLength(1)
  await pass(1)
  expect(asked).toHaveLength(2)
  await pass(250_000)
  expect(await read).toMatchObject({ code: 'NETWORK', message: 'http://flows.test did not answer within 60000 ms' })
  expect(asked).toHaveLength(4)

  const removed = rejection(client.threads.delete('t', { timeoutMs: 20 }))
  await pass(20)
  expect(await removed).toMatchObject({ message: 'http://flows.test did not answer within 20 ms' })
})

test('executeStep has no timeout', async () => {
  const { fetch, asked } = createFetch()
  const abort = new AbortController()
  const step = rejection(
    createClient({ baseUrl: 'http://flows.test', fetch }).flows.executeStep('f', 's', {}, { signal: abort.signal }),
  )
  await pass(86_400_000)
  expect([asked.length, asked[0]?.isClosed]).toEqual([1, false])
  abort.abort('enough')
  expect(await step).toBe('enough')
})

describe('a stream of updates', () => {
  function follow() {
    const { fetch, asked } = createFetch()
    const reconnections: Reconnection[] = []
    const client = createClient({ baseUrl: 'http://flows.test', fetch, random: () => 0 })
    const loop = client.flows.follow('f', { onReconnect: (reconnection) => reconnections.push(reconnection) })
    return { loop, asked, reconnections }
  }

  test('counts as dead after 45 seconds and a grace period without a byte, before and after the answer; a heartbeat counts', async () => {
    const { loop, asked, reconnections } = follow()
    const taken = loop.next()
    await pass(45_999)
    expect(asked).toHaveLength(1)
    await pass(1)
    expect(asked[0]?.isClosed).toBe(true)
    await pass(250)
    asked[1]?.answer()
    asked[1]?.send(eventOf(first))
    expect((await taken).value).toEqual(first)
    const next = loop.next()
    for (let beat = 0; beat < 10; beat++) {
      await pass(45_500)
      asked[1]?.send(': ping\n\n')
    }
    await pass(46_000)
    expect(asked[1]?.isClosed).toBe(true)
    await pass(250)
    expect(asked.map(({ url }) => url.split('?')[1])).toEqual(['afterSeq=0', 'afterSeq=0', 'afterSeq=1'])
    asked[2]?.answer()
    asked[2]?.send(eventOf(first) + eventOf(second) + eventOf(third) + END)
    expect((await next).value).toEqual(second)
    expect((await loop.next()).value).toEqual(third)
    expect((await loop.next()).done).toBe(true)
    expect(reconnections.map(({ error }) => error.message)).toEqual(['No answer within 45000 ms', 'Nothing arrived for 45000 ms'])
  })

  test('does not count as dead while its loop is slow', async () => {
    const { loop, asked } = follow()
    const taken = loop.next()
    await pass(0)
    asked[0]?.answer()
    asked[0]?.send(eventOf(first))
    await taken
    await pass(600_000)
    expect(asked[0]?.isClosed).toBe(false)
    const next = loop.next()
    asked[0]?.send(eventOf(second) + END)
    expect((await next).value).toEqual(second)
    expect(asked).toHaveLength(1)
  })
})

/** A WebSocket whose messages a test sends. */
class PlayedSocket {
  static opened: PlayedSocket[] = []
  readonly sent: string[] = []
  isClosed = false
  readonly #listeners = new Map<string, (event: SocketEvent) => void>()

  constructor(_url: string, _protocols?: string[]) {
    PlayedSocket.opened.push(this)
  }
  send(text: string): void {
    this.sent.push(text)
  }
  close(): void {
    this.isClosed = true
  }
  addEventListener(type: string, listener: (event: SocketEvent) => void): void {
    this.#listeners.set(type, listener)
  }
  play(type: string, event: Omit<SocketEvent, 'type'> = {}): void {
    this.#listeners.get(type)?.({ type, ...event })
  }
}

describe('a WebSocket of the client', () => {
  test('pings every 20 seconds, and is replaced after 45 seconds and a grace period without a message', async () => {
    PlayedSocket.opened = []
    const { fetch } = createFetch()
    const client = createClient({ baseUrl: 'http://flows.test', fetch, WebSocket: PlayedSocket, random: () => 0 })
    const socket = client.socket()
    const updates: FlowUpdate[] = []
    const loop = (async () => {
      for await (const update of socket.follow('f')) updates.push(update)
    })()
    await pass(0)
    const [one] = PlayedSocket.opened
    one?.play('open')
    for (let minute = 0; minute < 5; minute++) {
      await pass(40_000)
      one?.play('message', { data: '{"type":"pong"}' })
    }
    expect(one?.sent.slice(1)).toEqual(Array.from({ length: 10 }, () => '{"type":"ping"}'))
    one?.play('message', { data: JSON.stringify(first) })
    await pass(45_999)
    expect([PlayedSocket.opened.length, one?.isClosed]).toEqual([1, false])
    await pass(1)
    expect(one?.isClosed).toBe(true)
    await pass(250)
    const [, two] = PlayedSocket.opened
    two?.play('open')
    expect(two?.sent.map((text) => JSON.parse(text))).toMatchObject([{ type: 'subscribe', flowId: 'f', afterSeq: 1 }])
    one?.play('message', { data: JSON.stringify({ ...third, seq: 9 }) })
    two?.play('message', { data: JSON.stringify(second) })
    two?.play('message', { data: '{"type":"end","flowId":"f","status":"COMPLETED","lastSeq":2}' })
    await loop
    expect(updates).toEqual([first, second])
    socket.close()
    expect(two?.isClosed).toBe(true)
    await pass(1_000_000)
    expect(PlayedSocket.opened).toHaveLength(2)
  })
})

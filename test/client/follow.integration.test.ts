import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { FlowUpdate, PolyphonyClient, Reconnection } from '../../src/client/client.ts'
import { rejection } from '../support/caught.ts'
import { until } from '../support/flows.ts'
import { afterSeqOf, mishaps, stream, updatesOf } from './flow-server.ts'
import { answers, createQuickClient, createScriptedServer, type Play, problemOf, type ScriptedServer } from './scripted-server.ts'

let server: ScriptedServer
beforeAll(async () => {
  server = await createScriptedServer()
})
afterAll(() => server.close())

type StreamOptions = Parameters<PolyphonyClient['flows']['follow']>[1]
const updates = updatesOf(['a', 'ü\n\r', '🙂'])

async function collect(client: PolyphonyClient, options?: StreamOptions): Promise<readonly FlowUpdate[]> {
  const collected: FlowUpdate[] = []
  for await (const update of client.flows.follow('f', options)) collected.push(update)
  return collected
}
const sse =
  (...events: readonly string[]): Play =>
  (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end(events.join(''))
  }

describe('the updates of a flow', () => {
  test('arrive once and in order, wherever connections are cut and updates are repeated', async () => {
    const connection = fc.record({
      overlap: fc.nat({ max: 3 }),
      bytes: fc.nat({ max: 5_000 }),
      how: fc.constantFrom('drop' as const, 'close' as const),
      cuts: fc.array(fc.nat({ max: 5_000 }), { maxLength: 12 }),
      lineEnd: fc.constantFrom('\n', '\r', '\r\n'),
    })
    const fate = fc.oneof(
      { weight: 4, arbitrary: connection },
      { weight: 1, arbitrary: fc.constantFrom(...Object.values(mishaps)) },
    )
    const texts = fc.array(fc.string({ unit: 'grapheme', maxLength: 40 }), { maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(
        texts,
        fc.array(fate, { maxLength: 8 }),
        connection,
        fc.nat({ max: 3 }),
        async (deltas, fates, last, afterSeq) => {
          const all = updatesOf(deltas)
          const plays = fates.map((each) => (typeof each === 'function' ? each : stream(all, each)))
          server.play(...plays, stream(all, { ...last, bytes: undefined }))
          expect(await collect(createQuickClient(server).client, { afterSeq })).toEqual(all.slice(afterSeq))
        },
      ),
      { numRuns: 150 },
    )
  }, 120_000)

  test('continue after the last update that the loop consumed', async () => {
    server.play(stream(updates, { within: 3 }), stream(updates))
    const { client } = createQuickClient(server)
    await collect(client, { afterSeq: 1 })
    expect(server.requests.map((request) => [request.path, request.headers['last-event-id'], request.headers.accept])).toEqual([
      ['/api/v1/flows/f/updates?afterSeq=1', '1', 'text/event-stream'],
      ['/api/v1/flows/f/updates?afterSeq=2', '2', 'text/event-stream'],
    ])
  })

  test('are yielded also with unknown types, without events that are not updates', async () => {
    const odd = { seq: 4, flowId: 'f', type: 'brand_new', data: {} }
    server.play(sse('event: news\ndata: {"a":1}\n\n', `data: ${JSON.stringify(odd)}\n\n`, 'event: end\ndata: {}\n\n'))
    expect(await collect(createQuickClient(server).client)).toEqual([odd])
  })

  test('reach several loops of one flow independently', async () => {
    server.play(stream(updates))
    const { client } = createQuickClient(server)
    const [all, rest] = await Promise.all([collect(client), collect(client, { afterSeq: 2 })])
    expect([all, rest]).toEqual([updates, updates.slice(2)])
  })

  test('are read from the network no faster than the loop consumes them', async () => {
    const megabyte = 'x'.repeat(1_000_000)
    const many = updatesOf(Array.from({ length: 60 }, () => megabyte))
    let sent = 0
    server.play(async (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      for (const update of many) {
        if (!response.write(`data: ${JSON.stringify(update)}\n\n`))
          await new Promise((resolve) => response.once('drain', resolve))
        sent++
      }
      response.end('event: end\ndata: {}\n\n')
    })
    const loop = createQuickClient(server).client.flows.follow('f')
    expect((await loop.next()).value?.seq).toBe(1)
    let before = -1
    // Writes until the count no longer changes: then the buffers of both sides and of the system are full.
    await until(async () => {
      const isStill = sent === before
      before = sent
      await new Promise((resolve) => setTimeout(resolve, 40))
      return isStill
    })
    expect(sent).toBeLessThan(40)
    let count = 1
    for await (const { seq } of loop) expect(seq).toBe(++count)
    expect(count).toBe(60)
  })
})

describe('a lost connection of a stream', () => {
  test('is reopened with growing random delays until a byte arrives', async () => {
    const reconnections: Reconnection[] = []
    const drops = Array.from({ length: 7 }, () => answers.drop())
    server.play(...drops, stream(updates, { within: 2 }), answers.drop(), stream(updates))
    const { client, delays } = createQuickClient(server)
    await collect(client, { onReconnect: (reconnection) => reconnections.push(reconnection) })
    expect(delays).toEqual([375, 750, 1_500, 3_000, 6_000, 11_250, 11_250, 375, 750])
    expect(reconnections.map(({ failures }) => failures)).toEqual([1, 2, 3, 4, 5, 6, 7, 1, 2])
    expect(reconnections[0]).toMatchObject({ delayMs: 375, error: { code: 'NETWORK' } })
  })

  test('is given up after maxReconnects failures in a row; heartbeats reset the count', async () => {
    const { client, delays } = createQuickClient(server)
    server.play(answers.drop())
    expect(await rejection(collect(client, { maxReconnects: 2 }))).toMatchObject({ code: 'NETWORK' })
    expect(delays).toHaveLength(2)
    server.play(...Array.from({ length: 5 }, () => sse(': ping\n\n')), stream(updates))
    expect(await collect(client, { maxReconnects: 1 })).toEqual(updates)
    server.play(sse('retry: 1000\n\n'))
    expect(await rejection(collect(client, { maxReconnects: 1 }))).toMatchObject({ message: 'The stream ended before the flow' })
  })

  test('is reopened after the wait that the server requests', async () => {
    const { client, delays } = createQuickClient(server)
    const busy = (after: string) => answers.problem(503, 'SERVER_CLOSING', { retryable: true }, { 'retry-after': after })
    server.play(busy('90'), stream(updates))
    await collect(client)
    expect(delays).toEqual([90_250])
    server.play(busy('601'))
    expect(await rejection(collect(client))).toMatchObject({ code: 'SERVER_CLOSING', retryAfterMs: 601_000 })
  })

  test('is detected and closed when it goes silent, before the answer and during it', async () => {
    const closings: Promise<unknown>[] = []
    const dying =
      (play: Play): Play =>
      (response, request) => {
        closings.push(new Promise((resolve) => response.once('close', resolve)))
        return play(response, request)
      }
    server.play(dying(answers.hang()), dying(stream(updates, { within: 3, how: 'stall' })), stream(updates))
    expect(await collect(createQuickClient(server).client, { idleTimeoutMs: 30 })).toEqual(updates)
    await Promise.all(closings)
    expect(server.requests.length).toBeGreaterThanOrEqual(3)
  })

  test('is reopened with a new token', async () => {
    server.play(stream(updates, { within: 2 }), stream(updates))
    let count = 0
    await collect(createQuickClient(server, { token: () => `t${++count}` }).client)
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer t1', 'Bearer t2'])
  })
})

describe('a loop over the updates of a flow', () => {
  test.each([
    [401, 'UNAUTHENTICATED'],
    [403, 'PERMISSION_DENIED'],
    [404, 'FLOW_NOT_FOUND'],
    [422, 'INPUT_INVALID'],
    [500, 'INTERNAL'],
  ])('throws a permanent error: %d %s', async (status, code) => {
    server.play(answers.problem(status, code))
    expect(await rejection(collect(createQuickClient(server).client))).toMatchObject({ status, code })
    expect(server.requests).toHaveLength(1)
  })

  test.each([
    ['a page', answers.html(200)],
    ['a login', answers.html(401)],
    ['JSON', answers.json(200, {})],
    ['nothing', answers.nothing()],
    ['an event that is not JSON', sse('data: <html>\n\n')],
  ])('throws if something other than the server answers with %s', async (_, answer) => {
    server.play(answer)
    expect(await rejection(collect(createQuickClient(server).client))).toMatchObject({ code: 'BAD_ANSWER' })
    expect(server.requests).toHaveLength(1)
  })

  test('continues after a retryable problem in the stream', async () => {
    const [first] = updates
    const problem = problemOf(503, 'DATABASE_UNAVAILABLE', { retryable: true })
    server.play(
      sse(`data: ${JSON.stringify(first)}\n\n`, `event: problem\ndata: ${JSON.stringify(problem)}\n\n`),
      stream(updates),
    )
    expect(await collect(createQuickClient(server).client)).toEqual(updates)
    expect(server.requests.map(afterSeqOf)).toEqual([0, 1])
  })

  test('throws a permanent problem in the stream after the updates before it', async () => {
    const [first] = updates
    server.play(
      sse(`data: ${JSON.stringify(first)}\n\n`, `event: problem\ndata: ${JSON.stringify(problemOf(401, 'UNAUTHENTICATED'))}\n\n`),
    )
    const taken: number[] = []
    const loop = async () => {
      for await (const { seq } of createQuickClient(server).client.flows.follow('f')) taken.push(seq)
    }
    expect(await rejection(loop())).toMatchObject({ code: 'UNAUTHENTICATED', status: 401, detail: 'what UNAUTHENTICATED says' })
    expect(taken).toEqual([1])
    expect(server.requests).toHaveLength(1)
  })

  test('continues with a new token after the last one expired, and throws with a key', async () => {
    const [first] = updates
    const expired: Play = sse(
      `data: ${JSON.stringify(first)}\n\n`,
      `event: problem\ndata: ${JSON.stringify(problemOf(401, 'UNAUTHENTICATED'))}\n\n`,
    )
    server.play(expired, stream(updates))
    let count = 0
    expect(await collect(createQuickClient(server, { token: () => `t${++count}` }).client)).toEqual(updates)
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer t1', 'Bearer t2'])
    server.play(expired, stream(updates))
    expect(await rejection(collect(createQuickClient(server, { apiKey: 'pk_1_x' }).client))).toMatchObject({ status: 401 })
  })

  test('sends no request before its first step', () => {
    server.play(stream(updates))
    createQuickClient(server).client.flows.follow('f')
    expect(server.requests).toEqual([])
  })

  /** A stream that stays open after its first update. */
  const open: Play = (response, request) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(
      `data: ${JSON.stringify(updates[afterSeqOf(request)])}\n\ndata: ${JSON.stringify(updates[afterSeqOf(request) + 1])}\n\n`,
    )
    closed = new Promise((resolve) => response.once('close', resolve))
  }
  let closed: Promise<unknown> = Promise.resolve()

  test('closes the connection when it is left', async () => {
    server.play(open)
    for await (const _ of createQuickClient(server).client.flows.follow('f')) break
    await closed
    expect(server.requests).toHaveLength(1)
  })

  test('closes the connection when its body throws', async () => {
    server.play(open)
    const loop = async () => {
      for await (const _ of createQuickClient(server).client.flows.follow('f')) throw new Error('mine')
    }
    expect(await rejection(loop())).toMatchObject({ message: 'mine' })
    await closed
  })

  test('ends at once without an error on abort: while waiting for an update, in its body, and before it starts', async () => {
    const { client } = createQuickClient(server)
    for (const late of [false, true]) {
      server.play(open)
      const abort = new AbortController()
      const taken: number[] = []
      for await (const { seq } of client.flows.follow('f', { signal: abort.signal })) {
        taken.push(seq)
        if (!late) abort.abort()
        else if (seq === 2) setImmediate(() => abort.abort())
      }
      expect(taken).toEqual(late ? [1, 2] : [1])
      await closed
    }
    server.play(open)
    expect(await collect(client, { signal: AbortSignal.abort() })).toEqual([])
    expect(server.requests).toEqual([])
  })

  test('ends at once on abort while waiting for the next attempt or for an answer', async () => {
    const abort = new AbortController()
    server.play(answers.drop())
    const waiting = createQuickClient(server, { wait: async () => abort.abort() })
    expect(await collect(waiting.client, { signal: abort.signal })).toEqual([])
    const again = new AbortController()
    server.play(() => again.abort())
    expect(await collect(createQuickClient(server).client, { signal: again.signal })).toEqual([])
  })

  test('closes the connection of an answer that is not a stream', async () => {
    server.play((response) => {
      response.writeHead(200, { 'content-type': 'text/html' })
      response.write('<!doctype html>')
      closed = new Promise((resolve) => response.once('close', resolve))
    })
    expect(await rejection(collect(createQuickClient(server).client))).toMatchObject({ code: 'BAD_ANSWER' })
    await closed
  })

  test('ends at once on abort while waiting for a token', async () => {
    const abort = new AbortController()
    const { client } = createQuickClient(server, {
      token: () => {
        setImmediate(() => abort.abort())
        return new Promise(() => {})
      },
    })
    expect(await collect(client, { signal: abort.signal })).toEqual([])
  })

  test('ends at once when its iterator is returned while waiting', async () => {
    server.play(open)
    const loop = createQuickClient(server).client.flows.follow('f')
    await loop.next()
    await loop.next()
    const third = loop.next()
    await loop.return?.()
    expect(await third).toEqual({ done: true, value: undefined })
    await closed
  })

  test('leaves no listener on a long-lived signal', async () => {
    const { signal } = new AbortController()
    let listeners = 0
    const { addEventListener, removeEventListener } = signal
    signal.addEventListener = (...given: Parameters<AbortSignal['addEventListener']>) => {
      listeners++
      addEventListener.apply(signal, given)
    }
    signal.removeEventListener = (...given: Parameters<AbortSignal['removeEventListener']>) => {
      listeners--
      removeEventListener.apply(signal, given)
    }
    server.play(answers.drop(), stream(updates, { within: 2 }), stream(updates))
    await collect(createQuickClient(server).client, { signal })
    expect(listeners).toBe(0)
  })
})

test('a reader of events that cannot connect again makes one request for each failure that it may have', async () => {
  const unavailable = answers.problem(503, 'DATABASE_UNAVAILABLE', { retryable: true })
  server.play(answers.json(200, { items: [], lastSeq: 3 }), sse(), unavailable)
  const { client } = createQuickClient(server)
  const follow = async () => {
    for await (const _ of client.events.follow({ maxReconnects: 2 }));
  }
  expect(await rejection(follow())).toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
  expect(server.requests.map(({ path }) => path.split('?')[1])).toEqual([
    `afterSeq=${Number.MAX_SAFE_INTEGER}&limit=1`,
    'afterSeq=3',
    'afterSeq=3&limit=1',
    'afterSeq=3&limit=1',
  ])
})

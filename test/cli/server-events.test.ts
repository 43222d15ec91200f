import { expect, test } from 'vitest'
import { createServerEvents, type GetFromServer } from '../../src/cli/control/server-events.ts'
import { rejection } from '../support/caught.ts'

const event = (seq: number) => ({
  id: `e${seq}`,
  seq,
  type: 'order_paid',
  source: 'shop',
  priority: 'normal',
  data: null,
  timestamp: '2026-11-29T12:00:00.000Z',
})

/** A server with so many events, which answers lists page by page and notes what it was asked for. */
function createServer(count: number) {
  const asked: string[] = []
  const get: GetFromServer = async (path) => {
    asked.push(path)
    const { searchParams } = new URL(path, 'http://127.0.0.1')
    const after = Number(searchParams.get('cursor')?.split('.')[0] ?? searchParams.get('afterSeq') ?? 0)
    const size = Math.min(Number(searchParams.get('limit')), count - after)
    const items = Array.from({ length: size }, (_, index) => event(after + index + 1))
    const last = after + size
    return Response.json({ items, lastSeq: last, ...(last < count && { nextCursor: `${last}.0` }) })
  }
  return { asked, events: createServerEvents(get) }
}

const streamOf = (...chunks: readonly string[]) => {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk))
      controller.close()
    },
  })
  return createServerEvents(async () => new Response(body))
}

test('a list that is longer than one answer of the server is read page by page', async () => {
  const { events, asked } = createServer(2_300)
  const found = await events.list({ types: ['order_*', 'other'], correlationId: 'a b' }, 2_200)
  expect(found.map(({ seq }) => seq)).toEqual(Array.from({ length: 2_200 }, (_, index) => index + 1))
  expect(found[0]?.timestamp).toEqual(new Date('2026-11-29T12:00:00.000Z'))
  const filter = '/events?type=order_*%2Cother&correlationId=a+b'
  expect(asked).toEqual([`${filter}&limit=1000`, `${filter}&cursor=1000.0&limit=1000`, `${filter}&cursor=2000.0&limit=200`])
  expect(await events.list({}, 5_000)).toHaveLength(2_300)
})

test('a list after a number continues after numbers, so that it never gets updates of flows', async () => {
  const { events, asked } = createServer(1_500)
  expect((await events.list({ afterSeq: 100 }, 1_200)).at(-1)?.seq).toBe(1_300)
  expect(asked).toEqual(['/events?afterSeq=100&limit=1000', '/events?afterSeq=1100&limit=200'])
})

test('events of a stream are read over any boundary of chunks, gaps are reported, and its end is an error', async () => {
  const text = [1, 2].map((seq) => `id: ${seq}\nevent: order_paid\ndata: ${JSON.stringify(event(seq))}\n\n`)
  const all = `: ping\n\n${text[0]}event: gap\ndata: {"from":0,"to":0}\n\n${text[1]}`
  const events = streamOf(all.slice(0, 5), all.slice(5, 60), all.slice(60))
  const seen: (number | string)[] = []
  const read = async () => {
    const query = { signal: new AbortController().signal, onGap: () => void seen.push('gap') }
    for await (const { seq } of events.stream(query)) seen.push(seq)
  }
  expect(await rejection(read())).toMatchObject({ code: 'SERVER_NOT_RUNNING' })
  expect(seen).toEqual([1, 'gap', 2])
})

test('a stream that was aborted ends without an error', async () => {
  const stop = new AbortController()
  stop.abort()
  const seen: unknown[] = []
  for await (const one of streamOf('').stream({ signal: stop.signal, onGap: () => undefined })) seen.push(one)
  expect(seen).toEqual([])
})

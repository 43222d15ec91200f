import fc from 'fast-check'
import { expect, test } from 'vitest'
import { readEventStream } from '../../src/providers/vendor/event-stream.ts'

function bodyOf(chunks: readonly Uint8Array[], { fails = false, onCancel = () => {} } = {}): Response {
  const left = [...chunks]
  const body = new ReadableStream(
    {
      pull(controller) {
        const chunk = left.shift()
        if (chunk) controller.enqueue(chunk)
        else if (fails) controller.error(new Error('reset'))
        else controller.close()
      },
      cancel: onCancel,
    },
    { highWaterMark: 0 },
  )
  return new Response(body)
}
const bytes = (text: string) => new TextEncoder().encode(text)

async function eventsOf(text: string, cuts: readonly number[] = []) {
  const data = bytes(text)
  const cutPoints = [0, ...cuts.map((cut) => cut % (data.length + 1)).sort((a, b) => a - b), data.length]
  const chunks = cutPoints.slice(1).map((end, index) => data.subarray(cutPoints[index], end))
  const events: unknown[] = []
  const { isMarked } = await readEventStream(bodyOf(chunks), (event) => {
    events.push(event)
    return false
  })
  return { events, ended: isMarked }
}

test('events do not depend on where the bytes are cut, with every line end', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ text: fc.string({ unit: 'grapheme' }) }), { maxLength: 8 }),
      fc.array(fc.nat(), { maxLength: 30 }),
      fc.constantFrom('\n', '\r\n'),
      async (sent, cuts, lineEnd) => {
        const text = sent
          .map((event) => `: ping${lineEnd}event: x${lineEnd}data: ${JSON.stringify(event)}${lineEnd}${lineEnd}`)
          .join('')
        expect(await eventsOf(`${text}data: [DONE]${lineEnd}${lineEnd}`, cuts)).toEqual({ events: sent, ended: true })
        expect(await eventsOf(text, cuts)).toEqual({ events: sent, ended: false })
      },
    ),
    { numRuns: 200 },
  )
})

test('a last event without a final empty line counts if it is complete, and not if it is cut', async () => {
  expect(await eventsOf('data: {"a":1}\n\ndata: {"b":2}')).toEqual({ events: [{ a: 1 }, { b: 2 }], ended: false })
  expect(await eventsOf('data: {"a":1}\n\ndata: {"b":')).toEqual({ events: [{ a: 1 }], ended: false })
  expect(await eventsOf('data: {"a":1}\n\ndata: [DONE]')).toEqual({ events: [{ a: 1 }], ended: true })
})

test('text after the end mark is not read as an event', async () => {
  expect((await eventsOf('data: [DONE]\n\ndata: {"late":1}\n\n')).events).toEqual([])
})

test('data that is not JSON rejects with a SyntaxError and closes the connection', async () => {
  let cancelled = false
  const body = bodyOf([bytes('data: nonsense\n\n'), bytes('data: {}\n\n')], {
    onCancel: () => {
      cancelled = true
    },
  })
  await expect(readEventStream(body, () => false)).rejects.toThrow(SyntaxError)
  expect(cancelled).toBe(true)
})

test('a broken stream rejects with the error of the connection, unless its end mark has arrived', async () => {
  await expect(readEventStream(bodyOf([bytes('data: {}\n\n')], { fails: true }), () => false)).rejects.toThrow('reset')
  expect(await readEventStream(bodyOf([bytes('data: [DONE]\n\n')], { fails: true }), () => false)).toMatchObject({
    isMarked: true,
  })
  expect(await readEventStream(bodyOf([bytes('data: {}\n\n')], { fails: true }), () => true)).toMatchObject({ isMarked: true })
})

test.each([
  ['error: {"type":"error","error":{"message":"m"}}\n\n', { type: 'error', error: { message: 'm' } }],
  ['error: {"error":{"message":"m"}}\n\ndata: [DONE]\n\n', { type: 'error', error: { message: 'm' } }],
  ['error: {"message":"m","code":400}\n\n', { type: 'error', error: { message: 'm', code: 400 } }],
  ['error: plain words\n\n', { type: 'error', error: 'plain words' }],
  ['event: error\ndata: [{"error":{"code":400,"message":"m"}}]\n\n', { type: 'error', error: { code: 400, message: 'm' } }],
  ['data: [{"error":{"code":400,"message":"m"}}]\n\n', { type: 'error', error: { code: 400, message: 'm' } }],
  ['{\n "error": {\n  "message": "m"\n }\n}\n\ndata: [DONE]\n\n', { type: 'error', error: { message: 'm' } }],
])('an error sent as %j after a chunk of text has one form', async (error, expected) => {
  expect((await eventsOf(`data: {"a":1}\n\n${error}`)).events).toEqual([{ a: 1 }, expected])
})

import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { callFactsOf } from '../../src/domain/execution/call-facts.ts'
import { readAnswer, withLinkedSignal } from '../../src/providers/vendor/vendor-http.ts'

const state = () => ({ provider: 'vendor' })

/** A body that arrives in these packets. */
const responseOf = (packets: readonly Uint8Array[], contentType = 'text/event-stream') =>
  new Response(
    new ReadableStream({
      start(controller) {
        for (const packet of packets) controller.enqueue(packet)
        controller.close()
      },
    }),
    { headers: { 'content-type': contentType } },
  )

async function readAll(response: Response, isWhole = () => true): Promise<readonly unknown[]> {
  const events: unknown[] = []
  const onEvent = (event: unknown) => {
    events.push(event)
    return false
  }
  const onWhole = (reply: unknown) => events.push({ whole: reply })
  await readAnswer(response, { streams: true, onEvent, onWhole, endMark: 'its mark', isWhole, state })
  return events
}

describe('readAnswer', () => {
  test.each([
    ['LF', '\n'],
    ['CRLF', '\r\n'],
  ])('reads events with %s independently of cuts, even inside characters', async (_, lineEnd) => {
    const body = Buffer.from(
      `: ping${lineEnd}event: a${lineEnd}data: {"t":"é世👩‍🚀"}${lineEnd}${lineEnd}data:{"t":2}${lineEnd}${lineEnd}`,
    )
    for (let cut = 0; cut <= body.length; cut++) {
      const packets = [body.subarray(0, cut), body.subarray(cut)].filter((packet) => packet.length > 0)
      expect(await readAll(responseOf(packets))).toEqual([{ t: 'é世👩‍🚀' }, { t: 2 }])
    }
  })

  test('rejects an event that is not JSON, a body that is not a stream, and a stream without its end mark, each with its own code', async () => {
    const bytes = (text: string) => [Buffer.from(text)]
    await expect(readAll(responseOf(bytes('data: {oops\n\n')))).rejects.toMatchObject({ code: 'PROVIDER_BAD_REPLY' })
    await expect(readAll(responseOf(bytes('<html></html>'), 'text/html'))).rejects.toMatchObject({ code: 'PROVIDER_BAD_REPLY' })
    await expect(readAll(responseOf(bytes('data: {}\n\n')), () => false)).rejects.toMatchObject({ code: 'PROVIDER_STREAM_CUT' })
  })
})

describe('withLinkedSignal', () => {
  test('leaves no listener on a long-lived signal after success or failure', async () => {
    const controller = new AbortController()
    await withLinkedSignal(controller.signal, state, async () => 'done')
    await expect(withLinkedSignal(controller.signal, state, () => Promise.reject(new Error('broken')))).rejects.toThrow('broken')
    expect(getEventListeners(controller.signal, 'abort')).toEqual([])
  })

  test('aborts its own signal if the work fails, so that the socket closes', async () => {
    let linked: AbortSignal | undefined
    const work = withLinkedSignal(new AbortController().signal, state, async (signal) => {
      linked = signal
      throw new Error('broken')
    })
    await expect(work).rejects.toThrow('broken')
    expect(linked?.aborted).toBe(true)
  })

  test('rejects with the reason and keeps the facts of two calls separate', async () => {
    const reason = new Error('flow cancelled')
    const abortedCall = async (inputTokens: number) => {
      const controller = new AbortController()
      const known = () => ({ provider: 'vendor', generated: true, usage: { inputTokens, source: 'reported' as const } })
      const call = withLinkedSignal(controller.signal, known, async () => {
        controller.abort(reason)
        throw new Error('socket closed')
      })
      await expect(call).rejects.toBe(reason)
      return callFactsOf(controller.signal)
    }
    const [first, second] = await Promise.all([abortedCall(1), abortedCall(2)])
    expect([first.usage, second.usage]).toMatchObject([{ inputTokens: 1 }, { inputTokens: 2 }])
  })
})

import { connect } from 'node:net'
import Fastify from 'fastify'
import { expect, onTestFinished, test } from 'vitest'
import { openTextStream, type TextStream } from '../../../src/server/models/text-stream.ts'

/** An address that answers with a text stream. */
async function serve(heartbeatMs: number, answer: (stream: TextStream) => Promise<void>, onClose = () => {}): Promise<URL> {
  const app = Fastify({ forceCloseConnections: true })
  onTestFinished(() => app.close())
  app.get('/', async (_, reply) => {
    reply.raw.once('close', onClose)
    const stream = openTextStream(reply, { limits: { maxBufferedBytes: 1_000, slowAfterMs: 20 }, heartbeatMs })
    await answer(stream)
    stream.end()
    return reply
  })
  return new URL(await app.listen({ host: '127.0.0.1', port: 0 }))
}

test('a stream without text yet sends comments', async () => {
  const url = await serve(1, () => new Promise(() => {}))
  const answer = await fetch(url)
  expect(answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  const read = await answer.body?.getReader().read()
  expect(new TextDecoder().decode(read?.value)).toMatch(/^(: ping\n\n)+$/)
})

test('nothing is sent before the first event, so that an error can still have its status', async () => {
  const begun: boolean[] = []
  const url = await serve(60_000, async (stream) => {
    begun.push(stream.isStarted)
    await stream.write('data: 1\n\n')
    begun.push(stream.isStarted)
  })
  expect(await (await fetch(url)).text()).toBe('data: 1\n\n')
  expect(begun).toEqual([false, true])
})

test('a reader that reads nothing is disconnected, and little is buffered for it', async () => {
  const piece = 'x'.repeat(100_000)
  let written = 0
  let writtenAtClose: number | undefined
  let tellClosed = () => {}
  const closed = new Promise<void>((resolve) => {
    tellClosed = resolve
  })
  const writeOn = async (stream: TextStream) => {
    for (; written < 1_000; written++) await stream.write(piece)
  }
  const { hostname, port } = await serve(60_000, writeOn, () => {
    writtenAtClose = written
    tellClosed()
  })
  const socket = connect(Number(port), hostname)
  onTestFinished(() => void socket.destroy())
  socket.pause()
  socket.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')
  await closed
  // What the operating system takes before it stops is not known, but it is far from everything.
  expect(writtenAtClose).toBeLessThan(500)
})

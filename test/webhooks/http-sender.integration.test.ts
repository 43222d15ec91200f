import { expect, onTestFinished, test } from 'vitest'
import type { ResolveName } from '../../src/system/public-addresses.ts'
import { createWebhookSender, type WebhookSenderOptions } from '../../src/webhooks/http-sender.ts'
import { answerWith, createReceiver, SECRET } from './receiver.ts'

const never = new AbortController().signal

async function setUp(answer?: Parameters<typeof createReceiver>[0], options: Partial<WebhookSenderOptions> = {}) {
  const receiver = await createReceiver(answer)
  const sender = createWebhookSender({ version: '1.2.3', ...options })
  onTestFinished(async () => {
    sender.close()
    await receiver.close()
  })
  const message = { url: receiver.url, secret: SECRET, id: 'msg_1', sentAt: new Date(), body: '{"type":"error","text":"ü"}' }
  return { receiver, message, send: (url = receiver.url, signal = never) => sender.send({ ...message, url }, signal) }
}

/** The code of a rejection. */
const codeOf = (sent: Promise<unknown>): Promise<unknown> =>
  sent.then(
    () => 'sent',
    (error: { code?: unknown }) => error.code,
  )

test('the reference implementation of Standard Webhooks verifies a message, and refuses it under another secret', async () => {
  const { receiver, send, message } = await setUp()
  expect(await send()).toEqual({ status: 204 })
  expect(receiver.verify(0, SECRET)).toEqual({ type: 'error', text: 'ü' })
  expect(() => receiver.verify(0, `whsec_${Buffer.alloc(32).toString('base64')}`)).toThrow()
  const [{ request } = { request: undefined }] = receiver.received
  expect(request?.method).toBe('POST')
  expect(request?.text).toBe(message.body)
  expect(request?.headers).toMatchObject({ 'content-type': 'application/json', 'user-agent': 'polyphony/1.2.3' })
})

test('a redirect is an answer and is not followed', async () => {
  const other = await createReceiver()
  onTestFinished(other.close)
  const { send } = await setUp(answerWith(302, { location: other.url }))
  expect(await send()).toEqual({ status: 302 })
  expect(other.received).toEqual([])
})

test('an answer without end counts by its status, and its connection is closed after a few bytes', async () => {
  let bytes = 0
  const { receiver, send } = await setUp((response) => {
    response.writeHead(200)
    const chunk = Buffer.alloc(65_536)
    const write = () => {
      bytes += chunk.length
      response.write(chunk, () => response.destroyed || setImmediate(write))
    }
    write()
  })
  expect(await send()).toEqual({ status: 200 })
  await receiver.received[0]?.request.closed
  expect(bytes).toBeLessThan(50_000_000)
})

test('a receiver that does not answer is left after the timeout', async () => {
  const { receiver, send } = await setUp(() => undefined, { timeoutMs: 20 })
  expect(await codeOf(send())).toBe('ABORT_ERR')
  await receiver.received[0]?.request.closed
})

test('an abort ends a message that waits for its answer', async () => {
  const stop = new AbortController()
  const { receiver, send } = await setUp(() => stop.abort())
  expect(await codeOf(send(receiver.url, stop.signal))).toBe('ABORT_ERR')
})

test('a wait that the receiver asks for is read in seconds and as a date', async () => {
  const inTwoMinutes = new Date(Date.now() + 120_000)
  const waits = ['30', inTwoMinutes.toUTCString(), 'soon', '-5']
  const { send } = await setUp((response, count) => answerWith(503, { 'retry-after': waits[count - 1] ?? '' })(response))
  expect(await send()).toEqual({ status: 503, retryAfterMs: 30_000 })
  expect((await send()).retryAfterMs).toBeGreaterThan(110_000)
  expect(await send()).toEqual({ status: 503 })
  expect(await send()).toEqual({ status: 503 })
})

test('a connection that is refused or ends without an answer rejects with its code', async () => {
  const { receiver, send } = await setUp((response) => response.destroy())
  expect(await codeOf(send())).toBe('ECONNRESET')
  await receiver.close()
  expect(await codeOf(send())).toBe('ECONNREFUSED')
})

test('a name that resolves to a private address is refused, while the same address is reached where it is named', async () => {
  const asked: string[] = []
  const resolve: ResolveName = (hostname, _options, callback) => {
    asked.push(hostname)
    callback(null, [{ address: '127.0.0.1', family: 4 }])
  }
  const { receiver, send } = await setUp(undefined, { resolve })
  const { port } = new URL(receiver.url)
  expect(await codeOf(send(`http://hooks.example.com:${port}/hooks`))).toBe('ADDRESS_NOT_PUBLIC')
  expect(await codeOf(send(`http://127.0.0.1.nip.io:${port}/hooks`))).toBe('ADDRESS_NOT_PUBLIC')
  expect(asked).toEqual(['hooks.example.com', '127.0.0.1.nip.io'])
  expect(receiver.received).toEqual([])
  for (const host of ['127.0.0.1', '2130706433', 'localhost', '0x7f.1']) {
    expect(await send(`http://${host}:${port}/hooks`)).toEqual({ status: 204 })
  }
})

import { once } from 'node:events'
import { expect, test } from 'vitest'
import { openTcp } from '../abuse/raw-request.ts'
import { runServer } from '../running-server.ts'
import { exchange, readAnswers } from './raw-bytes.ts'

const WITHIN_MS = 10_000

/** Sends text on a connection of its own and resolves with everything that came back. */
async function send(url: string, text: string): Promise<string> {
  const bytes = await exchange(Number(new URL(url).port), Buffer.from(text), WITHIN_MS)
  if (!bytes) throw new Error('expected the server to close the connection, found it open')
  return bytes.toString('latin1')
}

const [LONG, NO_COLON] = [`X-Long: ${'a'.repeat(20_000)}`, 'no colon']

test.each([
  ['too long', 431, LONG],
  ['unreadable', 400, NO_COLON],
] as const)('a HEAD request whose headers are %s gets status %i and no body', async (_, status, header) => {
  const { url } = await runServer()
  const { host } = new URL(url)
  const request = (method: string) => `${method} /api/v1/me HTTP/1.1\r\nHost: ${host}\r\n${header}\r\n\r\n`

  const [get, head] = [await send(url, request('GET')), await send(url, request('HEAD'))]
  const [answer] = readAnswers(Buffer.from(get, 'latin1')) ?? []
  expect(answer).toMatchObject({ status, contentType: 'application/problem+json' })
  expect(answer?.body).toContain(`"status":${status}`)
  expect(head).toBe(get.slice(0, get.indexOf('\r\n\r\n') + 4))
})

test.each(['/ws', '/elsewhere'])('a HEAD request that asks %s for an upgrade gets no body', async (path) => {
  const { url } = await runServer()
  const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n'
  const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n'
  const head = await send(url, `HEAD ${path} HTTP/1.1\r\nHost: ${new URL(url).host}\r\n${upgrade}${key}\r\n`)
  expect(head).toMatch(/^HTTP\/1\.1 40[04] [^{]*\r\n\r\n$/)
})

test('a POST request gets a body even if its own unreadable body begins like a HEAD request', async () => {
  const { url } = await runServer()
  const { host } = new URL(url)
  const socket = await openTcp(url)
  let answer = ''
  socket.setEncoding('latin1').on('data', (text) => {
    answer += text
  })
  const chunked = 'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n'
  socket.write(`POST /api/v1/threads HTTP/1.1\r\nHost: ${host}\r\n${chunked}\r\n`)
  await once(socket, 'data')
  expect(answer).toBe('HTTP/1.1 100 Continue\r\n\r\n')
  // The server has the head of the request now, so these bytes are a packet of their own.
  socket.write('HEAD / HTTP/1.1\r\n')
  await once(socket, 'close')
  expect(answer).toMatch(/^HTTP\/1\.1 100 .*HTTP\/1\.1 400 Bad Request\r\n.*\r\n\r\n\{.*"code":"REQUEST_MALFORMED"/s)
})

import { expect, test } from 'vitest'
import { watchProcess } from '../../faults/observation.ts'
import { runServer } from '../running-server.ts'
import { exchange, readAnswers } from './raw-bytes.ts'

const H2C = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n'
const WITHIN_MS = 10_000

const observed = watchProcess()

test('a client that offers to upgrade the protocol is served without it, including its body and next request', async () => {
  const { url, send } = await runServer()
  const { host, port } = new URL(url)
  const body = JSON.stringify({ title: 'from Java' })
  const post = `POST /api/v1/threads HTTP/1.1\r\nHost: ${host}\r\n${H2C}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  const get = `GET /api/v1/me HTTP/1.1\r\nHost: ${host}\r\n${H2C}\r\n`
  const answers = readAnswers(
    (await exchange(Number(port), Buffer.from(`${post}${get.repeat(20)}`), WITHIN_MS)) ?? Buffer.alloc(0),
  )
  expect(answers?.map(({ status }) => status)).toEqual([201, ...Array(20).fill(200)])
  expect((await send('GET', '/api/v1/threads')).text).toContain('from Java')
  expect(observed).toEqual({ rejections: [], warnings: [] })
})

test('an invalid WebSocket handshake is refused in the format of all errors', async () => {
  const { url } = await runServer()
  const { host, port } = new URL(url)
  const upgrade = `GET /ws HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`
  for (const headers of [
    '',
    'Sec-WebSocket-Version: 13\r\n',
    'Sec-WebSocket-Version: 7\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n',
  ]) {
    const [answer] =
      readAnswers((await exchange(Number(port), Buffer.from(`${upgrade}${headers}\r\n`), WITHIN_MS)) ?? Buffer.alloc(0)) ?? []
    expect(answer).toMatchObject({ status: 400, contentType: 'application/problem+json' })
    expect(answer?.body).toContain('"code":"INPUT_INVALID"')
  }
})

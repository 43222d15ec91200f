import { expect, test } from 'vitest'
import { openTcp, readAnswer, sendRaw } from './abuse/raw-request.ts'
import { runServer } from './running-server.ts'

const OFFER = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n'

test('a request that offers HTTP/2 is answered, and so is the next on its connection', async () => {
  const { url } = await runServer()
  const { host } = new URL(url)
  const tcp = await openTcp(url)
  const body = JSON.stringify({ title: 'from Java' })
  for (let round = 0; round < 3; round++) {
    const read = readAnswer(tcp)
    tcp.write(`GET /api/v1/me HTTP/1.1\r\nHost: ${host}\r\n${OFFER}\r\n`)
    expect(await read).toMatchObject({ status: 200 })
    const created = readAnswer(tcp)
    const head = `POST /api/v1/threads HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n`
    // The body comes in two pieces, the second after the server has begun with the first.
    tcp.write(`${head}${OFFER}\r\n${body.slice(0, 5)}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
    tcp.write(body.slice(5))
    const answer = await created
    expect([answer.status, JSON.parse(answer.body).title]).toEqual([201, 'from Java'])
  }
})

test('an upgrade offer bypasses no check: hosts, origins and limits still apply', async () => {
  const { url } = await runServer()
  const { host } = new URL(url)
  const own = `Host: ${host}\r\n`
  expect((await sendRaw(url, `GET /api/v1/me HTTP/1.1\r\nHost: evil.example\r\n${OFFER}\r\n`)).status).toBe(421)
  expect((await sendRaw(url, `GET /api/v1/me HTTP/1.1\r\n${own}${own}${OFFER}\r\n`)).status).toBe(421)
  expect((await sendRaw(url, `GET /api/v1/me HTTP/1.1\r\n${own}Origin: https://evil.example\r\n${OFFER}\r\n`)).status).toBe(403)
  expect((await sendRaw(url, `GET /ws HTTP/1.1\r\n${own}${OFFER}\r\n`)).status).toBe(404)
  for (const upgrade of ['WebSocket2', 'TLS/1.0', 'x'.repeat(5_000)]) {
    const answer = await sendRaw(url, `GET /api/v1/me HTTP/1.1\r\n${own}Connection: upgrade\r\nUpgrade: ${upgrade}\r\n\r\n`)
    expect([upgrade, answer.status]).toEqual([upgrade, 200])
  }
  const smuggled = `GET /api/v1/me HTTP/1.1\r\n${own}Connection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n`
  expect((await sendRaw(url, smuggled)).head).toMatch(/^connection: close$/im)
})

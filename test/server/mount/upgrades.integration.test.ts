import { createServer } from 'node:http'
import { expect, onTestFinished, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { mountPolyphony } from '../../../src/server/main.ts'
import { openTestPolyphony } from '../../support/polyphony.ts'
import { sendRaw } from '../abuse/raw-request.ts'
import { connect } from '../socket-client.ts'
import { listen } from './mounted-app.ts'

async function run(...prefixes: readonly string[]) {
  const polyphony = await openTestPolyphony()
  onTestFinished(() => polyphony.close())
  const mounts = await Promise.all(prefixes.map((prefix) => mountPolyphony(polyphony, { prefix, auth: 'local' })))
  const server = createServer((request, response) => {
    const next = (at: number) => () => {
      const mounted = mounts[at]
      if (mounted) mounted.handler(request, response, next(at + 1))
      else response.end('the app')
    }
    next(0)()
  })
  const detach = mounts.map(({ attach }) => attach(server))
  const close = () => Promise.all(mounts.map((mounted) => mounted.close())).then(() => {})
  return { server, mounts, detach, url: await listen(server, close) }
}

/** What a WebSocket of the app says first; rejects where it is refused. */
const greetingOf = (url: string): Promise<string> => {
  const socket = new WebSocket(url.replace('http', 'ws'))
  onTestFinished(() => socket.terminate())
  return new Promise((resolve, reject) => {
    socket.on('message', (data) => resolve(String(data)))
    socket.on('error', reject)
  })
}

const ping = async (url: string) => {
  const client = await connect(url)
  client.send({ type: 'ping' })
  await client.next(({ type }) => type === 'pong')
  return client
}

test('sockets of the app on the same server keep working, whichever was added first', async () => {
  const { server, url } = await run('/polyphony')
  const own = new WebSocketServer({ server, path: '/own' })
  own.on('connection', (socket) => socket.send('hello'))
  await ping(`${url}/polyphony`)
  expect(await greetingOf(`${url}/own`)).toBe('hello')
  await expect(greetingOf(`${url}/unknown`)).rejects.toThrow('400')
  await expect(greetingOf(`${url}/polyphony/other`)).rejects.toThrow('404')
  await ping(`${url}/polyphony`)
})

test('a request of the app that offers an upgrade is answered as before, and so is one under the prefix', async () => {
  const { url } = await run('/polyphony', '/second')
  const { host } = new URL(url)
  const offer = (path: string) =>
    sendRaw(url, `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n\r\n`)
  expect(await offer('/')).toMatchObject({ status: 200, body: expect.stringContaining('the app') })
  expect((await offer('/polyphony/api/v1/me')).status).toBe(200)
  await ping(`${url}/polyphony`)
  await ping(`${url}/second`)
})

test('a detached server leaves upgrades to the app, and closing ends the sockets', async () => {
  const { server, mounts, detach, url } = await run('/polyphony', '/second')
  const client = await ping(`${url}/polyphony`)
  detach[0]?.()
  await expect(connect(`${url}/polyphony`)).rejects.toThrow('Unexpected server response')
  await ping(`${url}/second`)
  const [first, second] = mounts
  await first?.close()
  expect((await client.closed).code).toBe(1001)
  await second?.close()
  expect(server.listenerCount('upgrade')).toBe(0)
})

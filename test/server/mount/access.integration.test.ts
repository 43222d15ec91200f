import { createServer, IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, expect, onTestFinished, test, vi } from 'vitest'
import type { PolyphonyConfigInput } from '../../../src/config/config.ts'
import { type MountAuth, mountPolyphony } from '../../../src/server/main.ts'
import { isLocalClient } from '../../../src/server/mount/local-clients.ts'
import { openTestPolyphony } from '../../support/polyphony.ts'
import { send } from '../running-server.ts'
import { connect } from '../socket-client.ts'
import { listen } from './mounted-app.ts'

afterEach(() => {
  vi.unstubAllEnvs()
})

async function run(auth?: MountAuth, config: PolyphonyConfigInput = {}) {
  const polyphony = await openTestPolyphony(config)
  onTestFinished(() => polyphony.close())
  const mounted = await mountPolyphony(polyphony, { auth, lookEveryMs: 10 })
  const server = createServer(mounted.handler)
  mounted.attach(server)
  const url = `${await listen(server, () => mounted.close())}/polyphony`
  const me = (headers: Readonly<Record<string, string>> = {}) => send(url, 'GET', '/api/v1/me', { headers })
  return { polyphony, mounted, url, me }
}

test('without keys a client of this machine is the local user, until there is a key', async () => {
  const { me, polyphony } = await run('local')
  expect((await me()).json).toMatchObject({ userId: 'local', via: 'local' })
  const { token } = await polyphony.apiKeys.create('ada')
  while ((await me()).status === 200) await delay(20)
  expect((await me()).status).toBe(401)
  expect((await me({ authorization: `Bearer ${token}` })).json).toMatchObject({ userId: 'ada', via: 'key' })
})

test('a request that a proxy has forwarded needs a key, whichever header shows the proxy', async () => {
  const { me, url } = await run('local')
  for (const [name, value] of [
    ['x-forwarded-for', '127.0.0.1'],
    ['x-forwarded-proto', 'https'],
    ['x-forwarded-host', 'localhost'],
    ['x-real-ip', '127.0.0.1'],
    ['forwarded', 'for=127.0.0.1'],
    ['via', '1.1 proxy'],
  ] as const) {
    expect([name, (await me({ [name]: value })).status]).toEqual([name, 401])
  }
  await expect(connect(url, { headers: { 'x-forwarded-for': '127.0.0.1' } })).rejects.toThrow('401')
  expect((await me({ 'x-forwarded-for': '' })).status).toBe(401)
  expect((await me()).status).toBe(200)
})

test('only a loopback address is local, in every form that a socket shows it in', () => {
  const from = (remoteAddress?: string) => {
    const request = new IncomingMessage(new Socket())
    return isLocalClient({ headers: request.headers, socket: { remoteAddress } })
  }
  for (const address of ['127.0.0.1', '127.1.2.3', '::1', '::ffff:127.0.0.1', '::FFFF:127.0.0.9'])
    expect(from(address)).toBe(true)
  for (const address of [undefined, '', '10.0.0.1', '::ffff:10.0.0.1', '::', 'fe80::1', '127.0.0.1.evil.example', '::ffff:']) {
    expect([address, from(address)]).toEqual([address, false])
  }
})

test.each([undefined, 'development', 'production'])(
  'nobody is the local user unless the app asks for it, with NODE_ENV %s',
  async (environment) => {
    vi.stubEnv('NODE_ENV', environment)
    const { me, mounted, url } = await run()
    expect((await me()).status).toBe(401)
    const request = new Request('http://localhost/polyphony/api/v1/me')
    expect((await mounted.fetch(request, { remoteAddress: '127.0.0.1' })).status).toBe(401)
    await expect(connect(url)).rejects.toThrow('401')
    expect((await (await run('keys')).me()).status).toBe(401)
    expect((await (await run('local')).me()).status).toBe(200)
  },
)

test('settings that say that others reach the server ask for keys before it is mounted', async () => {
  for (const server of [{ publicUrl: 'https://app.example.com' }, { trustProxy: true }, { allowedHosts: ['app.example.com'] }]) {
    await expect(run('local', { server }), JSON.stringify(server)).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    const { me } = await run('keys', { server })
    expect((await me()).status).toBe(401)
  }
})

test('the app may name the user of a request, and whom it does not know needs a key', async () => {
  const { me, url, polyphony } = await run(({ headers: { cookie } }) => {
    if (cookie === 'session=ada') return { userId: 'ada' }
    if (cookie === 'session=reader') return { userId: 'bea', scopes: ['read'] }
    return cookie === 'session=broken' ? { userId: '' } : undefined
  })
  expect((await me({ cookie: 'session=ada' })).json).toEqual({
    userId: 'ada',
    via: 'app',
    scopes: ['read', 'write', 'execute', 'share'],
  })
  const denied = await send(url, 'POST', '/api/v1/threads', { headers: { cookie: 'session=reader' } })
  expect([denied.status, denied.json.code]).toEqual([403, 'PERMISSION_DENIED'])
  expect((await me()).status).toBe(401)
  expect((await me({ cookie: 'session=broken' })).status).toBe(500)
  const { token } = await polyphony.apiKeys.create('carl')
  expect((await me({ authorization: `Bearer ${token}` })).json).toMatchObject({ userId: 'carl', via: 'key' })
  // The cookie of a session is not enough for a page of another site.
  const forged = { cookie: 'session=ada', origin: 'https://evil.example' }
  expect((await me(forged)).json.code).toBe('ORIGIN_REFUSED')
  await expect(connect(url, { headers: forged })).rejects.toThrow('403')
})

test('a page gets a ticket with the session of the app, and its socket ends with the session', async () => {
  const session = { expiresAt: new Date(Date.now() + 60_000) }
  const { url } = await run(() => ({ userId: 'ada', ...session }))
  const origin = new URL(url).origin
  await expect(connect(url, { headers: { origin } })).rejects.toThrow('401')
  const ticket = await send(url, 'POST', '/api/v1/tickets', { headers: { origin } })
  const protocols = Array.isArray(ticket.json.protocols) ? ticket.json.protocols.map(String) : []
  const socket = await connect(url, { headers: { origin }, protocols })
  socket.send({ type: 'ping' })
  await socket.next(({ type }) => type === 'pong')
  session.expiresAt = new Date(Date.now() + 100)
  const ending = await connect(url)
  expect(await ending.closed).toMatchObject({ code: 4401 })
})

import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../../src/config/config.ts'
import { findExposure } from '../../../src/server/access/exposure.ts'
import { createHttpServer } from '../../../src/server/server.ts'
import { openTestPolyphony } from '../../support/polyphony.ts'
import { send } from '../running-server.ts'

type ServerInput = NonNullable<PolyphonyConfigInput['server']>

async function build(server: ServerInput) {
  const polyphony = await openTestPolyphony({ server: { port: 0, ...server } })
  const built = await createHttpServer(polyphony)
  onTestFinished(() => built.close().then(() => polyphony.close()))
  return { polyphony, built }
}

const JWT = { issuer: 'https://issuer.example', audience: 'polyphony', jwksUrl: 'http://127.0.0.1:1/jwks' }

const OPEN_TO_OTHERS: readonly ServerInput[] = [
  ...[
    '0.0.0.0',
    '::',
    '[::]',
    '0',
    '192.168.1.7',
    '10.0.0.1',
    '169.254.169.254',
    'example.com',
    '::ffff:127.0.0.1',
    '0:0:0:0:0:0:0:1',
  ],
  ...[
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    '127.999.0.1',
    '127.1',
    '2130706433',
    '0x7f000001',
    'LOCALHOST',
    '127.0.0.1 ',
  ],
].map((host) => ({ host }))
const BEHIND_A_PROXY: readonly ServerInput[] = [
  { publicUrl: 'https://flows.example.com' },
  { publicUrl: 'http://127.0.0.1.evil.example' },
  { host: '127.0.0.2', publicUrl: 'https://flows.example.com' },
  { host: '127.0.0.2', trustProxy: true },
]

test('a server without keys does not start if other machines can reach it', async () => {
  for (const settings of [...OPEN_TO_OTHERS, ...BEHIND_A_PROXY]) {
    const { built } = await build(settings)
    await expect(built.listen(), JSON.stringify(settings)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      details: { key: expect.stringMatching(/^server\.(host|publicUrl|trustProxy)$/) },
    })
    expect(built.app.server.listening).toBe(false)
  }
})

test('a server without keys accepts only this machine', () => {
  const settings = { publicUrl: undefined, trustProxy: false, allowedHosts: ['localhost'] }
  for (const host of ['127.0.0.1', '127.0.0.2', '127.255.255.254', 'localhost', '::1', '[::1]']) {
    expect(findExposure({ ...settings, host }), host).toBe(undefined)
  }
  expect(findExposure({ ...settings, host: '127.0.0.1', publicUrl: 'http://localhost:4100' })).toBe(undefined)
  expect(findExposure({ ...settings, host: '127.0.0.1', allowedHosts: ['flows.example.com'] })).toBe('allowedHosts')
  for (const { host = '' } of OPEN_TO_OTHERS) expect(findExposure({ ...settings, host }), host).toBe('host')
})

test('a server behind a proxy starts with a key and requires it', async () => {
  for (const settings of BEHIND_A_PROXY) {
    const { polyphony, built } = await build(settings)
    const { token, key } = await polyphony.apiKeys.create('ada')
    await built.listen()
    const address = built.app.server.address()
    const port = typeof address === 'object' && address ? address.port : 0
    const me = (given?: string) => send(`http://${settings.host ?? '127.0.0.1'}:${port}`, 'GET', '/api/v1/me', { key: given })
    expect((await me(token)).json).toMatchObject({ userId: 'ada' })
    expect((await me()).status).toBe(401)
    // The last key that goes does not bring the local user back.
    await polyphony.apiKeys.revoke(key.id)
    expect((await me(token)).status).toBe(401)
    expect((await me()).status).toBe(401)
  }
})

test('a server with a token issuer starts without keys and requires a token', async () => {
  const { built } = await build({ host: '127.0.0.2', trustProxy: true, jwt: JWT })
  const url = await built.listen()
  expect((await send(url, 'GET', '/api/v1/me')).status).toBe(401)
})

test('the local user exists until the first key, and not again after the last one is revoked', async () => {
  const { polyphony, built } = await build({ host: '127.0.0.2' })
  const url = await built.listen()
  const me = (key?: string) => send(url, 'GET', '/api/v1/me', { key })
  expect((await me()).json).toMatchObject({ userId: 'local', via: 'local' })
  expect((await me('made-up')).json).toMatchObject({ userId: 'local' })
  const { token, key } = await polyphony.apiKeys.create('ada')
  while ((await me()).status === 200) await sleep(20)
  expect((await me(token)).json).toMatchObject({ userId: 'ada', via: 'key' })
  await polyphony.apiKeys.revoke(key.id)
  for (const given of [undefined, token, 'made-up']) expect((await me(given)).status, given).toBe(401)
})

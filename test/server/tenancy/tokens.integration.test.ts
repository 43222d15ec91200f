import { exportJWK, exportSPKI, generateKeyPair, type JWTHeaderParameters, type JWTPayload, SignJWT } from 'jose'
import { beforeAll, expect, onTestFinished, test } from 'vitest'
import { createLoopback } from '../../support/loopback.ts'
import { runServer } from '../running-server.ts'

const ISSUER = 'https://issuer.example'
const AUDIENCE = 'polyphony'

const pair = (algorithm: string) => generateKeyPair(algorithm, { extractable: true })
let keys: Record<'RS256' | 'ES256' | 'stranger', Awaited<ReturnType<typeof pair>>>
beforeAll(async () => {
  const [RS256, ES256, stranger] = await Promise.all([pair('RS256'), pair('ES256'), pair('RS256')])
  keys = { RS256, ES256, stranger }
})

/** A server that counts who asks it, and answers with the text. */
async function listen(answer: () => string) {
  let asked = 0
  const { url, close } = await createLoopback(({ response }) => {
    asked++
    response.setHeader('content-type', 'application/json')
    response.end(answer())
  })
  onTestFinished(close)
  return {
    url,
    get asked() {
      return asked
    },
  }
}

async function serverWithTokens(settings: Readonly<Record<string, string>> = {}) {
  const published = await Promise.all([
    exportJWK(keys.RS256.publicKey).then((key) => ({ ...key, kid: 'rsa', alg: 'RS256', use: 'sig' })),
    exportJWK(keys.ES256.publicKey).then((key) => ({ ...key, kid: 'ec', alg: 'ES256', use: 'sig' })),
  ])
  const issuer = await listen(() => JSON.stringify({ keys: published }))
  const jwt = { issuer: ISSUER, audience: AUDIENCE, jwksUrl: `${issuer.url}/jwks`, ...settings }
  const running = await runServer({ server: { jwt } })
  return { ...running, issuer, me: (token: string) => running.send('GET', '/api/v1/me', { key: token }) }
}

interface Making {
  readonly claims?: JWTPayload
  readonly header?: Partial<JWTHeaderParameters>
  readonly key?: Parameters<SignJWT['sign']>[0]
}

/** A token as the issuer makes it, but for what is named; `undefined` leaves a claim out. */
function tokenWith({ claims, header, key = keys.RS256.privateKey }: Making = {}): Promise<string> {
  const nowS = Math.floor(Date.now() / 1_000)
  const payload = { iss: ISSUER, aud: AUDIENCE, sub: 'ada', iat: nowS, exp: nowS + 60, scope: 'read write', ...claims }
  return new SignJWT(JSON.parse(JSON.stringify(payload))).setProtectedHeader({ alg: 'RS256', kid: 'rsa', ...header }).sign(key)
}

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

test('a token of the issuer authenticates its user with its scopes', async () => {
  const { me, send } = await serverWithTokens()
  const token = await tokenWith()
  expect((await me(token)).json).toEqual({ userId: 'ada', scopes: ['read', 'write'], via: 'jwt' })
  expect((await send('POST', '/api/v1/threads', { key: token, body: {} })).json).toMatchObject({ userId: 'ada' })
  const refused = await send('PUT', '/api/v1/data-sharing/openai', { key: token, body: {} })
  expect(refused.json).toMatchObject({ code: 'PERMISSION_DENIED', details: { scope: 'share' } })

  const scopesOf = async (claims: JWTPayload) => (await me(await tokenWith({ claims }))).json.scopes
  expect(await scopesOf({ scope: undefined })).toEqual(['read', 'write', 'execute', 'share'])
  expect(await scopesOf({ scope: ['read', 'polyphony:execute', 'root'] })).toEqual(['read', 'execute'])
  expect((await me(await tokenWith({ claims: { scope: 'openid profile' } }))).status).toBe(403)
  expect((await me(await tokenWith({ claims: { scope: null } }))).status).toBe(403)
  const other = await tokenWith({
    header: { alg: 'ES256', kid: 'ec' },
    key: keys.ES256.privateKey,
    claims: { aud: ['x', AUDIENCE] },
  })
  expect((await me(other)).status).toBe(200)
})

test('the user is in the claim that the configuration names', async () => {
  const { me } = await serverWithTokens({ userClaim: 'email', scopeClaim: 'roles' })
  const token = await tokenWith({ claims: { email: 'ada@example.com', roles: ['read'] } })
  expect((await me(token)).json).toEqual({ userId: 'ada@example.com', scopes: ['read'], via: 'jwt' })
  expect((await me(await tokenWith())).status).toBe(401)
})

test('any other or expired token is refused, always with the same message', async () => {
  const { me, url, polyphony, send } = await serverWithTokens()
  await polyphony.apiKeys.create('ada')
  const nowS = Math.floor(Date.now() / 1_000)
  const good = await tokenWith()
  const [header = '', payload = '', signature = ''] = good.split('.')
  const publicPem = new TextEncoder().encode(await exportSPKI(keys.RS256.publicKey))
  const publicJwk = new TextEncoder().encode(JSON.stringify(await exportJWK(keys.RS256.publicKey)))
  const claims = (given: JWTPayload) => tokenWith({ claims: given })
  const bad: Readonly<Record<string, string>> = {
    'another issuer': await claims({ iss: 'https://evil.example' }),
    'no issuer': await claims({ iss: undefined }),
    'an issuer that begins alike': await claims({ iss: `${ISSUER}.evil.example` }),
    'another audience': await claims({ aud: 'others' }),
    'no audience': await claims({ aud: undefined }),
    expired: await claims({ exp: nowS - 60 }),
    'no expiry': await claims({ exp: undefined }),
    'an expiry that is text': `${header}.${encode({ iss: ISSUER, aud: AUDIENCE, sub: 'ada', exp: 'never' })}.${signature}`,
    'not yet': await claims({ nbf: nowS + 60 }),
    'no user': await claims({ sub: undefined }),
    'an empty user': await claims({ sub: '' }),
    'a user with NUL': await claims({ sub: 'ada\0' }),
    'a user with half a pair': await claims({ sub: 'ada\ud800' }),
    'a user of 201 characters': await claims({ sub: 'a'.repeat(201) }),
    'the key of a stranger': await tokenWith({ key: keys.stranger.privateKey }),
    'the key of a stranger under an unknown kid': await tokenWith({ key: keys.stranger.privateKey, header: { kid: 'new' } }),
    'the other key of the issuer': await tokenWith({ key: keys.RS256.privateKey, header: { kid: 'ec' } }),
    'HS256 with the public key as PEM': await tokenWith({ header: { alg: 'HS256' }, key: publicPem }),
    'HS256 with the public key as JWK': await tokenWith({ header: { alg: 'HS256' }, key: publicJwk }),
    'alg none': `${encode({ alg: 'none', kid: 'rsa' })}.${payload}.`,
    'alg None': `${encode({ alg: 'None', kid: 'rsa' })}.${payload}.`,
    'alg none with the signature': `${encode({ alg: 'none', kid: 'rsa' })}.${payload}.${signature}`,
    'no alg': `${encode({ kid: 'rsa' })}.${payload}.${signature}`,
    'a key of its own': await tokenWith({
      key: keys.stranger.privateKey,
      header: { jwk: await exportJWK(keys.stranger.publicKey), kid: undefined },
    }),
    'an unknown critical header': `${encode({ alg: 'RS256', kid: 'rsa', crit: ['exp'] })}.${payload}.${signature}`,
    'changed claims': `${header}.${encode({ iss: ISSUER, aud: AUDIENCE, sub: 'eve', exp: nowS + 60 })}.${signature}`,
    'no signature': `${header}.${payload}.`,
    'two parts': `${header}.${payload}`,
    'six parts': `${good}.${good}`,
    'white space': `${good}%20`,
    'base64 with padding': `${header}=.${payload}=.${signature}=`,
    'claims that are no object': `${header}.${encode('ada')}.${signature}`,
    text: 'ada',
    'a key that does not exist': `pk_0123456789abcdef_${'a'.repeat(43)}`,
    'a token behind the mark of keys': `pk_${good}`,
  }
  const answers = new Set<string>()
  for (const [what, token] of Object.entries(bad)) {
    const answer = await me(token)
    expect(answer.status, what).toBe(401)
    answers.add(JSON.stringify({ ...answer.json, requestId: '' }))
    expect(answer.headers.get('www-authenticate'), what).toBe('Bearer')
  }
  expect([...answers]).toHaveLength(1)
  for (const authorization of [
    `Bearer ${good} `,
    `Bearer  ${good}`,
    good,
    `Basic ${good}`,
    `Bearer ${good}, Bearer ${good}`,
    'Bearer',
    `Token ${good}`,
  ]) {
    const { status } = await fetch(`${url}/api/v1/me`, { headers: { authorization } })
    // White space at the end of a header is none of its value.
    expect(status, authorization).toBe(authorization.trim() === `Bearer ${good}` ? 200 : 401)
  }
  expect((await send('GET', `/api/v1/me?access_token=${good}`)).status).toBe(401)
  expect((await send('GET', '/api/v1/me', { headers: { cookie: `token=${good}`, 'x-api-key': good } })).status).toBe(401)
  expect((await me(good)).status).toBe(200)
})

test('no address in a token is fetched, and an unknown key id causes at most one more request to the issuer', async () => {
  const { me, issuer } = await serverWithTokens()
  const evil = await listen(() => '{"keys":[]}')
  expect((await me(await tokenWith())).status).toBe(200)
  const before = issuer.asked
  const addresses = [`${evil.url}/jwks`, evil.url, `${evil.url}/x#`]
  for (const address of addresses) {
    for (const header of [{ jku: address }, { x5u: address }, { kid: address }, { iss: address }, { jku: address, kid: 'new' }]) {
      await me(await tokenWith({ header, key: keys.stranger.privateKey }))
    }
    await me(await tokenWith({ claims: { iss: address, jwks_uri: address } }))
  }
  expect(evil.asked).toBe(0)
  expect(issuer.asked - before).toBeLessThanOrEqual(1)
})

test('while the issuer does not answer tokens are refused and API keys still work', async () => {
  const closed = await listen(() => 'not json')
  const running = await runServer({ server: { jwt: { issuer: ISSUER, audience: AUDIENCE, jwksUrl: `${closed.url}/jwks` } } })
  expect((await running.send('GET', '/api/v1/me', { key: await tokenWith() })).status).toBe(401)
  expect((await running.send('GET', '/api/v1/me')).status).toBe(401)
  expect((await running.send('GET', '/api/v1/me', { key: await running.keyOf('ada') })).json).toMatchObject({ userId: 'ada' })
})

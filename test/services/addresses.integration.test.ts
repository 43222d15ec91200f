import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { serviceSchema } from '../../src/domain/services/service-schema.ts'
import type { CallOrigin } from '../../src/domain/tools/call-origin.ts'
import { createOpenAiCompatibleProvider } from '../../src/providers/openai-compatible.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { type BackingService, createServiceProvider } from '../../src/providers/service-provider.ts'
import { createAddressRule } from '../../src/services/network/address-rule.ts'
import { createPinnedRequest } from '../../src/services/network/pinned-request.ts'
import { createHttpProbe, createTcpProbe } from '../../src/services/network/probes.ts'
import type { ResolveName } from '../../src/system/public-addresses.ts'
import { fetchBait } from '../server/malformed/addresses.ts'
import { rejection } from '../support/caught.ts'
import { createLoopback, type Loopback, type LoopbackRequest } from '../support/loopback.ts'
import { openServiceWorld } from './service-world.ts'

/** Nothing that a service is given may lead here, unless it is an address of this machine. */
let bait: Loopback
let service: Loopback
let addresses: readonly string[]
const baited: LoopbackRequest[] = []
let answer = ({ response }: LoopbackRequest): unknown => response.end('{}')
const cleanups: (() => unknown)[] = []

beforeAll(async () => {
  bait = await createLoopback((request) => {
    baited.push(request)
    request.response.end('bait')
  })
  service = await createLoopback((request) => answer(request))
  addresses = fetchBait(Number(new URL(bait.url).port))
})
afterAll(() => Promise.all([bait.close(), service.close()]))
beforeEach(() => {
  baited.length = 0
  answer = ({ response }) => response.end('{}')
})
afterEach(async () => {
  for (const clean of cleanups.splice(0)) await clean()
})

const signal = () => AbortSignal.timeout(30_000)
const resolvedTo =
  (...answers: readonly string[]): ResolveName =>
  (_, __, callback) =>
    callback(
      null,
      answers.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    )

/** What a parser of URLs reads as another machine, or as nothing: the list also has spellings of this one. */
const isOfThisMachine = (address: string): boolean => {
  if (!URL.canParse(address)) return false
  const { protocol, hostname, username } = new URL(address)
  return /^https?:$/.test(protocol) && username === '' && /^(127\.|\[::1\]|\[::ffff:7f|(.+\.)?localhost\.?$)/.test(hostname)
}

test('no address of another machine is registered, asked for its health or called, in any spelling', async () => {
  expect(addresses.length).toBeGreaterThanOrEqual(120)
  const elsewhere = addresses.filter((address) => !isOfThisMachine(address))
  expect(elsewhere.length).toBeGreaterThan(90)
  const { services } = openServiceWorld()
  cleanups.push(() => services.close())
  const request = createPinnedRequest(createAddressRule({ origins: [] }))
  for (const address of elsewhere) {
    const refused = { code: expect.stringMatching(/^SERVICE_(INVALID|ADDRESS_REFUSED)$/) }
    const register = (more: object) => services.register({ id: 'bad', type: 'agent', ...more })
    expect(await rejection(register({ endpoint: address })), address).toMatchObject(refused)
    expect(await rejection(register({ endpoint: service.url, health: { url: address } })), address).toMatchObject(refused)
    expect(await rejection(createHttpProbe(address, request)(signal())), address).toMatchObject(refused)
    expect(await rejection(request(address, { signal: signal(), maxBytes: 100 })), address).toMatchObject(refused)
  }
  expect(services.list()).toEqual([])
  expect(baited).toEqual([])
})

test('no redirect of a service is followed: not of a probe, a call, or a step, whatever its target', async () => {
  const request = createPinnedRequest(createAddressRule({ origins: [] }))
  const steps = [providerAt(service.url), providerAt(service.url, HTTP)]
  for (const location of addresses) {
    answer = ({ response }) => response.writeHead(302, { location: encodeURI(location) }).end()
    expect(await createHttpProbe(service.url, request)(signal()), location).toEqual({ ok: false, detail: 'HTTP 302' })
    expect(await request(service.url, { signal: signal(), maxBytes: 100 }), location).toMatchObject({ status: 302 })
    for (const step of steps) await rejection(ask(step))
  }
  expect(baited).toEqual([])
})

const METADATA = [
  ...[['169.254.169.254'], ['169.254.170.2'], ['100.100.100.200'], ['192.0.0.192'], ['168.63.129.16'], ['fd00:ec2::254']],
  ...[['0.0.0.0'], ['::'], ['fe80::1'], ['::ffff:169.254.169.254'], ['10.0.0.1', '169.254.169.254']],
]

test('a name that means another address when it is connected to than when it was named reaches no metadata', async () => {
  const { port } = new URL(bait.url)
  const origin = `http://models.example:${port}`
  const refused = { code: 'SERVICE_ADDRESS_REFUSED', retryable: false }
  for (const answers of METADATA) {
    const resolve = resolvedTo(...answers)
    const rule = createAddressRule({ origins: [origin], resolve })
    const request = createPinnedRequest(rule)
    expect(rule.check(origin).hostname).toBe('models.example')
    expect(await rejection(request(origin, { signal: signal(), maxBytes: 10 })), `${answers}`).toMatchObject(refused)
    expect(await rejection(createTcpProbe(`models.example:${port}`, rule)(signal())), `${answers}`).toMatchObject(refused)
    for (const account of [MODELS, HTTP]) {
      expect(await rejection(ask(providerAt(origin, account, resolve))), `${answers}`).toMatchObject(refused)
    }
  }
  const local = providerAt(`http://localhost:${port}`, HTTP, resolvedTo('10.0.0.1'))
  expect(await rejection(ask(local)), 'a name of this machine that a resolver sends elsewhere').toMatchObject(refused)
  expect(baited).toEqual([])
  // The operator may name a host of a private network.
  const named = providerAt(origin, HTTP, resolvedTo('127.0.0.1'))
  await ask(named)
  expect(baited).toHaveLength(1)
})

test('a step reaches no endpoint that a call of code would not', async () => {
  const { services } = openServiceWorld()
  cleanups.push(() => services.close())
  const endpoint = 'http://169.254.169.254/v1'
  await services.register({ id: 'one', type: 'llm', endpoint, provider: { kind: 'openai-compatible' }, handlers: {} })
  await services.start('one')
  const refused = { code: 'SERVICE_ADDRESS_REFUSED' }
  expect(await rejection(services.call('one', { prompt: 'hi' }))).toMatchObject(refused)
  expect(await rejection(services.providerCalls.enter('one', signal()))).toMatchObject(refused)
})

test('a user whose step finds a service that cannot start gets the code of the failure, and no folder or process', async () => {
  const { services } = openServiceWorld({ settings: { restart: { maxRetries: 0 } } })
  cleanups.push(() => services.close())
  const start = () => {
    throw new Error('/home/operator/secret-folder is not there')
  }
  const provider = { kind: 'openai-compatible' as const }
  const endpoint = 'http://127.0.0.1:9'
  await services.register({ id: 'one', type: 'llm', start: 'demand', endpoint, provider, handlers: { start } })
  const failed = await rejection(services.providerCalls.enter('one', signal()))
  expect(failed).toMatchObject({ code: 'SERVICE_NOT_RUNNING', message: expect.stringMatching(/\(SERVICE_[A-Z_]+\)$/) })
  expect(services.get('one').lastError?.message).toContain('secret-folder')
})

const MODELS = { kind: 'openai-compatible', inHouse: false } as const
const HTTP = {
  kind: 'http',
  inHouse: false,
  operations: { ask: { method: 'GET', path: '/ask', maxBytes: 1_000 } },
} as const

/** The provider of a service that runs at the endpoint. */
function providerAt(endpoint: string, account: BackingService['account'] = MODELS, resolve?: ResolveName): Provider {
  expect(serviceSchema.safeParse({ id: 'one', type: 'llm', endpoint, provider: account }).success).toBe(true)
  const enter = async () => ({ endpoint, ended: new AbortController().signal, leave: () => undefined })
  const load = (_kind: unknown, settings: Parameters<typeof createOpenAiCompatibleProvider>[0]) =>
    createOpenAiCompatibleProvider(settings)
  return createServiceProvider('one', { account, calls: { enter } }, load, resolve)
}

const origin: CallOrigin = { userId: 'ada', flowId: 'f', stepId: 's', idempotencyKey: 'f/s#1', metadata: {} }
const ask = (provider: Provider) =>
  provider.generate(
    {
      model: provider.kind === 'http' ? 'ask' : 'small',
      messages: [{ role: 'user', content: 'hi' }],
      settings: {},
      arguments: {},
    },
    { signal: signal(), origin },
  )

import { afterEach, expect, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { rejection } from '../support/caught.ts'
import { createLoopback, type Loopback } from '../support/loopback.ts'
import { chatWire } from '../support/openai-wires.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

const USER = 'ada'
const KEYS = ['sk-key-number-one-1111', 'sk-key-number-two-2222', 'sk-key-number-three-33']
const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

type Answer = { readonly status: number; readonly body: unknown; readonly headers?: Readonly<Record<string, string>> }

/** A vendor that answers by the key of the request; requests that it holds are answered by `release`. */
async function openVendor(answerOf: (key: string) => Answer | 'hold') {
  const seen: string[] = []
  const held: (() => void)[] = []
  const notices: (() => void)[] = []
  const server: Loopback = await createLoopback(({ headers, response }) => {
    const key = String(headers.authorization).replace('Bearer ', '')
    seen.push(key)
    const send = ({ status, body, headers: more }: Answer) => {
      response.writeHead(status, { 'content-type': 'application/json', ...more })
      response.end(JSON.stringify(body))
    }
    const answer = answerOf(key)
    if (answer === 'hold') held.push(() => send({ status: 200, body: chatWire.whole(`late by ${key.slice(-4)}`).body }))
    else send(answer)
    for (const notify of notices.splice(0)) notify()
  })
  closing.push(server.close)
  return {
    url: server.url,
    seen,
    release: () => held.splice(0).map((send) => send()).length,
    async until(count: number): Promise<void> {
      while (seen.length < count) await new Promise<void>((resolve) => notices.push(resolve))
    },
  }
}

const whole = (text: string): Answer => ({ status: 200, body: chatWire.whole(text).body })

async function open(baseUrl: string, account: object = {}, config: PolyphonyConfigInput = {}) {
  const lines: unknown[] = []
  const log = (message: string, facts?: object) => void lines.push([message, facts])
  const polyphony = await openTestPolyphony({
    providers: { desk: { kind: 'openai-compatible', baseUrl, apiKeys: KEYS, ...account } },
    logger: { error: log, warn: log, info: log, debug: log },
    logLevel: 'debug',
    retry: { baseDelayMs: 0 },
    ...config,
  })
  closing.push(polyphony.close)
  return { polyphony, lines }
}

async function run({ orchestrator, conversations }: Polyphony, more: object = {}) {
  const { id: threadId } = await conversations.createThread(USER, {})
  const steps = [{ id: 'draft', model: 'desk/m', action: 'generate', prompt: 'Write', ...more }] as const
  const { id } = await orchestrator.createFlow(threadId, USER, { name: 'keys', type: 'sequential', steps: [...steps] })
  return orchestrator.executeFlow(id, USER, { input: 'go' })
}

test('calls are spread over the keys of one provider, each with rates of its own', async () => {
  const vendor = await openVendor(() => 'hold')
  const { polyphony } = await open(vendor.url, { maxConcurrency: 2 })
  const flows = Array.from({ length: 6 }, () => run(polyphony))
  // Six requests at once need all three keys, because each may have two.
  await vendor.until(6)
  expect(KEYS.map((key) => vendor.seen.filter((seen) => seen === key).length)).toEqual([2, 2, 2])
  expect(vendor.release()).toBe(6)
  const results = await Promise.all(flows)
  expect(new Set(results.map(({ steps }) => steps[0]?.provider))).toEqual(new Set(['desk']))
  expect(polyphony.providers.list().map(({ id }) => id)).toEqual(['desk'])
})

test('a key that is refused is left for another at once, is not used again for a while, and is never shown', async () => {
  const refused: Answer = {
    status: 401,
    body: { error: { message: `Incorrect API key provided: ${KEYS[1]}`, code: 'invalid_api_key' } },
  }
  const vendor = await openVendor((key) => (key === KEYS[1] ? refused : whole('fine')))
  const { polyphony, lines } = await open(vendor.url)
  const results = []
  for (let flow = 0; flow < 12; flow++) results.push(await run(polyphony))
  expect(results.map(({ status }) => status)).toEqual(results.map(() => 'COMPLETED'))
  expect(vendor.seen.filter((key) => key === KEYS[1])).toHaveLength(1)
  const attempts = results.flatMap(({ steps }) => steps.flatMap((step) => step.attempts))
  expect(attempts.filter(({ error }) => error).map(({ provider, error }) => [provider, error?.code])).toEqual([
    ['desk', 'PROVIDER_AUTH'],
  ])
  expect(results.flatMap(({ steps }) => steps.flatMap(({ notes }) => notes))).toContain(
    'desk#2 failed with PROVIDER_AUTH; another was asked',
  )
  for (const key of KEYS) expect(JSON.stringify([results, lines])).not.toContain(key)
})

test('an error of all keys names none of them', async () => {
  const vendor = await openVendor((key) => ({ status: 401, body: { error: { message: `bad ${key}` } } }))
  const { polyphony, lines } = await open(vendor.url)
  const error = await rejection(run(polyphony))
  expect(error).toMatchObject({
    code: 'PROVIDER_AUTH',
    details: {
      provider: 'desk',
      members: [1, 2, 3].map((number) => ({ member: `desk#${number}`, state: 'failed', code: 'PROVIDER_AUTH' })),
    },
  })
  for (const key of KEYS) expect(JSON.stringify([error, lines]) + String(error)).not.toContain(key)
})

test('a pause that one key is asked for leaves the others to their work', async () => {
  const paused: Answer = { status: 429, headers: { 'retry-after': '30' }, body: { error: { message: 'slow down' } } }
  const vendor = await openVendor((key) => (key === KEYS[0] ? paused : whole('fine')))
  const { polyphony } = await open(vendor.url)
  for (let flow = 0; flow < 10; flow++) expect((await run(polyphony)).status).toBe('COMPLETED')
  expect(vendor.seen.filter((key) => key === KEYS[0]).length).toBeLessThanOrEqual(1)
})

test('a request that is at fault itself is sent with one key only', async () => {
  const vendor = await openVendor(() => ({ status: 400, body: { error: { message: 'too long' } } }))
  const { polyphony } = await open(vendor.url)
  expect(await rejection(run(polyphony))).toMatchObject({ code: 'PROVIDER_REJECTED' })
  expect(vendor.seen).toHaveLength(1)
})

test('sharing is decided for the provider, whatever key is used, and a member of a pool may have several keys', async () => {
  const vendor = await openVendor(() => whole('fine'))
  const { polyphony } = await open(vendor.url, {}, { pools: { desks: { members: [{ model: 'desk/m' }] } } })
  const { id: threadId } = await polyphony.conversations.createThread(USER, {})
  const steps = [1, 2, 3, 4].map((number) => ({
    id: `s${number}`,
    model: 'pool/desks',
    action: 'generate' as const,
    prompt: number === 1 ? 'Write' : `Improve {{ steps.s${number - 1}.output }}`,
  }))
  const { id } = await polyphony.orchestrator.createFlow(threadId, USER, { name: 'keys', type: 'sequential', steps })
  const result = await polyphony.orchestrator.executeFlow(id, USER, { input: 'go' })
  expect(result.steps.map(({ provider, sharing }) => [provider, sharing.map(({ rule }) => rule)])).toEqual([
    ['desk', []],
    ...Array.from({ length: 3 }, () => ['desk', ['own_output']]),
  ])
})

test('doctor finds the key that is refused by its number', async () => {
  const vendor = await openVendor((key) =>
    key === KEYS[2] ? { status: 401, body: { error: { message: 'no' } } } : { status: 200, body: { data: [] } },
  )
  const { polyphony } = await open(vendor.url)
  const provider = await polyphony.providers.get('desk')
  const error = await rejection(provider.ping?.(new AbortController().signal) ?? Promise.resolve())
  expect(error).toMatchObject({ code: 'PROVIDER_AUTH', message: expect.stringContaining('Key 3 of 3'), details: { account: 3 } })
})

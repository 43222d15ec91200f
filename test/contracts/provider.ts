import { getEventListeners } from 'node:events'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { callFactsOf } from '../../src/domain/execution/call-facts.ts'
import type { ModelRequest } from '../../src/domain/execution/model-call.ts'
import type { GenerateOptions, Provider } from '../../src/providers/provider.ts'
import { rejection } from '../support/caught.ts'
import { createVendorServer, type VendorAnswer, type VendorServer } from '../support/vendor-server.ts'

/** How one vendor says the same things on the wire. */
export interface VendorWire {
  /** An answer with this text, 10 input tokens and 5 output tokens, from the model `answering-model`. */
  whole(text: string): VendorAnswer
  /** The same as a stream, one event per chunk. */
  streamed(chunks: readonly string[]): VendorAnswer
  /** End marks, after which an answer is complete although more bytes come. A cut after the last one may resolve. */
  readonly terminalMarks: readonly string[]
  /** An error as the vendor words it. */
  error(status: number, message: string): VendorAnswer
  /** An error inside a stream that began with this text. */
  errorInStream(text: string): VendorAnswer
}

export interface ProviderSuite {
  readonly name: string
  create(baseUrl: string, apiKey: string): Promise<Provider>
  readonly wire: VendorWire
  readonly model: string
}

const SECRET_KEY = 'sk-verysecretkey1234567890'
const SECRET_PROMPT = 'my favourite colour is ultraviolet and nobody may know it'
/** Characters of two, three and four bytes. */
const TEXT = 'Grüße, 世界 👩‍🚀 — done.'

/** What every adapter must do, whatever its vendor speaks. */
export function describeProvider({ name, create, wire, model }: ProviderSuite): void {
  describe(`${name} as a provider`, () => {
    let server: VendorServer
    let provider: Provider

    beforeAll(async () => {
      server = await createVendorServer()
      provider = await create(server.url, SECRET_KEY)
    })
    afterAll(() => server.close())

    const request: ModelRequest = { model, messages: [{ role: 'user', content: SECRET_PROMPT }], settings: { maxTokens: 100 } }
    const generate = (options: Partial<GenerateOptions> = {}) =>
      provider.generate(request, { signal: new AbortController().signal, ...options })
    const failure = (options: Partial<GenerateOptions> = {}) => rejection(generate(options))

    test('a plain answer arrives with its text, finish, model and tokens', async () => {
      server.answer(wire.whole(TEXT))
      expect(await generate()).toMatchObject({
        text: TEXT,
        finishReason: 'stop',
        model: 'answering-model',
        usage: { inputTokens: 10, outputTokens: 5, totalTokens: 15, source: 'reported' },
      })
    })

    test.each([1, 2, 3, 4, 5, 6])('a stream cut into packets by seed %i delivers its text whole and in order', async (seed) => {
      server.answer({ ...wire.streamed([...TEXT]), seed })
      const chunks: string[] = []
      const answer = await generate({ onDelta: (text) => chunks.push(text) })
      expect(chunks.join('')).toBe(TEXT)
      expect(answer).toMatchObject({
        text: TEXT,
        finishReason: 'stop',
        usage: { inputTokens: 10, outputTokens: 5, source: 'reported' },
      })
    })

    test('every chunk of a stream counts as activity', async () => {
      server.answer({ ...wire.streamed(['a', 'b', 'c']), seed: 7 })
      let activity = 0
      await generate({ onDelta: () => undefined, onActivity: () => activity++ })
      expect(activity).toBeGreaterThanOrEqual(3)
    })

    test.each(['end', 'drop'] as const)('a stream that ends early by %s never passes as an answer', async (after) => {
      const { body, ...rest } = wire.streamed([...TEXT])
      const text = String(body)
      const mark = Math.min(...wire.terminalMarks.map((terminal) => text.indexOf(terminal)))
      for (const fraction of [0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99]) {
        server.answer({ ...rest, body: text.slice(0, Math.floor(mark * fraction)), after })
        expect(await failure({ onDelta: () => undefined })).toMatchObject({ code: 'PROVIDER_STREAM_CUT', retryable: true })
      }
    })

    test('a cut plain answer never passes as an answer', async () => {
      const { body, ...rest } = wire.whole(TEXT)
      const text = JSON.stringify(body)
      const headers = { 'content-type': 'application/json' }
      for (const fraction of [0, 0.5, 0.95]) {
        server.answer({ ...rest, headers, body: text.slice(0, Math.floor(text.length * fraction)), after: 'end' })
        expect(await failure()).toMatchObject({ code: 'PROVIDER_BAD_REPLY' })
        server.answer({ ...rest, headers, body: text.slice(0, Math.floor(text.length * fraction)), after: 'drop' })
        expect(await failure()).toMatchObject({ code: 'PROVIDER_UNAVAILABLE' })
      }
    })

    test.each([
      [400, 'PROVIDER_REJECTED', false],
      [401, 'PROVIDER_AUTH', false],
      [402, 'PROVIDER_QUOTA_EXHAUSTED', false],
      [403, 'PROVIDER_AUTH', false],
      [404, 'PROVIDER_REJECTED', false],
      [408, 'PROVIDER_UNAVAILABLE', true],
      [409, 'PROVIDER_UNAVAILABLE', true],
      [413, 'PROVIDER_REJECTED', false],
      [422, 'PROVIDER_REJECTED', false],
      [429, 'PROVIDER_RATE_LIMITED', true],
      [500, 'PROVIDER_UNAVAILABLE', true],
      [502, 'PROVIDER_UNAVAILABLE', true],
      [503, 'PROVIDER_UNAVAILABLE', true],
      [504, 'PROVIDER_UNAVAILABLE', true],
      [529, 'PROVIDER_UNAVAILABLE', true],
    ])('status %i becomes %s after one request', async (status, code, retryable) => {
      server.answer(wire.error(status, 'it did not work'))
      for (const options of [{}, { onDelta: () => undefined }]) {
        const before = server.requests.length
        const error = await failure(options)
        expect(error).toMatchObject({ code, retryable, details: { provider: provider.id, status } })
        expect(callFactsOf(error)).toMatchObject({ status, generated: false })
        expect(server.requests.length).toBe(before + 1)
      }
    })

    test('the wait requested by a vendor is kept in milliseconds', async () => {
      server.answer({ ...wire.error(429, 'slow down'), headers: { 'retry-after': '7' } })
      expect(callFactsOf(await failure())).toMatchObject({ retryAfterMs: 7_000 })
      server.answer({ ...wire.error(429, 'slow down'), headers: { 'retry-after-ms': '350', 'retry-after': '1' } })
      expect(callFactsOf(await failure())).toMatchObject({ retryAfterMs: 350 })
    })

    test('an error inside a started stream is an error', async () => {
      server.answer(wire.errorInStream('half an ans'))
      const error = await failure({ onDelta: () => undefined })
      expect(error).toMatchObject({ code: expect.stringMatching(/^PROVIDER_/) })
      expect(callFactsOf(error).generated).toBe(true)
    })

    test('an error contains neither key nor prompt, although the vendor repeats both', async () => {
      server.answer(wire.error(400, `Key ${SECRET_KEY} sent: ${SECRET_PROMPT}, which is wrong`))
      const repeated = await failure()
      server.answer(wire.error(401, `Incorrect API key provided: ${SECRET_KEY}`))
      const refused = await failure()
      for (const error of [repeated, refused]) {
        const shown = JSON.stringify(error) + inspect(error, { depth: 10 })
        expect(shown).not.toContain('verysecret')
        expect(shown).not.toContain('ultraviolet')
      }
    })

    test('a redirect is an error, so that the key stays at its origin', async () => {
      const elsewhere = await createVendorServer()
      elsewhere.answer(wire.whole('stolen'))
      try {
        for (const status of [301, 302, 307, 308]) {
          server.answer({ status, headers: { location: `${elsewhere.url}/v1` }, body: '' })
          expect(await failure()).toMatchObject({ code: 'PROVIDER_REJECTED' })
          expect(await failure({ onDelta: () => undefined })).toMatchObject({ code: 'PROVIDER_REJECTED' })
        }
        expect(elsewhere.requests).toEqual([])
      } finally {
        await elsewhere.close()
      }
    })

    test.each([
      ['a web page', { headers: { 'content-type': 'text/html' }, body: '<!doctype html><html><body>Welcome</body></html>' }],
      ['garbage that calls itself JSON', { headers: { 'content-type': 'application/json' }, body: '\u0000\u0001{{{' }],
      ['JSON of another protocol', { body: { hello: 'world' } }],
      ['a JSON list', { body: [1, 2, 3] }],
      ['nothing', { headers: { 'content-type': 'application/json' }, body: '' }],
    ])('%s with status 200 is not an answer', async (_, answer) => {
      server.answer(answer)
      expect(await failure()).toMatchObject({ code: 'PROVIDER_BAD_REPLY' })
      expect(await failure({ onDelta: () => undefined })).toMatchObject({
        code: expect.stringMatching(/^PROVIDER_(BAD_REPLY|STREAM_CUT)$/),
      })
    })

    test('a refused connection is PROVIDER_UNAVAILABLE', async () => {
      const gone = await createVendorServer()
      const unreachable = await create(gone.url, SECRET_KEY)
      await gone.close()
      await expect(unreachable.generate(request, { signal: new AbortController().signal })).rejects.toMatchObject({
        code: 'PROVIDER_UNAVAILABLE',
        retryable: true,
      })
    })

    test('a connection dropped before the headers is PROVIDER_UNAVAILABLE', async () => {
      server.answer({ instead: 'drop' })
      expect(await failure()).toMatchObject({ code: 'PROVIDER_UNAVAILABLE' })
      expect(await failure({ onDelta: () => undefined })).toMatchObject({ code: 'PROVIDER_UNAVAILABLE' })
    })

    test.each([
      ['before the headers', (): VendorAnswer => ({ instead: 'hang' }), false],
      ['before the headers of a stream', (): VendorAnswer => ({ instead: 'hang' }), true],
      [
        'inside a body',
        (): VendorAnswer => ({
          ...wire.whole(TEXT),
          body: '{"half":',
          headers: { 'content-type': 'application/json' },
          after: 'hang',
        }),
        false,
      ],
      ['inside a stream', (): VendorAnswer => cutBefore(wire.streamed([...TEXT]), wire.terminalMarks), true],
      ['inside the body of an error', (): VendorAnswer => ({ status: 500, body: '{"error":', after: 'hang' }), false],
    ])('an abort %s rejects with its reason and closes the socket', async (_, answer, streams) => {
      const controller = new AbortController()
      const reason = new Error('the caller had enough')
      server.answer(answer())
      const idle = server.nextIdle()
      const pending = failure({ signal: controller.signal, ...(streams && { onDelta: () => undefined }) })
      await idle
      controller.abort(reason)
      expect(await pending).toBe(reason)
      await server.clientClosed()
    })

    test('a signal shared by many calls keeps no listener of them', async () => {
      const controller = new AbortController()
      for (const options of [{}, { onDelta: () => undefined }]) {
        server.answer(options.onDelta ? wire.streamed(['a']) : wire.whole('a'))
        await generate({ ...options, signal: controller.signal })
        server.answer(wire.error(500, 'broken'))
        await failure({ ...options, signal: controller.signal })
      }
      expect(getEventListeners(controller.signal, 'abort')).toEqual([])
    })

    test('an aborted signal sends no request', async () => {
      const before = server.requests.length
      const reason = new Error('too late')
      expect(await failure({ signal: AbortSignal.abort(reason) })).toBe(reason)
      expect(server.requests.length).toBe(before)
    })

    test('an error thrown by the caller of a stream rejects unchanged', async () => {
      server.answer(wire.streamed(['a', 'b']))
      const mine = new Error('screen is full')
      const thrown = await failure({
        onDelta: () => {
          throw mine
        },
      })
      expect(thrown).toBe(mine)
    })
  })
}

const cutBefore = ({ body, ...rest }: VendorAnswer, marks: readonly string[]): VendorAnswer => {
  const text = String(body)
  return { ...rest, body: text.slice(0, Math.min(...marks.map((mark) => text.indexOf(mark)))), after: 'hang' }
}

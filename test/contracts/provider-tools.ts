import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { FilePart, ModelRequest, ToolCall, ToolDefinition } from '../../src/domain/execution/model-call.ts'
import type { GenerateOptions, Provider } from '../../src/providers/provider.ts'
import { rejection } from '../support/caught.ts'
import { createVendorServer, type VendorAnswer, type VendorServer } from '../support/vendor-server.ts'

/** What a request says about tools, files and earlier turns, whatever the format of its vendor. */
export interface SentRequest {
  readonly tools: readonly ToolDefinition[]
  /** The tool calls of the model in earlier turns. */
  readonly calls: readonly { readonly id?: string; readonly name: string; readonly arguments: unknown }[]
  /** The results of these calls, as text. `id` is absent where the vendor matches results by name. */
  readonly results: readonly { readonly id?: string; readonly name?: string; readonly content: string }[]
  /** Images, as base64. */
  readonly images: readonly { readonly mediaType: string; readonly data: string }[]
  /** Whether the model must call a tool, must not, may, or must call one by its name. */
  readonly toolChoice: unknown
}

/** How one vendor says on the wire what answers with tool calls and requests with results say. */
export interface ToolWire {
  /** An answer with these calls and no text, 10 input tokens and 5 output tokens. */
  wholeCalls(calls: readonly ToolCall[]): VendorAnswer
  /** The same as a stream, with the arguments in as many pieces as the vendor sends. */
  streamedCalls(calls: readonly ToolCall[]): VendorAnswer
  /** An answer with one call and reasoning that must go back to the vendor unchanged, as a plain answer. */
  signedCall(call: ToolCall): VendorAnswer
  /** The same as a stream. */
  streamedSignedCall(call: ToolCall): VendorAnswer
  /** Whether the body of a request returns that reasoning. */
  returnsSigned(body: unknown): boolean
  /** Reads the body of a request. */
  read(body: unknown): SentRequest
  /** A field of requests that Polyphony sets itself. */
  readonly engineField: string
  /** A setting that the model of the suite does not accept, as the step gives it. */
  readonly refusedSetting: ModelRequest['settings']
}

export interface ToolSuite {
  readonly name: string
  create(baseUrl: string, apiKey: string): Promise<Provider>
  readonly wire: ToolWire
  /** A model that calls tools, takes images and reasons. */
  readonly model: string
}

const WEATHER: ToolDefinition = {
  name: 'get_weather',
  description: 'The weather at a place.',
  parameters: {
    type: 'object',
    properties: { place: { type: 'string' }, days: { type: 'integer' } },
    required: ['place', 'days'],
    additionalProperties: false,
  },
}
const CLOCK: ToolDefinition = { name: 'clock', parameters: { type: 'object', properties: {} } }

const call = (id: string, place: string): ToolCall => ({
  id,
  name: 'get_weather',
  arguments: JSON.stringify({ place, days: 2 }),
})
const PARIS = call('call_paris', 'Paris "Île-de-France"')
const OSLO = call('call_oslo', 'Oslo 🇳🇴')

/** Arguments are compared as values: white space in JSON is the vendor's own. */
const parsed = (calls: readonly ToolCall[] | undefined) =>
  (calls ?? []).map(({ name, arguments: given }) => ({ name, arguments: JSON.parse(given) }))

/** What every adapter of a model vendor must do with tools, options and files. */
export function describeTools({ name, create, wire, model }: ToolSuite): void {
  describe(`${name} with tools`, () => {
    let server: VendorServer
    let provider: Provider

    beforeAll(async () => {
      server = await createVendorServer()
      provider = await create(server.url, 'sk-test')
    })
    afterAll(() => server.close())

    const user = (content: string) => ({ role: 'user', content }) as const
    const requestOf = (request: Partial<ModelRequest> = {}): ModelRequest => ({
      model,
      messages: [user('How is the weather?')],
      settings: { maxTokens: 100 },
      tools: [WEATHER, CLOCK],
      ...request,
    })
    const generate = (request: Partial<ModelRequest> = {}, options: Partial<GenerateOptions> = {}) =>
      provider.generate(requestOf(request), { signal: new AbortController().signal, ...options })
    const lastBody = () => server.requests.at(-1)?.body
    const sent = () => wire.read(lastBody())
    const STREAM = { onDelta: () => undefined }

    test('tools are offered with name, description and schema, in order', async () => {
      server.answer(wire.wholeCalls([PARIS]))
      await generate()
      expect(sent().tools).toEqual([
        { ...WEATHER, parameters: expect.objectContaining({ properties: WEATHER.parameters.properties }) },
        { name: 'clock', parameters: expect.objectContaining({ type: 'object' }) },
      ])
    })

    test('a request without tools says nothing of them', async () => {
      server.answer(wire.wholeCalls([PARIS]))
      await generate({ tools: undefined })
      expect(JSON.stringify(lastBody())).not.toMatch(/tool/i)
    })

    test('the choice of the tool is sent in all its forms', async () => {
      const choices = []
      for (const toolChoice of ['auto', 'required', 'none', { name: 'clock' }] as const) {
        server.answer(wire.wholeCalls([PARIS]))
        await generate({ toolChoice })
        choices.push(sent().toolChoice)
      }
      expect(choices).toEqual(['auto', 'required', 'none', { name: 'clock' }])
    })

    test.each([1, 2] as const)('%i calls of a plain answer arrive with their arguments', async (count) => {
      const calls = [PARIS, OSLO].slice(0, count)
      server.answer(wire.wholeCalls(calls))
      const answer = await generate()
      expect(parsed(answer.toolCalls)).toEqual(parsed(calls))
      expect(new Set(answer.toolCalls?.map(({ id }) => id)).size).toBe(count)
      expect(answer).toMatchObject({ text: '', finishReason: 'tool_calls', usage: { inputTokens: 10, outputTokens: 5 } })
    })

    test.each([1, 2, 3])('two calls of a stream cut into packets by seed %i arrive with their arguments', async (seed) => {
      server.answer({ ...wire.streamedCalls([PARIS, OSLO]), seed })
      const chunks: string[] = []
      const answer = await generate({}, { onDelta: (text) => chunks.push(text) })
      expect(parsed(answer.toolCalls)).toEqual(parsed([PARIS, OSLO]))
      expect(new Set(answer.toolCalls?.map(({ id }) => id)).size).toBe(2)
      expect(answer).toMatchObject({ text: '', finishReason: 'tool_calls', usage: { inputTokens: 10, outputTokens: 5 } })
      expect(chunks.join('')).toBe('')
    })

    test('calls and results of earlier turns are sent in order, with the same ids', async () => {
      server.answer(wire.wholeCalls([PARIS]))
      const toolCalls = [PARIS, OSLO]
      await generate({
        messages: [
          user('How is the weather?'),
          { role: 'assistant', content: 'I look it up.', toolCalls },
          { role: 'tool', toolCallId: 'call_paris', toolName: 'get_weather', content: 'sun' },
          { role: 'tool', toolCallId: 'call_oslo', toolName: 'get_weather', content: 'no such place', isError: true },
        ],
      })
      const { calls, results } = sent()
      expect(calls.map((each) => ({ name: each.name, arguments: each.arguments }))).toEqual(parsed(toolCalls))
      expect(results.map(({ content }) => content)).toEqual([
        expect.stringContaining('sun'),
        expect.stringContaining('no such place'),
      ])
      expect(results.map(({ id }) => id)).toEqual(calls.map(({ id }) => id))
      expect(JSON.stringify(lastBody())).toContain('I look it up.')
    })

    test('a call without arguments goes back as an empty object', async () => {
      server.answer(wire.wholeCalls([PARIS]))
      await generate({
        messages: [
          user('What time is it?'),
          { role: 'assistant', content: '', toolCalls: [{ id: 'call_clock', name: 'clock', arguments: '' }] },
          { role: 'tool', toolCallId: 'call_clock', toolName: 'clock', content: 'noon' },
        ],
      })
      expect(sent().calls).toEqual([expect.objectContaining({ name: 'clock', arguments: {} })])
    })

    test.each([
      ['plain', () => wire.signedCall(PARIS), {}],
      ['streamed', () => wire.streamedSignedCall(PARIS), STREAM],
    ] as const)(
      'the reasoning behind the call of a %s answer goes back to the same provider and model, and to no other',
      async (_, answer, options) => {
        server.answer(answer())
        const { text, toolCalls, vendorTurn } = await generate({ settings: { maxTokens: 8_000, reasoning: 'high' } }, options)
        expect(vendorTurn).toMatchObject({ provider: provider.id, model })
        expect(parsed(toolCalls)).toEqual(parsed([PARIS]))
        if (!vendorTurn) throw new Error('expected a turn to send back')
        const returned = (turn: typeof vendorTurn): ModelRequest['messages'] => [
          user('How is the weather?'),
          { role: 'assistant', content: text, toolCalls, vendorTurn: turn },
          { role: 'tool', toolCallId: toolCalls?.[0]?.id ?? '', toolName: 'get_weather', content: 'sun' },
        ]
        const asked = async (turn: typeof vendorTurn) => {
          server.answer(wire.wholeCalls([OSLO]))
          // The turn is stored between the requests.
          await generate({ messages: returned(JSON.parse(JSON.stringify(turn))) })
          return { isSigned: wire.returnsSigned(lastBody()), ...sent() }
        }
        const same = await asked(vendorTurn)
        expect(same.isSigned).toBe(true)
        for (const other of [
          { ...vendorTurn, provider: 'another' },
          { ...vendorTurn, model: 'another' },
        ]) {
          const elsewhere = await asked(other)
          expect(elsewhere.isSigned).toBe(false)
          expect(elsewhere.calls).toHaveLength(1)
        }
        expect(same.calls.map((each) => each.arguments)).toEqual([JSON.parse(PARIS.arguments)])
        expect(same.results).toHaveLength(1)
      },
    )

    test('options of the step are merged last into the body, those of the id before those of the kind', async () => {
      server.answer(wire.wholeCalls([PARIS]))
      const ofKind = { metadata: { team: 'kind', kept: 1 }, extra_list: [1] }
      const ofId = { metadata: { team: 'id' }, extra_list: [2, 3] }
      const options = { [provider.kind]: ofKind, ...(provider.id !== provider.kind && { [provider.id]: ofId }), other: { a: 1 } }
      await generate({ settings: { maxTokens: 100, options } })
      expect(lastBody()).toMatchObject(
        provider.id === provider.kind ? ofKind : { metadata: { team: 'id', kept: 1 }, extra_list: [2, 3] },
      )
      expect(lastBody()).not.toHaveProperty('a')
    })

    test('options for a field that Polyphony sets itself are refused before anything is sent', async () => {
      const before = server.requests.length
      const options = { [provider.kind]: { [wire.engineField]: 'mine' } }
      expect(await rejection(generate({ settings: { options } }))).toMatchObject({
        code: 'PROVIDER_REJECTED',
        message: expect.stringContaining(`settings.options.${provider.kind}.${wire.engineField}`),
      })
      expect(server.requests.length).toBe(before)
    })

    test('what a model does not take is left out with a note, or refused before anything is sent if the step is strict', async () => {
      server.answer(wire.wholeCalls([PARIS]))
      const [setting = ''] = Object.keys(wire.refusedSetting)
      const video: FilePart = {
        name: 'clip.avi',
        mediaType: 'video/x-msvideo',
        byteLength: 3,
        read: async () => Buffer.from('abc'),
      }
      const request = {
        settings: { maxTokens: 100, ...wire.refusedSetting },
        messages: [{ role: 'user', content: 'Look.', files: [video] }],
      } as const
      const { notes } = await generate(request)
      expect(notes).toEqual(
        expect.arrayContaining([
          expect.stringMatching(new RegExp(`^${setting} was left out`)),
          expect.stringMatching(/^file "clip\.avi" was left out/),
        ]),
      )
      const before = server.requests.length
      for (const options of [{}, STREAM]) {
        expect(await rejection(generate({ ...request, strict: true }, options))).toMatchObject({
          code: 'PROVIDER_REJECTED',
          message: expect.stringMatching(new RegExp(`${setting}.*clip\\.avi|clip\\.avi.*${setting}`)),
        })
      }
      expect(server.requests.length).toBe(before)
      await generate({ strict: true })
      expect(server.requests.length).toBe(before + 1)
    })

    test('a hosted tool that the vendor does not have is refused by its name before anything is sent', async () => {
      const before = server.requests.length
      expect(await rejection(generate({ hostedTools: ['mind_reading'] }))).toMatchObject({
        code: 'PROVIDER_REJECTED',
        message: expect.stringContaining('hosted/mind_reading'),
      })
      expect(server.requests.length).toBe(before)
    })

    test('the image of a message is inlined, and its bytes are read once per attempt', async () => {
      server.answer(wire.wholeCalls([PARIS]))
      const bytes = Buffer.from('89504e470d0a1a0a0000', 'hex')
      let reads = 0
      const image: FilePart = {
        name: 'map.png',
        mediaType: 'image/png',
        byteLength: bytes.length,
        sha256: 'abc',
        read: async () => {
          reads++
          return bytes
        },
      }
      await generate({ messages: [{ role: 'user', content: 'Where is this?', files: [image] }] })
      expect(reads).toBe(1)
      expect(sent().images).toEqual([{ mediaType: 'image/png', data: bytes.toString('base64') }])
      expect(JSON.stringify(lastBody())).toContain('Where is this?')
    })

    test('a text file is sent as text, and its words appear in no error', async () => {
      const secret = 'the launch code is 0000 and must not be repeated'
      const file: FilePart = {
        name: 'codes.csv',
        mediaType: 'text/csv',
        byteLength: secret.length,
        read: async () => Buffer.from(secret),
      }
      server.answer({ status: 400, body: { error: { message: `Invalid content: ${secret}`, type: 'invalid_request_error' } } })
      const error = await rejection(generate({ messages: [{ role: 'user', content: 'Read.', files: [file] }] }))
      expect(JSON.stringify(lastBody())).toContain(secret)
      expect(JSON.stringify(error) + String(error)).not.toContain('launch code')
    })

    test('a file that is no longer stored fails the attempt with its own error, before anything is sent', async () => {
      const before = server.requests.length
      const gone = new Error('the file is gone')
      const file: FilePart = { name: 'a.png', mediaType: 'image/png', byteLength: 1, read: () => Promise.reject(gone) }
      expect(await rejection(generate({ messages: [{ role: 'user', content: 'Look.', files: [file] }] }))).toBe(gone)
      expect(server.requests.length).toBe(before)
    })

    test('an answer must fit a schema also where tools are offered', async () => {
      server.answer(wire.wholeCalls([PARIS]))
      const outputSchema = {
        type: 'object',
        properties: { verdict_of_weather: { type: 'string' } },
        required: ['verdict_of_weather'],
        additionalProperties: false,
      }
      const { notes } = await generate({ outputSchema })
      const isSent = JSON.stringify(lastBody()).includes('verdict_of_weather')
      expect(isSent || notes.some((note) => note.startsWith('outputSchema was left out'))).toBe(true)
      expect(sent().tools).toHaveLength(2)
    })
  })
}

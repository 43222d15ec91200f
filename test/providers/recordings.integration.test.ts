import { existsSync, readFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { callFactsOf } from '../../src/domain/execution/call-facts.ts'
import type { ModelResponse } from '../../src/domain/execution/model-call.ts'
import { createAnthropicProvider } from '../../src/providers/anthropic/anthropic.ts'
import { createGoogleProvider } from '../../src/providers/google/google.ts'
import { createOpenAiProvider } from '../../src/providers/openai/openai.ts'
import { createOpenAiCompatibleProvider } from '../../src/providers/openai-compatible.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { listenOnLoopback } from '../support/loopback.ts'

interface Tokens {
  readonly inputTotal: number | null
  readonly cacheRead: number
  readonly cacheWrite: number
  readonly outputTotal: number | null
  readonly reasoning: number
}

interface Recording {
  readonly id: string
  readonly provider: string
  readonly api: 'chat' | 'responses' | 'messages' | 'generateContent'
  readonly stream: boolean
  readonly model: string | null
  readonly response: { readonly body: { readonly data: string; readonly encoding?: string } }
  readonly expected: {
    readonly text: string
    readonly reasoningText: string
    readonly refusal: string | null
    readonly toolCalls: readonly { readonly id: string | null; readonly name: string; readonly arguments: string }[]
    readonly model: string | null
    readonly finish: string | null
    readonly finishAccept?: readonly string[] | null
    readonly tokens: Tokens | null
    /** Every model call behind the answer that is paid for. */
    readonly tokensBilled?: readonly Omit<Tokens, 'reasoning'>[]
    readonly providerCostUsd?: number
    readonly isError: boolean
    readonly incomplete: boolean
    readonly error: { readonly status: number; readonly where: string } | null
    readonly ambiguous?: readonly string[]
  }
}

interface ReplayModule {
  load(file: string): Map<string, Recording>
  createServer(corpus: Map<string, Recording>): { readonly server: Server }
}

/** Third-party data beside the repository, run from there and never copied. */
const folder = new URL('../../../shared/recordings/', import.meta.url)
const corpusFile = new URL('corpus.json', folder)
const isThere = existsSync(corpusFile)
if (!isThere) console.log('recordings: skipped, because ../shared/recordings is not beside the repository')

const recordings: readonly Recording[] = isThere ? JSON.parse(readFileSync(corpusFile, 'utf8')).entries : []
const SEEDS = ['1', '2', '3']
const CUTS = ['0', '0.02', '0.2', '0.45', '0.7', '0.9', '0.97']

/** What says, on the wire, that an answer is whole: a stream cut behind it may pass. */
const TERMINAL_MARKS: Readonly<Record<Recording['api'], RegExp>> = {
  chat: /"finish_reason":\s*"\w+"[^\n]*\n/,
  responses: /"type":\s*"response\.(completed|incomplete)"[^\n]*\n/,
  messages: /message_stop/,
  generateContent: /"finishReason":\s*"\w+"[\s\S]*?\n/,
}

describe.skipIf(!isThere)('recorded answers of real vendors', () => {
  let server: Server | undefined
  let origin = ''

  beforeAll(async () => {
    const replay: ReplayModule = await import(new URL('server.mjs', folder).href)
    const replayed = replay.createServer(replay.load(corpusFile.pathname)).server
    server = replayed
    const port = await listenOnLoopback(replayed)
    origin = `http://127.0.0.1:${port}`
  })
  afterAll(() => {
    server?.closeAllConnections()
    server?.close()
  })

  async function ask(recording: Recording, headers: Readonly<Record<string, string>>) {
    const provider = await createProviderFor(recording, `${origin}/r/${recording.id}`, headers)
    let streamed = ''
    const onDelta = (text: string) => {
      streamed += text
    }
    const answer = await provider.generate(
      { model: recording.model ?? 'some-model', messages: [{ role: 'user', content: 'Hello.' }], settings: {} },
      {
        signal: new AbortController().signal,
        ...(recording.stream && { onDelta }),
      },
    )
    if (recording.stream) expect(streamed).toBe(answer.text)
    return answer
  }

  const broken = recordings.filter(({ expected }) => expected.isError || expected.incomplete || expected.finish === 'queued')
  const whole = recordings.filter((recording) => !broken.includes(recording))

  test.each(whole.map((recording) => [recording.id, recording] as const))(
    'the recorded answer %s is read',
    async (_, recording) => {
      for (const seed of SEEDS) expectAsRecorded(recording, await ask(recording, { 'x-recording-seed': seed }))
    },
  )

  test.each(broken.map((recording) => [recording.id, recording] as const))(
    'the recording %s is rejected as an answer',
    async (_, recording) => {
      const { error: vendorError, incomplete } = recording.expected
      for (const seed of SEEDS) {
        const error = await rejectionOf(ask(recording, { 'x-recording-seed': seed }))
        expect(error).toMatchObject({ code: expect.stringMatching(/^(PROVIDER_|CONTENT_FILTERED)/) })
        if (incomplete) expect(error).toMatchObject({ code: 'PROVIDER_STREAM_CUT' })
        if (vendorError?.where === 'http') expect(callFactsOf(error).status).toBe(vendorError.status)
      }
    },
  )

  test.each(whole.map((recording) => [recording.id, recording] as const))(
    '%s is rejected as an answer when it is cut',
    async (_, recording) => {
      const { data, encoding } = recording.response.body
      const bytes = Buffer.from(data, encoding === 'base64' ? 'base64' : 'utf8')
      for (const cut of CUTS) {
        const sent = bytes.subarray(0, Math.floor(bytes.length * Number(cut))).toString('utf8')
        const settled = await ask(recording, { 'x-recording-cut': cut }).catch((error: unknown) => error)
        if (recording.stream && TERMINAL_MARKS[recording.api].test(sent) && !(settled instanceof Error)) continue
        expect(settled, `cut at ${cut}`).toMatchObject({
          code: expect.stringMatching(/^PROVIDER_(STREAM_CUT|UNAVAILABLE|BAD_REPLY)$/),
        })
      }
    },
  )
})

function createProviderFor(
  { provider, api }: Recording,
  baseUrl: string,
  headers: Readonly<Record<string, string>>,
): Promise<Provider> {
  const settings = { id: provider, vendor: provider, apiKey: 'test-key', headers, simulated: false }
  if (api === 'messages') return createAnthropicProvider({ ...settings, baseUrl })
  if (api === 'generateContent') return createGoogleProvider({ ...settings, baseUrl })
  const create = provider === 'openai' ? createOpenAiProvider : createOpenAiCompatibleProvider
  return create({ ...settings, baseUrl: `${baseUrl}/v1`, api })
}

function expectAsRecorded({ expected }: Recording, answer: ModelResponse): void {
  // The corpus joins what a model says on its way to the answer with the answer; here it is reasoning.
  const hasCommentary = answer.notes.some((note) => note.includes('before its final answer'))
  if (hasCommentary) expect(`${answer.reasoningText}${answer.text}`).toBe(`${expected.reasoningText}${expected.text}`)
  else {
    expect(answer.text).toBe(expected.text)
    expect(answer.reasoningText ?? '').toBe(expected.reasoningText)
  }
  expect(answer.refusal ?? null).toBe(expected.refusal)
  const calls = (answer.toolCalls ?? []).map((call) => ({ ...call, id: call.id ?? null }))
  expect(calls).toEqual(expected.toolCalls)
  if (expected.model) expect(answer.model).toBe(expected.model)
  if (expected.finishAccept) expect(expected.finishAccept).toContain(answer.finishReason)
  expectUsage(toBilledTokens(expected), answer, expected.ambiguous?.includes('usage') ?? false)
  if (expected.providerCostUsd === undefined) expect(answer.providerCostUsd).toBeUndefined()
  else expect(answer.providerCostUsd).toBeCloseTo(expected.providerCostUsd, 12)
}

/** Where several calls of the model are paid for one answer, their sum. */
function toBilledTokens({ tokens, tokensBilled = [] }: Recording['expected']): Tokens | null {
  if (!tokens || tokensBilled.length < 2) return tokens
  const sum = (field: 'inputTotal' | 'cacheRead' | 'cacheWrite' | 'outputTotal') =>
    tokensBilled.reduce((total, call) => total + (call[field] ?? 0), 0)
  return {
    inputTotal: sum('inputTotal'),
    cacheRead: sum('cacheRead'),
    cacheWrite: sum('cacheWrite'),
    outputTotal: sum('outputTotal'),
    reasoning: tokens.reasoning,
  }
}

function expectUsage(tokens: Tokens | null, { usage }: ModelResponse, isAmbiguous: boolean): void {
  if (!tokens) {
    expect(usage).toEqual({ source: 'unknown' })
    return
  }
  expect(usage.source).toBe('reported')
  if (isAmbiguous) return
  expect({
    inputTotal: usage.inputTokens ?? null,
    cacheRead: usage.cachedInputTokens ?? 0,
    cacheWrite: usage.cacheWriteTokens ?? 0,
    outputTotal: usage.outputTokens ?? null,
    reasoning: usage.reasoningTokens ?? 0,
  }).toEqual({
    inputTotal: tokens.inputTotal,
    cacheRead: tokens.cacheRead,
    cacheWrite: tokens.cacheWrite,
    outputTotal: tokens.outputTotal,
    reasoning: tokens.reasoning,
  })
}

const rejectionOf = (promise: Promise<ModelResponse>): Promise<unknown> =>
  promise.then(
    (answer) => expect.fail(`resolved with finish "${answer.finishReason}" and ${answer.text.length} characters`),
    (error: unknown) => error,
  )

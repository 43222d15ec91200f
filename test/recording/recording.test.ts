import { appendFileSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/async/clock.ts'
import { callFactsOf, withCallFacts } from '../../src/domain/execution/call-facts.ts'
import type { ModelRequest, ModelResponse } from '../../src/domain/execution/model-call.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { fence } from '../../src/prompts/fence.ts'
import type { GenerateOptions, Provider } from '../../src/providers/provider.ts'
import { createRecordedProviders } from '../../src/providers/recording/recorded-providers.ts'
import { openRecorder } from '../../src/providers/recording/recorder.ts'
import { readRecording } from '../../src/providers/recording/recording.ts'
import { createRedaction } from '../../src/providers/recording/redaction.ts'
import { createReplayedProviders } from '../../src/providers/recording/replayed-providers.ts'
import { createProviderService } from '../../src/providers/registry.ts'
import { createScriptedProvider, type ScriptedReplies } from '../../src/providers/scripted.ts'
import { manualClock, settled } from '../support/calls.ts'
import { rejection } from '../support/caught.ts'

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'polyphony-recording-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const ask = (content: string, more: Partial<ModelRequest> = {}): ModelRequest => ({
  model: 'm',
  messages: [{ role: 'user', content }],
  settings: {},
  ...more,
})

const plain = (): GenerateOptions => ({ signal: new AbortController().signal })

/** Options of a streamed request, with everything that it delivered. */
function streamed(signal = new AbortController().signal) {
  const seen: unknown[] = []
  const options: GenerateOptions = {
    signal,
    onDelta: (text) => seen.push(text),
    onReasoning: (reasoning) => seen.push({ reasoning }),
    onVoid: () => seen.push('void'),
  }
  return { options, seen }
}

/** Opens a provider whose requests are kept; `close` ends the recording. */
async function record(provider: Provider, secrets: readonly string[] = []) {
  const recorder = await openRecorder({ directory, secrets })
  const providers = createRecordedProviders(createProviderService({ providers: { [provider.id]: provider } }), recorder)
  return { provider: await providers.get(provider.id), close: recorder.close }
}

const recordScript = (replies: ScriptedReplies, secrets?: readonly string[]) =>
  record(createScriptedProvider({ vendor: 'acme', replies }), secrets)

async function replay(clock: Clock = systemClock, configured = createProviderService({ providers: {} })) {
  const recording = await readRecording(directory)
  return createReplayedProviders(configured, { recording, redact: createRedaction([]), retryAfterCapMs: 1_000, clock })
}

const replayed = async (clock?: Clock) => (await replay(clock)).get('scripted')

const exchangeFiles = () => readdirSync(join(directory, 'exchanges')).map((name) => join(directory, 'exchanges', name))
const allText = () =>
  [join(directory, 'recording.jsonl'), ...exchangeFiles()].map((path) => readFileSync(path, 'utf8')).join('\n')

const FULL: ModelResponse = {
  text: 'The answer',
  reasoningText: 'First think',
  toolCalls: [{ id: 'call-1', name: 'search', arguments: '{"q":1}' }],
  sources: [{ kind: 'citation', url: 'https://example.org/', startIndex: 0, endIndex: 3 }],
  finishReason: 'stop',
  model: 'm-2026',
  usage: { inputTokens: 5, cachedInputTokens: 2, outputTokens: 7, totalTokens: 12, source: 'reported' },
  providerCostUsd: 0.5,
  serviceTier: 'flex',
  vendorTurn: { provider: 'scripted', model: 'm', blocks: [{ type: 'thinking', signature: 'abc' }] },
  files: [{ name: 'a.png', mediaType: 'image/png', data: new Uint8Array([0, 1, 255]) }],
  value: { total: 3 },
  notes: ['a note'],
}

describe('a recorded request', () => {
  test('is replayed with every field of its answer and every chunk in order, void ones and reasoning included', async () => {
    const original: Provider = {
      ...createScriptedProvider({ replies: [] }),
      vendor: 'acme',
      async generate(_request, { onDelta, onReasoning, onVoid }) {
        onReasoning?.('First ')
        onReasoning?.('think')
        onDelta?.('not the answer')
        onVoid?.()
        onDelta?.('The ')
        onDelta?.('answer')
        return FULL
      },
    }
    const { provider, close } = await record(original)
    const first = streamed()
    expect(await provider.generate(ask('hi'), first.options)).toEqual(FULL)
    await close()

    const providers = await replay()
    expect(providers.list()).toMatchObject([{ id: 'scripted', kind: 'scripted', vendor: 'acme', simulated: false, active: true }])
    const second = streamed()
    let activities = 0
    const answer = await (await providers.get('scripted')).generate(ask('hi'), {
      ...second.options,
      onActivity: () => {
        activities += 1
      },
    })
    expect(answer).toEqual(FULL)
    expect(second.seen).toEqual(first.seen)
    expect(second.seen).toEqual([{ reasoning: 'First ' }, { reasoning: 'think' }, 'not the answer', 'void', 'The ', 'answer'])
    expect(activities).toBe(6)
  })

  test('is replayed with the same error and facts; a wait that the provider asked for is over, unless it exceeds the cap', async () => {
    const failure = (retryAfterMs: number) =>
      withCallFacts(
        new OrchestratorError('PROVIDER_RATE_LIMITED', 'slow down', { details: { provider: 'scripted', status: 429 } }),
        {
          status: 429,
          retryAfterMs,
          generated: false,
        },
      )
    const { provider, close } = await recordScript([failure(1_000), failure(1_001), new TypeError('a bug')])
    for (let index = 0; index < 3; index++) await rejection(provider.generate(ask('hi'), plain()))
    await close()

    const again = await replayed()
    const short = await rejection(again.generate(ask('hi'), plain()))
    expect(short).toMatchObject({
      code: 'PROVIDER_RATE_LIMITED',
      message: 'slow down',
      details: { status: 429 },
      retryable: true,
    })
    expect(callFactsOf(short)).toEqual({ status: 429, retryAfterMs: 0, generated: false })
    const long = await rejection(again.generate(ask('hi'), plain()))
    expect(callFactsOf(long)).toMatchObject({ retryAfterMs: 1_001 })
    const bug = await rejection(again.generate(ask('hi'), plain()))
    expect(OrchestratorError.is(bug)).toBe(false)
    expect(bug).toMatchObject({ message: 'a bug' })
  })

  test('is found by the whole request: equal ones are answered in their order, whether they are streamed or not', async () => {
    const { provider, close } = await recordScript(['one', 'two', 'other'])
    await provider.generate(ask('hi'), plain())
    await provider.generate(ask('hi'), plain())
    await provider.generate(ask('hi', { settings: { temperature: 1 } }), plain())
    await close()

    const again = await replayed()
    const stream = streamed()
    expect(await again.generate(ask('hi', { settings: { temperature: 1 } }), plain())).toMatchObject({ text: 'other' })
    expect(await again.generate(ask('hi'), stream.options)).toMatchObject({ text: 'one' })
    expect(stream.seen).toEqual(['one'])
    expect(await again.generate(ask('hi'), plain())).toMatchObject({ text: 'two' })
  })

  test('is found with arguments named __proto__', async () => {
    const given: unknown = JSON.parse('{"__proto__":{"a":1},"b":{"__proto__":2}}')
    const request = ask('', { arguments: { ...Object(given) } })
    const { provider, close } = await recordScript(['one'])
    await provider.generate(request, plain())
    await close()
    expect(await (await replayed()).generate(request, plain())).toMatchObject({ text: 'one' })
  })

  test('is found although the markers around outputs are hashes of texts from which secrets were redacted', async () => {
    const { provider, close } = await recordScript(['fine'], ['hunter2'])
    const prompt = (draft: string) => ask(`Review ${fence(draft, 'draft')} and ${fence('a note', 'note')}`)
    await provider.generate(prompt('the word is hunter2'), plain())
    await close()
    const again = await replayed()
    expect(await rejection(again.generate(prompt('another draft'), plain()))).toMatchObject({ code: 'NOT_RECORDED' })
    expect(await again.generate(prompt('the word is [secret]'), plain())).toMatchObject({ text: 'fine' })
  })

  test('that a timeout ended is replayed as the timeout, without the wait', async () => {
    const { provider, close } = await recordScript([{ text: 'slow', hang: true }])
    const controller = new AbortController()
    const reason = new OrchestratorError('PROVIDER_UNAVAILABLE', 'too late', { details: { timeout: 'idle' } })
    const pending = rejection(provider.generate(ask('hi'), streamed(controller.signal).options))
    await settled()
    controller.abort(reason)
    expect(await pending).toBe(reason)
    await close()

    const { options, seen } = streamed()
    expect(await rejection((await replayed()).generate(ask('hi'), options))).toMatchObject({
      code: 'PROVIDER_UNAVAILABLE',
      details: { timeout: 'idle' },
    })
    expect(seen).toEqual(['slow'])
  })

  test('that its flow ended waits at replay for the same end, and fails if nothing ends it', async () => {
    const { provider, close } = await recordScript([
      { text: 'begun', hang: true },
      { text: 'begun', hang: true },
    ])
    for (let index = 0; index < 2; index++) {
      const controller = new AbortController()
      const pending = rejection(provider.generate(ask('hi'), streamed(controller.signal).options))
      await settled()
      controller.abort(new Error('cancelled'))
      await pending
    }
    await close()

    const clock = manualClock()
    const again = await replayed(clock)
    const controller = new AbortController()
    const { options, seen } = streamed(controller.signal)
    const ended = rejection(again.generate(ask('hi'), options))
    await settled()
    expect(seen).toEqual(['begun'])
    controller.abort(new Error('cancelled again'))
    expect(await ended).toMatchObject({ message: 'cancelled again' })

    const left = rejection(again.generate(ask('hi'), plain()))
    await clock.pass(5_000)
    expect(await left).toMatchObject({
      code: 'NOT_RECORDED',
      message: expect.stringContaining('nothing ended it within 5000 ms'),
    })
  })

  test('is ended by an abort between two chunks of its replay', async () => {
    const { provider, close } = await recordScript([{ text: 'abc', chunks: ['a', 'b', 'c'] }])
    await provider.generate(ask('hi'), streamed().options)
    await close()
    const controller = new AbortController()
    const seen: string[] = []
    const pending = (await replayed()).generate(ask('hi'), {
      signal: controller.signal,
      onDelta(text) {
        seen.push(text)
        if (text === 'b') controller.abort(new Error('enough'))
      },
    })
    expect(await rejection(pending)).toMatchObject({ message: 'enough' })
    expect(seen).toEqual(['a', 'b'])
  })
})

test('the operations of functions in this process are asked for at replay, but never run', async () => {
  const operation = { name: 'price', input: {}, idempotent: true, approval: false, expose: 'code', check: () => [] } as const
  const provider: Provider = {
    ...createScriptedProvider({ id: 'function', replies: [{ text: '7', value: 7 }] }),
    inProcess: true,
    operations: async () => [operation],
  }
  const call = ask('', { model: 'price', messages: [], arguments: { sku: 'a' } })
  const recorded = await record(provider)
  expect(await recorded.provider.operations?.()).toEqual([operation])
  expect(await recorded.provider.generate(call, plain())).toMatchObject({ value: 7 })
  await recorded.close()

  const { requests: _requests, ...unused } = createScriptedProvider({ id: 'function', replies: [] })
  const own: Provider = { ...unused, inProcess: true, operations: async () => [operation] }
  const providers = await replay(systemClock, createProviderService({ providers: { function: own } }))
  expect(providers.list()).toMatchObject([{ id: 'function', inProcess: true }])
  const again = await providers.get('function')
  expect(await again.operations?.()).toEqual([operation])
  expect(await again.generate(call, plain())).toMatchObject({ text: '7', value: 7 })
  expect(await rejection(again.generate({ ...call, arguments: { sku: 'b' } }, plain()))).toMatchObject({
    code: 'NOT_RECORDED',
    details: { differing: ['arguments.sku'] },
  })
})

describe('a request that was not recorded', () => {
  const SECRET_TEXT = 'a very private prompt'

  test('fails with the closest recorded request and the names of what differs, and never with a text', async () => {
    const { provider, close } = await recordScript(['one', 'two'])
    const base = { model: 'm', system: 'Be brief.', settings: { temperature: 0.5 } }
    await provider.generate(ask('far away', { model: 'other' }), plain())
    await provider.generate(ask('near', base), plain())
    await close()
    const error = await rejection(
      (await replayed()).generate(ask(SECRET_TEXT, { ...base, settings: { temperature: 0.7 } }), plain()),
    )
    expect(error).toMatchObject({
      code: 'NOT_RECORDED',
      retryable: false,
      details: { provider: 'scripted', model: 'm', differing: ['messages[0].content', 'settings.temperature'] },
    })
    const text = JSON.stringify(error) + String(error)
    expect(text).toMatch(/scripted-m-[0-9a-f]{16}-1\.json/)
    for (const prompt of [SECRET_TEXT, 'near', 'Be brief.']) expect(text).not.toContain(prompt)
  })

  test('fails if it is made more often than it was recorded, and if its provider was never asked', async () => {
    const { provider, close } = await recordScript(['one'])
    await provider.generate(ask('hi'), plain())
    await close()
    const own = createScriptedProvider({ id: 'own', replies: ['a live answer'] })
    const providers = await replay(systemClock, createProviderService({ providers: { own } }))
    const again = await providers.get('scripted')
    await again.generate(ask('hi'), plain())
    expect(await rejection(again.generate(ask('hi'), plain()))).toMatchObject({
      code: 'NOT_RECORDED',
      message: expect.stringContaining('recorded once and is made once more'),
    })
    expect(await rejection((await providers.get('own')).generate(ask('hi'), plain()))).toMatchObject({
      code: 'NOT_RECORDED',
      message: expect.stringContaining('none to this provider'),
    })
    expect(own.requests).toEqual([])
    expect(() => providers.assertUsable('nobody')).toThrow(expect.objectContaining({ code: 'PROVIDER_NOT_CONFIGURED' }))
    providers.setActive('own', false)
    await expect(providers.get('own')).rejects.toMatchObject({ code: 'PROVIDER_INACTIVE' })
  })
})

describe('the files of a recording', () => {
  test('hold no configured secret, also where it is spread over chunks, and no credentials of an address', async () => {
    const secret = 'sk-live-0123456789'
    const { provider, close } = await recordScript(
      [
        { text: `your key is ${secret}!`, chunks: ['your key is sk-live-', '0123456789!'] },
        new OrchestratorError('PROVIDER_REJECTED', `refused ${secret} at https://me:hunter2@proxy.example/`, {
          details: { at: secret },
        }),
      ],
      [secret],
    )
    await provider.generate(ask(`remember ${secret}`), streamed().options)
    await rejection(provider.generate(ask('hi'), plain()))
    await close()
    const text = allText()
    expect(text).not.toContain(secret)
    expect(text).not.toContain('0123456789')
    expect(text).not.toContain('hunter2')
    expect(text).toContain('remember [secret]')
    expect(text).toContain('https://…@proxy.example/')
  })

  test('hold no secret as JSON and addresses write it, in arguments that repeat an answer', async () => {
    const secret = 'pass"word\\ +/==0123'
    const json = JSON.stringify({ secret })
    const forms = [json, JSON.stringify({ json }), `${new URLSearchParams({ secret })}`, `secret=${encodeURIComponent(secret)}`]
    const { provider, close } = await recordScript(forms, [secret])
    for (const form of forms) await provider.generate(ask(form), plain())
    await close()
    const kept = await readRecording(directory)
    const answers = kept.exchanges.map(({ outcome }) => 'answer' in outcome && outcome.answer.text)
    expect(new Set(answers)).toEqual(
      new Set(['{"secret":"[secret]"}', '{"json":"{\\"secret\\":\\"[secret]\\"}"}', 'secret=[secret]']),
    )
    expect(allText()).not.toContain('0123')
  })

  test('are all kept when two writers record equal requests into one directory at the same time', async () => {
    const open = (texts: readonly string[]) => recordScript(texts.map((text) => text))
    const [one, two] = await Promise.all([open(['a', 'b', 'c']), open(['d', 'e', 'f'])])
    await Promise.all([one, two].flatMap(({ provider }) => [1, 2, 3].map(() => provider.generate(ask('hi'), plain()))))
    await Promise.all([one.close(), two.close()])
    const again = await replayed()
    const texts: string[] = []
    for (let index = 0; index < 6; index++) texts.push((await again.generate(ask('hi'), plain())).text)
    expect(texts.sort()).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
    expect(texts).toHaveLength(6)
    expect(readdirSync(directory).sort()).toEqual(['exchanges', 'recording.jsonl'])
  })

  test('have the same names and contents when the same requests are recorded again', async () => {
    const once = async () => {
      const { provider, close } = await recordScript(['one', 'two'])
      await provider.generate(ask(`Review ${fence('x')}`), streamed().options)
      await provider.generate(ask('b'), plain())
      await close()
      const text = allText()
      rmSync(directory, { recursive: true })
      return text
    }
    expect(await once()).toBe(await once())
  })

  test('are told apart by writer order when a recording is continued by a later process', async () => {
    for (const text of ['first', 'second']) {
      const { provider, close } = await recordScript([text])
      await provider.generate(ask('hi'), plain())
      await close()
    }
    const again = await replayed()
    expect(await again.generate(ask('hi'), plain())).toMatchObject({ text: 'first' })
    expect(await again.generate(ask('hi'), plain())).toMatchObject({ text: 'second' })
  })

  describe('are refused with file and line', () => {
    beforeEach(async () => {
      const { provider, close } = await recordScript(['an answer'])
      await provider.generate(ask('hi'), plain())
      await close()
    })
    const file = () => exchangeFiles()[0] ?? ''
    const edit = (change: (text: string) => string) => writeFileSync(file(), change(readFileSync(file(), 'utf8')))
    const problem = () => rejection(readRecording(directory))

    test('if the request was changed', async () => {
      edit((text) => text.replace('"hi"', '"ho"'))
      expect(await problem()).toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringMatching(/^exchanges\/scripted-m-\w+-1\.json:3: /),
      })
    })

    test('if a value is of the wrong kind', async () => {
      edit((text) => text.replace('"text": "an answer"', '"text": 7'))
      const line =
        readFileSync(file(), 'utf8')
          .split('\n')
          .findIndex((text) => text.includes('"text": 7')) + 1
      expect(await problem()).toMatchObject({ message: expect.stringContaining(`.json:${line}: outcome.answer.text: `) })
    })

    test('if they are not JSON', async () => {
      edit((text) => text.replace('"number": 1,', '"number": 1'))
      expect(await problem()).toMatchObject({ message: expect.stringMatching(/\.json:\d+: expected JSON/) })
    })

    test('if they were renamed', async () => {
      renameSync(file(), file().replace('-1.json', '-2.json'))
      expect(await problem()).toMatchObject({ message: expect.stringContaining('expected the name') })
    })

    test('if a fact is unreadable', async () => {
      const lines = readFileSync(join(directory, 'recording.jsonl'), 'utf8').split('\n').length
      appendFileSync(join(directory, 'recording.jsonl'), '{"kind":"flow","key":"x"}\n')
      expect(await problem()).toMatchObject({ message: expect.stringMatching(new RegExp(`^recording\\.jsonl:${lines}: id: `)) })
    })

    test('if they are of another version, by the reader and by the writer', async () => {
      writeFileSync(join(directory, 'recording.jsonl'), '{"kind":"recording","version":2}\n')
      const message = expect.stringMatching(/^recording\.jsonl:1: version: /)
      expect(await problem()).toMatchObject({ code: 'CONFIG_INVALID', message })
      expect(await rejection(openRecorder({ directory, secrets: [] }))).toMatchObject({ code: 'CONFIG_INVALID', message })
    })

    test('if the directory holds no recording', async () => {
      rmSync(join(directory, 'recording.jsonl'))
      expect(await problem()).toMatchObject({ message: expect.stringContaining('expected a recording made with --record') })
    })
  })

  test('that cannot be written fail the close and not the answer, which is paid for', async () => {
    const { provider, close } = await recordScript(['an answer'])
    rmSync(directory, { recursive: true })
    expect(await provider.generate(ask('hi'), plain())).toMatchObject({ text: 'an answer' })
    expect(await rejection(close())).toMatchObject({ code: 'INTERNAL', message: expect.stringContaining('is incomplete') })
  })
})

test('the newest list of operations counts, also where a server returns to an earlier one', async () => {
  let names: readonly string[] = []
  const toOperation = (name: string) =>
    ({ name, input: {}, idempotent: true, approval: false, expose: 'api', check: () => [] }) as const
  const server: Provider = {
    ...createScriptedProvider({ id: 'scripted', replies: [] }),
    operations: async () => names.map(toOperation),
  }
  const { provider, close } = await record(server)
  for (names of [['a'], ['a', 'b'], ['a'], ['a']]) await provider.operations?.()
  await close()
  expect((await (await replayed()).operations?.())?.map(({ name }) => name)).toEqual(['a'])
  expect(readFileSync(join(directory, 'recording.jsonl'), 'utf8').match(/"kind":"operations"/g)).toHaveLength(3)
})

test('tokens of authorization are removed, also those that no configuration holds, and words are not', () => {
  const redact = createRedaction([])
  expect(redact('{"authorization":"Bearer eyJ0.a-b_c","x":"basic dXNlcjpwdzEy=="}')).toBe(
    '{"authorization":"Bearer [secret]","x":"basic [secret]"}',
  )
  for (const text of ['Basic authentication', 'the bearer of 12 letters', 'Bearer tokens']) expect(redact(text)).toBe(text)
})

test('credentials of addresses are removed, also from a line of a megabyte that looks like the beginning of one', () => {
  const redact = createRedaction([])
  const line = 'a'.repeat(1_000_000)
  expect(redact(`${line} postgres://ada:secret@host/db`)).toBe(`${line} postgres://…@host/db`)
  for (const text of [`${line}://`, `https://${line}`, `https://a:${line}`, 'a://'.repeat(250_000)])
    expect(redact(text)).toBe(text)
})

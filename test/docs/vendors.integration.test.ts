import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { PRESETS, providerSettingsSchema } from '../../src/config/provider-settings.ts'
import { createOpenAiCompatibleProvider } from '../../src/providers/openai-compatible.ts'
import { PRESET_TABLE } from '../../src/providers/presets.ts'
import { createProviderService } from '../../src/providers/registry.ts'
import { recordOf } from '../../src/providers/vendor/foreign-json.ts'
import { rejection } from '../support/caught.ts'
import { createTestParser } from '../support/definitions.ts'
import { codeBlocks, codeIn, readMarkdown, tableOf } from '../support/markdown.ts'
import { chatWire } from '../support/openai-wires.ts'
import { createVendorServer } from '../support/vendor-server.ts'

const page = readMarkdown('docs/vendors.md')
const [accounts, definition] = codeBlocks(page)
  .filter(({ language }) => language === 'yaml')
  .map(({ code }) => parse(code))

describe('the page about vendors', () => {
  test('names every preset with its address', () => {
    const rows = tableOf(page, 'Preset')
    expect(rows.flatMap(([names = '']) => codeIn(names)).sort()).toEqual([...PRESETS].sort())
    for (const [names = '', address = ''] of rows) {
      const [stated] = codeIn(address)
      if (!stated?.startsWith('http')) continue
      expect(codeIn(names).map((name) => PRESET_TABLE[PRESETS.find((preset) => preset === name) ?? 'azure'].baseUrl)).toEqual([
        stated,
      ])
    }
  })

  test('shows accounts that the configuration accepts and that can be used', () => {
    const settings = Object.entries(recordOf(recordOf(accounts).providers)).map(
      ([id, given]) => [id, providerSettingsSchema.parse(given)] as const,
    )
    const service = createProviderService({ providers: Object.fromEntries(settings) })
    expect(service.list().map(({ id, vendor, origin }) => [id, vendor, origin])).toEqual([
      ['aws', 'bedrock', 'https://bedrock-runtime.us-west-2.amazonaws.com'],
      ['gateway', 'litellm', 'https://llm.example.org'],
      ['watched', 'openai', 'https://oai.helicone.ai'],
    ])
  })

  test('shows a definition that the parser accepts, with every setting but those of randomness', () => {
    const { steps } = createTestParser().parse(definition)
    expect(Object.keys(steps[0]?.settings ?? {})).toEqual([
      'maxTokens',
      'reasoning',
      'seed',
      'parallelToolCalls',
      'cache',
      'options',
    ])
  })

  test('states which files each preset reads', () => {
    const rows = tableOf(page, 'Files at').filter(([, reads = '']) => /images|only/.test(reads))
    const WORDS = { image: 'images', pdf: 'PDF', audio: 'sound' } as const
    const stated = new Map(rows.flatMap(([names = '', reads = '']) => codeIn(names).map((name) => [name, reads] as const)))
    for (const preset of PRESETS) {
      const reads = stated.get(preset) ?? stated.get('openai-compatible') ?? ''
      const files = PRESET_TABLE[preset].dialect.files
      for (const [kind, word] of Object.entries(WORDS)) {
        expect(reads.includes(word), `${preset} and ${kind}`).toBe(files.some((readable) => readable === kind))
      }
    }
  })
})

describe('accounts of clouds', () => {
  test.each([
    ['azure', '', '/openai/v1/chat/completions'],
    ['vertex', '/v1/projects/p/locations/l/endpoints/openapi', '/v1/projects/p/locations/l/endpoints/openapi/chat/completions'],
    ['bedrock', '/openai/v1', '/openai/v1/chat/completions'],
  ] as const)('%s sends a fresh token of a headers function with every request, at its own path', async (preset, root, path) => {
    const server = await createVendorServer()
    let tokens = 0
    const provider = await createOpenAiCompatibleProvider({
      id: 'cloud',
      vendor: preset,
      preset,
      baseUrl: `${server.url}${root}`,
      simulated: false,
      headers: async () => ({ Authorization: `Bearer token-${++tokens}` }),
    })
    try {
      server.answer(chatWire.whole('fine'))
      const ask = () =>
        provider.generate(
          { model: 'google/gemini-2.5-pro', messages: [{ role: 'user', content: 'Hello.' }], settings: {} },
          { signal: new AbortController().signal },
        )
      await ask()
      await ask()
      expect(server.requests.map((request) => [request.path, request.headers.authorization, request.headers['api-key']])).toEqual(
        [
          [path, 'Bearer token-1', undefined],
          [path, 'Bearer token-2', undefined],
        ],
      )
    } finally {
      await server.close()
    }
  })

  test('a fetch of the account sends its requests', async () => {
    const seen: string[] = []
    const provider = await createOpenAiCompatibleProvider({
      id: 'signed',
      vendor: 'openai-compatible',
      baseUrl: 'http://models.example/v1',
      simulated: false,
      fetch: async (input) => {
        seen.push(String(input))
        throw new TypeError('not today')
      },
    })
    const request = { model: 'm', messages: [{ role: 'user', content: 'Hello.' }], settings: {} } as const
    expect(await rejection(provider.generate(request, { signal: new AbortController().signal }))).toMatchObject({
      code: 'PROVIDER_UNAVAILABLE',
    })
    expect(seen).toEqual(['http://models.example/v1/chat/completions'])
  })
})

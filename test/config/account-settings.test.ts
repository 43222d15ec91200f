import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { describeSources, loadConfig, type PolyphonyConfigInput } from '../../src/config/config.ts'

let cwd: string
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'polyphony-accounts-'))
})
afterEach(() => rmSync(cwd, { recursive: true }))
const load = (input: PolyphonyConfigInput = {}, env: Record<string, string> = {}) => loadConfig(input, { env, cwd })

const SECRET = 'sk-live-4f9a'
const UNSENDABLE = [
  `${SECRET}\n${SECRET}`,
  `${SECRET}\rx`,
  `${SECRET}\u2026`,
  `${SECRET}\u0000`,
  `\u2022\u2022${SECRET}`,
  `${SECRET}\x7f`,
]

test.each(UNSENDABLE)(
  'a key that no header can hold is refused by the name of its setting, without its value: %j',
  async (apiKey) => {
    const refused = await load({ providers: { desk: { kind: 'google', apiKey } } }).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('providers.desk.apiKey') })
    expect(JSON.stringify(refused) + String(refused)).not.toContain('live')
  },
)

test('a key that no header can contain is refused with the name of its variable', async () => {
  for (const name of ['OPENAI_API_KEY', 'ANTHROPIC_API_KEY', 'GEMINI_API_KEY', 'GROQ_API_KEY']) {
    const refused = await load({}, { [name]: `${SECRET}\n${SECRET}` }).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining(name) })
    expect(JSON.stringify(refused) + String(refused)).not.toContain('live')
  }
})

test.each([
  ['a value with a line break', { 'x-team': `${SECRET}\r\nx: y` }],
  ['a value outside Latin-1', { 'api-key': `${SECRET}\u2019` }],
  ['a name with a space', { 'x team': SECRET }],
  ['a name of the connection', { 'Content-Length': SECRET }],
])('headers with %s are refused, without the value', async (_, headers) => {
  const refused = await load({ providers: { desk: { kind: 'openai', headers } } }).catch((error: unknown) => error)
  expect(refused).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('providers.desk.headers') })
  expect(JSON.stringify(refused) + String(refused)).not.toContain('live')
})

test('white space around a key is removed, from whatever source it comes', async () => {
  const { providers } = await load({ providers: { openai: { apiKey: ` ${SECRET}\n` } } }, { GEMINI_API_KEY: `\t${SECRET}\r\n` })
  expect(providers).toMatchObject({ openai: { apiKey: SECRET }, google: { apiKey: SECRET } })
})

test.each(['http://a\n.example/v1', 'http://ada:topsecret@models.example/v1'])('the base URL %j is refused', async (baseUrl) => {
  const refused = await load({ providers: { openai: { apiKey: 'k', baseUrl } } }).catch((error: unknown) => error)
  expect(refused).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('providers.openai.baseUrl') })
  expect(JSON.stringify(refused) + String(refused)).not.toContain('topsecret')
})

test('functions for fetch and headers are merged with a key of the environment', async () => {
  const headers = async () => ({ 'x-token': 't' })
  const { providers } = await load({ providers: { openai: { fetch, headers } } }, { OPENAI_API_KEY: 'k' })
  expect(providers).toMatchObject({ openai: { apiKey: 'k', fetch, headers } })
})

test('a proxy must be an http address, and its password is never shown', async () => {
  const refused = await load({ providers: { openai: { apiKey: 'k', proxy: 'socks5://ada:topsecret@p:1' } } }).catch(
    (error: unknown) => error,
  )
  expect(refused).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('providers.openai.proxy') })
  expect(JSON.stringify(refused) + String(refused)).not.toContain('topsecret')
  const shown = describeSources(await load({ providers: { openai: { apiKey: 'k', proxy: 'http://ada:topsecret@p:1' } } }))
  expect(JSON.stringify(shown)).not.toContain('topsecret')
})

test('a file in the working directory cannot redirect a key of the process to a proxy', async () => {
  writeFileSync(join(cwd, 'polyphony.yaml'), 'providers: { openai: { proxy: "http://proxy.example:8080" } }\n')
  await expect(load({}, { OPENAI_API_KEY: 'k' })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining('providers.openai.proxy'),
  })
})

test('options of an account are kept, but fields that Polyphony sets itself are refused', async () => {
  const options = { service_tier: 'flex', text: { verbosity: 'low' } }
  expect((await load({ providers: { openai: { apiKey: 'k', options } } })).providers).toMatchObject({ openai: { options } })
  const refused = load({ providers: { openai: { apiKey: 'k', options: { text: { format: {} } } } } })
  await expect(refused).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining('providers.openai.options.text.format: expected no field that Polyphony sets itself'),
  })
})

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { describeSources, loadConfig, type PolyphonyConfigInput } from '../../src/config/config.ts'
import { rejection } from '../support/caught.ts'

let cwd: string
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'polyphony-config-'))
})
afterEach(() => rmSync(cwd, { recursive: true }))

const write = (name: string, text: string) => writeFileSync(join(cwd, name), text)
const load = (input?: PolyphonyConfigInput, env: Record<string, string> = {}, flags?: PolyphonyConfigInput) =>
  loadConfig(input, { env, cwd, ...(flags && { flags }) })

describe('configuration', () => {
  test('has a default for every required value', async () => {
    const config = await load()
    expect(config).toMatchObject({ database: 'pglite://.polyphony/data', providers: {}, engine: 'local', simulator: false })
    expect(config.retry).toEqual({ baseDelayMs: 500, maxDelayMs: 30_000, retryAfterCapMs: 60_000 })
    expect(config.sources.size).toBe(0)
  })

  test('prefers flags to code, code to the environment, the environment to .env, and .env to the file', async () => {
    write(
      'polyphony.yaml',
      'database: memory://\nlogLevel: debug\nengine: bullmq\nredisUrl: redis://file\nagents: { critic: { model: m } }\n',
    )
    write('.env', 'DATABASE_URL=pglite://dotenv\nLOG_LEVEL=error\nPOLYPHONY_ENGINE=local\nREDIS_URL=redis://dotenv\n')
    const env = { DATABASE_URL: 'pglite://env', LOG_LEVEL: 'INFO', POLYPHONY_ENGINE: 'bullmq' }
    const config = await load({ database: 'pglite://code', logLevel: 'silent' }, env, { database: 'pglite://flag' })
    expect(config).toMatchObject({
      database: 'pglite://flag',
      logLevel: 'silent',
      engine: 'bullmq',
      redisUrl: 'redis://dotenv',
      agents: { critic: { model: 'm' } },
    })
    expect(describeSources(config)).toEqual([
      { key: 'agents.critic.model', value: 'm', source: 'polyphony.yaml:5:21' },
      { key: 'database', value: 'pglite://flag', source: '--database' },
      { key: 'engine', value: 'bullmq', source: 'POLYPHONY_ENGINE' },
      { key: 'logLevel', value: 'silent', source: 'argument of createPolyphony' },
      { key: 'redisUrl', value: 'redis://dotenv', source: 'REDIS_URL in .env' },
      { key: 'simulator', value: 'false', source: 'default' },
    ])
  })

  test('configures the providers whose keys are in the environment', async () => {
    const config = await load(
      {},
      { OPENAI_API_KEY: 'k1', GOOGLE_API_KEY: 'k2', GEMINI_BASE_URL: 'http://127.0.0.1:1', GROQ_API_KEY: 'k3', XAI_API_KEY: ' ' },
    )
    expect(config.providers).toEqual({
      openai: { apiKey: 'k1', active: true },
      google: { apiKey: 'k2', baseUrl: 'http://127.0.0.1:1', active: true },
      groq: { apiKey: 'k3', active: true },
    })
  })

  test('prefers GEMINI_API_KEY to GOOGLE_API_KEY', async () => {
    const config = await load({}, { GOOGLE_API_KEY: 'other', GEMINI_API_KEY: 'gemini' })
    expect(config.providers).toMatchObject({ google: { apiKey: 'gemini' } })
  })

  test('completes a provider named in code with its key from the environment', async () => {
    const config = await load({ providers: { openai: { maxConcurrency: 4 } } }, { OPENAI_API_KEY: 'k' })
    expect(config.providers).toEqual({ openai: { apiKey: 'k', maxConcurrency: 4, active: true } })
  })

  test('passes a provider object and a data source through unchanged', async () => {
    const provider = { id: 'x', kind: 'x', vendor: 'x', simulated: false, generate: () => Promise.reject(new Error('unused')) }
    const config = await load({ providers: { openai: provider } }, { OPENAI_API_KEY: 'k' })
    expect(config.providers.openai).toBe(provider)
  })

  test('reports an invalid value with its key, the expected and the found value, and the line', async () => {
    write('polyphony.yaml', 'providers:\n  local:\n    kind: openai-compatible\n    maxConcurrency: four\n')
    await expect(load()).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: 'providers.local.maxConcurrency: expected number, found "four" (polyphony.yaml:4:5)',
    })
  })

  test('CONFIG_INVALID lists all invalid keys at once', async () => {
    write('polyphony.yaml', 'databse: memory://\nprices:\n  openai/gpt-5.4: { inputPerMillion: -1, outputPerMillion: 2 }\n')
    const problems = [
      { key: 'prices.openai/gpt-5.4.inputPerMillion', source: 'polyphony.yaml:3:21' },
      { key: 'databse', source: 'polyphony.yaml:1:1' },
      { key: 'engine', found: '"remote"', source: 'POLYPHONY_ENGINE' },
    ]
    const error: unknown = await load({}, { POLYPHONY_ENGINE: 'remote' }).catch((error: unknown) => error)
    expect(error).toMatchObject({
      details: { problems: expect.arrayContaining(problems.map((problem) => expect.objectContaining(problem))) },
    })
  })

  test.each([
    ['a mistyped key', 'providers: { openai: { api_key: sk-secret } }'],
    ['a key in the place of settings', 'providers: { openai: sk-secret }'],
    ['a wrong header', 'providers: { openai: { headers: { authorization: [sk-secret] } } }'],
    ['a password in the database address', 'database: mysql://user:sk-secret@host/db'],
    ['a password in the redis address', 'redisUrl: http://user:sk-secret@host'],
    ['a password in a base URL', 'providers: { openai: { baseUrl: "ftp://user:sk-secret@host" } }'],
  ])('never shows the secret of %s', async (_, yaml) => {
    write('polyphony.yaml', yaml)
    const error: unknown = await load().catch((error: unknown) => error)
    expect(error).toMatchObject({ code: 'CONFIG_INVALID' })
    expect(JSON.stringify([error, String(error)])).not.toContain('sk-secret')
  })

  test('shows API keys only as set', async () => {
    const config = await load(
      {},
      { OPENAI_API_KEY: 'sk-secret', DATABASE_URL: 'postgresql://user:sk-secret@host/db?password=sk-secret' },
    )
    const described = describeSources(config)
    expect(JSON.stringify(described)).not.toContain('sk-secret')
    expect(described).toContainEqual({ key: 'providers.openai.apiKey', value: 'set', source: 'OPENAI_API_KEY' })
    expect(described).toContainEqual({ key: 'database', value: 'postgresql://…@host/db', source: 'DATABASE_URL' })
  })

  test('prints no header, variable or argument of an MCP server, and no key of the server', async () => {
    const config = await load({
      server: { apiKey: 'canary-key' },
      mcp: {
        web: { url: 'https://tools.example/mcp', headers: { authorization: 'Bearer canary-header' } },
        own: { command: 'tools', args: ['--token', 'canary-argument'], env: { TOKEN: 'canary-variable' } },
      },
    })
    const shown = describeSources(config)
    expect(JSON.stringify(shown)).not.toContain('canary')
    const source = 'argument of createPolyphony'
    expect(shown).toContainEqual({ key: 'mcp.own.env.TOKEN', value: 'set', source })
    expect(shown).toContainEqual({ key: 'mcp.own.command', value: 'tools', source })
    const wrong = await rejection(load({ mcp: { own: { command: 'tools', env: Object({ TOKEN: ['canary-variable'] }) } } }))
    expect(JSON.stringify(wrong)).not.toContain('canary')
  })

  test.each([
    ['polyphony.yaml', 'providers: { openai: { baseUrl: "https://elsewhere.example" } }'],
    ['.env', 'OPENAI_BASE_URL=https://elsewhere.example'],
  ])('does not let %s of the directory send a key of the process elsewhere', async (file, text) => {
    write(file, text)
    const expected = { code: 'CONFIG_INVALID', message: expect.stringContaining('providers.openai.baseUrl') }
    await expect(load({}, { OPENAI_API_KEY: 'sk-secret' })).rejects.toMatchObject(expected)
    await expect(load({ providers: { openai: { apiKey: 'sk-secret' } } })).rejects.toMatchObject(expected)
  })

  test('accepts a key and its address from one source, and a loopback address from any source', async () => {
    write('.env', 'OPENAI_API_KEY=k\nOPENAI_BASE_URL=https://proxy.example\nGROQ_BASE_URL=http://127.0.0.1:4000/v1')
    const { providers } = await load({}, { GROQ_API_KEY: 'g', MISTRAL_API_KEY: 'm', MISTRAL_BASE_URL: 'https://proxy.example' })
    expect(providers).toMatchObject({
      openai: { apiKey: 'k', baseUrl: 'https://proxy.example' },
      groq: { apiKey: 'g', baseUrl: 'http://127.0.0.1:4000/v1' },
      mistral: { apiKey: 'm', baseUrl: 'https://proxy.example' },
    })
  })

  test.each(['http://127.0.0.1.evil.example', 'http://localhost.evil.example', 'http://localhost:80@evil.example'])(
    'does not take %s for this machine',
    async (address) => {
      write('.env', `OPENAI_BASE_URL=${address}`)
      await expect(load({}, { OPENAI_API_KEY: 'k' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    },
  )

  test.each(['a: [', '- list', 'text', 'x: &a [1]\ny: *b'])('refuses a file that is not a configuration: %s', async (yaml) => {
    write('polyphony.yaml', yaml)
    await expect(load()).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('polyphony.yaml') })
  })

  test('does not change the environment of the process by reading .env', async () => {
    write('.env', 'POLYPHONY_TEST_ONLY=1\nOPENAI_API_KEY=from-dotenv')
    const config = await load({}, { OPENAI_API_KEY: 'from-environment' })
    expect(config.providers).toMatchObject({ openai: { apiKey: 'from-environment' } })
    expect(process.env.POLYPHONY_TEST_ONLY).toBeUndefined()
  })

  test('treats keys such as __proto__ as plain data', async () => {
    write('polyphony.yaml', 'agents:\n  __proto__: { model: m }\n  constructor: { model: c }\n')
    const outcome = await load().catch(() => undefined)
    expect(Object.hasOwn(Object.prototype, 'model')).toBe(false)
    expect(outcome?.agents.constructor).toEqual({ model: 'c' })
  })
})

import { describe, expect, test } from 'vitest'
import { createProviderService } from '../../src/providers/registry.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'

describe('createProviderService', () => {
  test('returns a provider object under the id of its entry', async () => {
    const provider = createScriptedProvider({ id: 'mine', replies: ['hello'] })
    const service = createProviderService({ providers: { mine: provider, other: provider } })
    expect(await service.get('mine')).toBe(provider)
    expect((await service.get('other')).id).toBe('other')
    const answer = await (await service.get('other')).generate(
      { model: 'm', messages: [], settings: {} },
      { signal: new AbortController().signal },
    )
    expect(answer.text).toBe('hello')
  })

  test('names the configured providers and suggests a similar one', async () => {
    const service = createProviderService({ providers: { anthropic: { apiKey: 'k' }, openai: { apiKey: 'k' } } })
    expect(() => service.assertUsable('antropic')).toThrow(
      expect.objectContaining({
        code: 'PROVIDER_NOT_CONFIGURED',
        message: 'provider "antropic" is not configured; did you mean "anthropic"? (configured: anthropic, openai)',
        details: { provider: 'antropic', configured: ['anthropic', 'openai'], suggestion: 'anthropic' },
      }),
    )
    await expect(service.get('mistral')).rejects.toMatchObject({
      code: 'PROVIDER_NOT_CONFIGURED',
      details: { provider: 'mistral' },
    })
  })

  test('closes all providers, also where one of them fails to close', async () => {
    const closed: string[] = []
    const closing = (id: string, close: () => Promise<void>) => ({ ...createScriptedProvider({ id, replies: [] }), close })
    const broken = closing('broken', () => Promise.reject(new Error('stuck')))
    const other = closing('other', async () => void closed.push('other'))
    const service = createProviderService({ providers: { broken, other } })
    await service.get('broken')
    await service.get('other')
    await expect(service.close()).rejects.toThrow('stuck')
    expect(closed).toEqual(['other'])
  })

  test('suggests no name that is not similar', () => {
    const service = createProviderService({ providers: { openai: { apiKey: 'k' } } })
    expect(() => service.assertUsable('mistral')).toThrow(
      expect.objectContaining({ details: { provider: 'mistral', configured: ['openai'] } }),
    )
  })

  test('treats a vendor without a key as not configured, unless it has a base URL', () => {
    const service = createProviderService({ providers: { google: {}, anthropic: { baseUrl: 'http://127.0.0.1:9' } } })
    expect(() => service.assertUsable('google')).toThrow(
      expect.objectContaining({ code: 'PROVIDER_NOT_CONFIGURED', message: expect.stringContaining('has no API key') }),
    )
    expect(() => service.assertUsable('anthropic')).not.toThrow()
    expect(service.list().map(({ id }) => id)).toEqual(['anthropic'])
  })

  test('rejects an inactive provider until it is activated', async () => {
    const service = createProviderService({ providers: { openai: { apiKey: 'k', active: false } } })
    await expect(service.get('openai')).rejects.toMatchObject({ code: 'PROVIDER_INACTIVE', details: { provider: 'openai' } })
    service.setActive('openai', true)
    expect(() => service.assertUsable('openai')).not.toThrow()
    service.setActive('openai', false)
    expect(() => service.assertUsable('openai')).toThrow(expect.objectContaining({ code: 'PROVIDER_INACTIVE' }))
  })

  test('takes kind and preset from the id, and rejects an entry that names neither', () => {
    const service = createProviderService({
      providers: {
        google: { apiKey: 'k' },
        groq: { apiKey: 'k' },
        ollama: {},
        second: { kind: 'anthropic', apiKey: 'k', baseUrl: 'https://eu.example/v1' },
        gateway: { preset: 'openrouter', apiKey: 'k' },
        local: { kind: 'openai-compatible', baseUrl: 'http://127.0.0.1:9/v1' },
        openai: { preset: 'azure', baseUrl: 'https://mine.openai.azure.com' },
      },
    })
    expect(service.list()).toMatchObject([
      { id: 'google', kind: 'google', vendor: 'google', origin: 'https://generativelanguage.googleapis.com' },
      { id: 'groq', kind: 'openai-compatible', vendor: 'groq', origin: 'https://api.groq.com' },
      { id: 'ollama', kind: 'openai-compatible', vendor: 'ollama', origin: 'http://127.0.0.1:11434' },
      { id: 'second', kind: 'anthropic', vendor: 'anthropic', origin: 'https://eu.example' },
      { id: 'gateway', kind: 'openai-compatible', vendor: 'openrouter', origin: 'https://openrouter.ai' },
      { id: 'local', kind: 'openai-compatible', vendor: 'openai-compatible', origin: 'http://127.0.0.1:9' },
      { id: 'openai', kind: 'openai-compatible', vendor: 'azure', origin: 'https://mine.openai.azure.com' },
    ])
    expect(() => createProviderService({ providers: { local: { baseUrl: 'http://127.0.0.1:9' } } })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining('providers.local') }),
    )
  })

  test('names the missing base URL of a service with an address per account', () => {
    const service = createProviderService({
      providers: { azure: { apiKey: 'k' }, mine: { kind: 'openai-compatible', apiKey: 'k' } },
    })
    for (const id of ['azure', 'mine'])
      expect(() => service.assertUsable(id)).toThrow(
        expect.objectContaining({ code: 'PROVIDER_NOT_CONFIGURED', message: expect.stringContaining('has no baseUrl') }),
      )
  })

  test.each([
    ['openai', 'openai'],
    ['google', 'google'],
    ['mistral', 'openai-compatible'],
  ])('builds %s with the adapter %s', async (id, kind) => {
    const service = createProviderService({ providers: { [id]: { apiKey: 'k' } } })
    expect(await service.get(id)).toMatchObject({ id, kind, vendor: id, simulated: false })
  })

  test('shows no key in its list', () => {
    const service = createProviderService({ providers: { openai: { apiKey: 'sk-canary' }, groq: { apiKey: 'gsk-canary' } } })
    expect(JSON.stringify(service.list())).not.toContain('canary')
  })

  test('loads an adapter once for concurrent callers', async () => {
    const service = createProviderService({ providers: { anthropic: { apiKey: 'k' } } })
    const [first, second] = await Promise.all([service.get('anthropic'), service.get('anthropic')])
    expect(first).toBe(second)
    expect(first).toMatchObject({ id: 'anthropic', kind: 'anthropic', vendor: 'anthropic', simulated: false })
  })

  test('requests the address of the simulator at first use and again after a failure, and marks the provider as simulated', async () => {
    const asked: string[] = []
    const service = createProviderService({
      providers: { anthropic: {}, google: {} },
      simulator: async (kind) => {
        asked.push(kind)
        if (asked.length === 1) throw new Error('not started')
        return { baseUrl: 'http://127.0.0.1:9', apiKey: 'simulated' }
      },
    })
    expect(service.list()).toMatchObject([
      { id: 'anthropic', simulated: true, origin: 'simulator' },
      { id: 'google', simulated: true },
    ])
    await expect(service.get('anthropic')).rejects.toThrow('not started')
    expect(await service.get('anthropic')).toMatchObject({ id: 'anthropic', simulated: true })
    expect(asked).toEqual(['anthropic', 'anthropic'])
  })
})

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { describeSources, loadConfig, type PolyphonyConfigInput } from '../../src/config/config.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { rejection } from '../support/caught.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

let cwd: string
beforeEach(() => {
  cwd = mkdtempSync(join(tmpdir(), 'polyphony-pools-'))
})
afterEach(() => rmSync(cwd, { recursive: true }))
const load = (input: PolyphonyConfigInput = {}, env: Record<string, string> = {}) => loadConfig(input, { env, cwd })

describe('pools of the configuration', () => {
  test('come from polyphony.yaml, with defaults for all but the members', async () => {
    writeFileSync(
      join(cwd, 'polyphony.yaml'),
      'pools:\n  writers:\n    members: [{ model: a/x }, { model: b/y/z, weight: 3, tier: 2 }]\n',
    )
    const { pools } = await load()
    expect(pools).toEqual({
      writers: {
        members: [
          { model: 'a/x', weight: 1, tier: 1 },
          { model: 'b/y/z', weight: 3, tier: 2 },
        ],
        strategy: 'performance_based',
        ejection: { failures: 3, baseMs: 5_000, maxMs: 60_000 },
        whenNobody: 'wait',
        maxQueue: 1_000,
        decayMs: 10_000,
      },
    })
  })

  test.each([
    [{ members: [] }, 'pools.p.members'],
    [{ members: [{ model: 'x' }] }, 'pools.p.members.0.model'],
    [{ members: [{ model: '/x' }] }, 'pools.p.members.0.model'],
    [{ members: [{ model: 'pool/other' }] }, 'pools.p.members.0.model'],
    [{ members: [{ model: 'a/x' }, { model: 'a/x' }] }, 'pools.p.members.1.model'],
    [{ members: [{ model: 'a/x', weight: 0 }] }, 'pools.p.members.0.weight'],
    [{ members: [{ model: 'a/x', tier: 0 }] }, 'pools.p.members.0.tier'],
    [{ members: [{ model: 'a/x' }], strategy: 'random' }, 'pools.p.strategy'],
    [{ members: [{ model: 'a/x' }], ejection: { baseMs: 10, maxMs: 5 } }, 'pools.p.ejection.maxMs'],
    [{ members: [{ model: 'a/x' }], stratgy: 'weighted' }, 'pools.p.stratgy'],
  ])('are refused with the path of what is wrong: %j', async (pool, path) => {
    writeFileSync(join(cwd, 'polyphony.json'), JSON.stringify({ pools: { p: pool } }))
    const error = await rejection(load())
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', details: { problems: [{ key: path }] } })
  })

  test('name only providers that are configured; an inactive one may be activated later', async () => {
    const a = createScriptedProvider({ id: 'a', replies: [] })
    const error = await rejection(
      openTestPolyphony({ providers: { anna: a }, pools: { p: { members: [{ model: 'anna/x' }, { model: 'ana/y' }] } } }),
    )
    expect(error).toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(/^pools\.p\.members\.1\.model: .*"ana" is not configured; did you mean "anna"/),
    })
    const providers = { a, b: { kind: 'openai', apiKey: 'sk-b', active: false } } as const
    const polyphony = await openTestPolyphony({ providers, pools: { p: { members: [{ model: 'a/x' }, { model: 'b/y' }] } } })
    await polyphony.close()
  })

  test('keep the name pool for themselves', async () => {
    const error = await rejection(openTestPolyphony({ providers: { pool: createScriptedProvider({ replies: [] }) } }))
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('providers.pool') })
  })
})

describe('several keys of one provider', () => {
  const KEYS = ['sk-first-key-000001', 'sk-second-key-00002']

  test('are never shown, neither as a value nor in an error', async () => {
    const config = await load({ providers: { openai: { apiKeys: KEYS } } })
    expect(JSON.stringify(describeSources(config))).not.toMatch(/first|second/)
    expect(describeSources(config)).toContainEqual(expect.objectContaining({ key: 'providers.openai.apiKeys', value: 'set' }))
    for (const apiKeys of [[...KEYS, KEYS[0] ?? ''], [`${KEYS[0]}\n`.repeat(2)], [], 'sk-first-key-000001', [7]]) {
      writeFileSync(join(cwd, 'polyphony.json'), JSON.stringify({ providers: { openai: { apiKeys } } }))
      const error = await rejection(load())
      expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('providers.openai.apiKeys') })
      expect(JSON.stringify(error) + String(error)).not.toMatch(/first|second/)
    }
  })

  test('of the process are not sent to an address from a file', async () => {
    writeFileSync(
      join(cwd, 'polyphony.json'),
      JSON.stringify({ providers: { openai: { baseUrl: 'https://elsewhere.example' } } }),
    )
    const error = await rejection(load({ providers: { openai: { apiKeys: KEYS } } }))
    expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('providers.openai.baseUrl') })
  })
})

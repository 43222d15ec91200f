import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { createScriptedProvider, type ScriptedProvider } from '../../src/providers/scripted.ts'
import { getFlowTemplate, listFlowTemplates } from '../../templates/index.ts'
import { HOSTILE_CONDITIONS, HOSTILE_TEMPLATES } from '../support/hostile-sources.ts'
import { pathsOf, REMOVED, replaced } from '../support/places.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { casesOf, SEED } from '../support/scale.ts'
import { unlessHung, watchProcess } from './observation.ts'
import { sixFlows } from './six-flows.ts'

const USER = 'ada'
const MALFORMED = casesOf(10_000, 1_000)
const observed = watchProcess()

let provider: ScriptedProvider
let polyphony: Polyphony
let threadId: string
beforeAll(async () => {
  const big = 'words and words '.repeat(6_000)
  provider = createScriptedProvider({ replies: ({ messages }) => (messages.at(-1)?.content.includes('BIG') ? big : 'short') })
  polyphony = await openTestPolyphony({ providers: { good: provider, bad: provider } })
  threadId = (await polyphony.conversations.createThread(USER)).id
  // Hostile templates read metadata, which the user allows here.
  await polyphony.dataSharing.set(USER, 'good', { allowConversationHistory: true })
})
afterAll(() => polyphony.close())

const SOUND: readonly unknown[] = [
  ...Object.values(
    sixFlows('m', 'm', { timeout: 100, fallbacks: [{ provider: 'good', model: 'm' }], settings: { maxTokens: 5 } }),
  ),
  ...listFlowTemplates().map(({ name }) => getFlowTemplate(name)),
]
const ODD_WORDS = [
  '',
  ' ',
  'bad',
  'first',
  'nobody',
  'all',
  'previous',
  '__proto__',
  'constructor',
  '{{',
  '{% if %}',
  '{{ steps.nobody.output }}',
]
const MORE_WORDS = [
  'steps.nobody.output == "x"',
  '((',
  'a'.repeat(300),
  'openai/',
  '/x',
  '\u0000',
  '💥',
  'GENERATE',
  'Sequential',
]
const NUMBERS = [Number.NaN, Number.POSITIVE_INFINITY, -1, 0, 1.5, -0, 2 ** 53]
const odd = fc.oneof(
  fc.constantFrom<unknown>(
    ...ODD_WORDS,
    ...MORE_WORDS,
    ...NUMBERS,
    null,
    undefined,
    true,
    [],
    {},
    [[]],
    [null],
    new Date(0),
    new Map(),
  ),
  fc.constantFrom<unknown>(REMOVED, () => 1, Symbol('x'), 10n, /x/, new Error('x'), Object.create(null), new Proxy({}, {})),
  fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true, maxDepth: 2 }),
)
const change = fc.record({
  place: fc.nat(),
  by: odd,
  unknownKey: fc.option(fc.string({ minLength: 1, maxLength: 8 }), { freq: 4 }),
})
const malformed = fc
  .record({ base: fc.constantFrom(...SOUND), changes: fc.array(change, { minLength: 1, maxLength: 3 }) })
  .map(({ base, changes }) =>
    changes.reduce<unknown>((definition, { place, by, unknownKey }) => {
      const paths = pathsOf(definition)
      const path = paths[place % paths.length] ?? []
      return replaced(definition, unknownKey === null ? path : [...path, unknownKey], by)
    }, base),
  )

/** What a caller without types hands over; the service must judge it itself. */
const asGiven = (input: unknown): FlowDefinitionInput => input as FlowDefinitionInput

async function isRefused(input: unknown): Promise<boolean> {
  const check = await polyphony.orchestrator.checkFlow(asGiven(input), USER)
  try {
    await polyphony.orchestrator.createFlow(threadId, USER, asGiven(input))
    return false
  } catch (error) {
    if (!OrchestratorError.is(error)) throw error
    expect(error.code).toBe('FLOW_INVALID')
    const { problems } = error.details
    const named = expect.objectContaining({ path: expect.any(String), message: expect.stringMatching(/\S/) })
    if (!Array.isArray(problems) || problems.length === 0) throw error
    expect(problems).toEqual(problems.map(() => named))
    // A key of the definition may hold any white space.
    const words = problems.map(({ path, message }) => `${path} ${message}`.trim().split(/\s+/).length)
    expect(Math.min(...words), error.message).toBeGreaterThanOrEqual(3)
    expect(check.ok).toBe(false)
    expect(check.problems.map(({ path }) => path)).toEqual(problems.map(({ path }) => path))
    expect(() => JSON.stringify(error)).not.toThrow()
    return true
  }
}

test(`${MALFORMED} malformed definitions are refused with a path by createFlow and checkFlow alike`, {
  timeout: 300_000,
}, async () => {
  let refused = 0
  for (const input of fc.sample(malformed, { numRuns: MALFORMED, seed: SEED })) if (await isRefused(input)) refused++
  expect(refused, `seed ${SEED}`).toBeGreaterThan(MALFORMED / 2)
  expect(Object.prototype).not.toHaveProperty('name')
  expect(observed.rejections).toEqual([])
})

/** Texts that only a file, the environment or the process could have given. */
function secrets(): readonly string[] {
  const readable = ['package.json', 'README.md', '/etc/passwd'].filter((path) => existsSync(path))
  const lines = readable.flatMap((path) => readFileSync(path, 'utf8').split('\n'))
  return [
    ...lines.filter((line) => line.length > 30).slice(0, 200),
    userInfo().homedir === '/' ? 'no home' : userInfo().homedir,
    process.version,
  ]
}

async function runHostile(definition: FlowDefinitionInput): Promise<string> {
  try {
    const flow = await polyphony.orchestrator.createFlow(threadId, USER, definition)
    const metadata = { path: 'package.json', list: Array.from({ length: 100 }, (_, index) => index), long: Array(5_000).fill(0) }
    await unlessHung(
      polyphony.orchestrator.executeFlow(flow.id, USER, { input: 'aaaa aaaa aaaa aaaa aaaa!', metadata }),
      definition.name,
    )
    return 'COMPLETED'
  } catch (error) {
    if (!OrchestratorError.is(error)) throw error
    return error.code
  }
}

const goodStep = (id: string, more: object = {}) => ({
  id,
  provider: 'good',
  model: 'm',
  action: 'generate' as const,
  prompt: 'short',
  ...more,
})
const STEPS = [
  goodStep('draft'),
  goodStep('big', { prompt: 'BIG' }),
  goodStep('runs', { prompt: 'x' }),
  goodStep('pattern', { prompt: 'x' }),
]

describe('hostile sources through a whole flow', () => {
  const forms: readonly (readonly [string, readonly string[], (source: string) => object])[] = [
    ['prompts', HOSTILE_TEMPLATES, (prompt) => ({ prompt })],
    ['system prompts', HOSTILE_TEMPLATES, (system) => ({ system })],
    ['conditions', HOSTILE_CONDITIONS, (condition) => ({ condition })],
  ]
  test.each(forms)(
    'hostile sources (%s) end in a typed error or in text and reveal nothing about this machine',
    { timeout: 300_000 },
    async (name, sources, toStep) => {
      const globals = Object.getOwnPropertyNames(globalThis).sort()
      const files = readdirSync('.').sort()
      const known = secrets()
      const outcomes = new Map<string, number>()
      for (const source of sources) {
        const before = provider.requests.length
        const steps = [...STEPS, goodStep('last', toStep(source))]
        const outcome = await runHostile({ name: `${name}: ${source.slice(0, 60)}`, type: 'sequential', steps })
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
        expect(['FLOW_INVALID', 'STEP_FAILED', 'COMPLETED'], source.slice(0, 200)).toContain(outcome)
        for (const { system = '', messages } of provider.requests.slice(before + STEPS.length)) {
          // What the source says itself is no secret.
          const sent = `${system}\n${messages.map(({ content }) => content).join('\n')}`
          expect(known.filter((secret) => sent.includes(secret) && !source.includes(secret))).toEqual([])
        }
      }
      expect(outcomes.get('FLOW_INVALID')).toBeGreaterThan(0)
      expect(Object.getOwnPropertyNames(globalThis).sort()).toEqual(globals)
      expect(readdirSync('.').sort()).toEqual(files)
      expect({}).not.toHaveProperty('polluted')
      expect(observed.rejections).toEqual([])
    },
  )
})

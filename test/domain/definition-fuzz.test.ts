import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { createTestParser, definitionOf } from '../support/definitions.ts'

const { parse } = createTestParser({ agents: { writer: { model: 'openai/gpt-5.4' } } })

const KEYS = [
  'id',
  'name',
  'provider',
  'model',
  'action',
  'agent',
  'prompt',
  'system',
  'inputFrom',
  'dependsOn',
  'settings',
  'condition',
]
const MORE_KEYS = [
  'otherwise',
  'optional',
  'fallbacks',
  'samples',
  'outputSchema',
  'timeout',
  'maxRetries',
  '__proto__',
  'constructor',
  'toString',
]
const TOP_KEYS = [
  'name',
  'type',
  'steps',
  'input',
  'contextPolicy',
  'limits',
  'maxExecutionTime',
  'onError',
  'parallel',
  '__proto__',
  'constructor',
]
const TEXTS = [
  '',
  'x',
  'original',
  'previous',
  'all',
  's0',
  's1',
  '__proto__',
  'openai/gpt',
  '/',
  'generate',
  'graph',
  '{{ steps.s1.output }}',
  '{{',
  '{% if',
  'steps.s0.output == "x"',
  '((((',
]

const scalar = fc.oneof(
  fc.constantFrom(...TEXTS),
  fc.string(),
  fc.double(),
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
  fc.constant(undefined),
)
const anything = fc.oneof(
  scalar,
  fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withNullPrototype: true,
    withTypedArray: true,
    withSparseArray: true,
    maxDepth: 4,
  }),
)
const value = fc.oneof(
  { weight: 4, arbitrary: scalar },
  { weight: 2, arbitrary: anything },
  { weight: 1, arbitrary: fc.array(scalar, { maxLength: 4 }) },
)
const step = fc.dictionary(fc.constantFrom(...KEYS, ...MORE_KEYS), value, { maxKeys: 8 })
const soundStep = fc.record({
  id: fc.constantFrom('s0', 's1', 's2'),
  model: fc.constant('openai/gpt-5.4'),
  action: fc.constant('generate'),
})
const mixedStep = fc.tuple(soundStep, step).map(([sound, odd]) => ({ ...sound, ...odd }))
const definition = fc.oneof(
  anything,
  fc.dictionary(fc.constantFrom(...TOP_KEYS), value, { maxKeys: 6 }),
  fc
    .tuple(
      fc.array(fc.oneof(step, mixedStep, value), { maxLength: 5 }),
      fc.dictionary(fc.constantFrom(...TOP_KEYS), value, { maxKeys: 3 }),
    )
    .map(([steps, rest]) => ({ name: 'x', type: 'sequential', steps, ...rest })),
)

const PROBLEM = expect.objectContaining({ path: expect.stringMatching(/\S/), message: expect.stringMatching(/\S/) })

/** The message must name a path, and nothing but FLOW_INVALID may come out. */
function judge(input: unknown): 'accepted' | 'refused' {
  try {
    const parsed = parse(input)
    expect(parsed.steps.length).toBeGreaterThan(0)
    for (const one of parsed.steps) expect([typeof one.provider, typeof one.model]).toEqual(['string', 'string'])
    return 'accepted'
  } catch (error) {
    if (!OrchestratorError.is(error)) throw error
    expect(error.code).toBe('FLOW_INVALID')
    const problems: unknown = error.details.problems
    expect(problems).not.toEqual([])
    expect(problems).toEqual(Array.isArray(problems) ? problems.map(() => PROBLEM) : [PROBLEM])
    return 'refused'
  }
}

test('10,000 malformed definitions end in FLOW_INVALID that names a path, or are valid', { timeout: 60_000 }, () => {
  const counts = { accepted: 0, refused: 0 }
  fc.assert(
    fc.property(definition, (input) => {
      counts[judge(input)]++
    }),
    { numRuns: 10_000 },
  )
  expect(counts.refused).toBeGreaterThan(5_000)
})

const throwing = (): never => {
  throw new Error('trap')
}
const revoked = Proxy.revocable({}, {})
revoked.revoke()
const cyclic: Record<string, unknown> = { name: 'x', type: 'sequential' }
cyclic.steps = [cyclic]
cyclic.self = cyclic
const deep = (depth: number): unknown => JSON.parse(`${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`)
const deepList = (depth: number): unknown => JSON.parse('['.repeat(depth) + ']'.repeat(depth))
const wideCycle: Record<string, unknown> = {}
for (const key of ['a', 'b', 'c']) wideCycle[key] = wideCycle

test.each<[string, unknown]>([
  [
    'a getter that throws',
    Object.defineProperty({ name: 'x', type: 'sequential' }, 'steps', { enumerable: true, get: throwing }),
  ],
  ['a proxy that throws', new Proxy({}, { get: throwing, ownKeys: throwing, has: throwing, getPrototypeOf: throwing })],
  ['a revoked proxy', revoked.proxy],
  ['a step that is a revoked proxy', definitionOf([]) && { ...definitionOf([]), steps: [revoked.proxy] }],
  ['an object that holds itself', cyclic],
  ['a schema that holds itself three times', definitionOf([{ outputSchema: wideCycle }])],
  [
    'a schema with a getter that throws',
    definitionOf([{ outputSchema: { properties: Object.defineProperty({}, 'a', { enumerable: true, get: throwing }) } }]),
  ],
  ['a schema 10,000 levels deep', definitionOf([{ outputSchema: deep(10_000) }])],
  ['a definition 10,000 levels deep', deep(10_000)],
  ['steps 10,000 lists deep', { name: 'x', type: 'sequential', steps: deepList(10_000) }],
  ['a million steps', { name: 'x', type: 'sequential', steps: new Array(1_000_000).fill(0) }],
  ['a hundred thousand dependencies', definitionOf([{ dependsOn: new Array(100_000).fill('nobody') }])],
  [
    'keys of the prototype',
    JSON.parse('{"__proto__":{"name":"x"},"constructor":{"prototype":{}},"name":"x","type":"sequential","steps":[]}'),
  ],
  [
    'a step whose prototype is polluted',
    JSON.parse('{"name":"x","type":"sequential","steps":[{"__proto__":{"id":"a","model":"a/b","action":"generate"}}]}'),
  ],
  ['an array with a length and no entries', { name: 'x', type: 'sequential', steps: { length: 3 } }],
  ['a function as definition', throwing],
  ['an action that is an object with toString', definitionOf([{ action: { toString: throwing } }])],
])('%s is refused', (_, input) => {
  expect(judge(input)).toBe('refused')
  expect(Object.prototype).not.toHaveProperty('name')
})

test('problems are kept to a hundred, however many there are', () => {
  const steps = Array.from({ length: 400 }, () => ({ foo: 1 }))
  try {
    parse({ name: 'x', type: 'sequential', steps })
  } catch (error) {
    if (!OrchestratorError.is(error)) throw error
    expect(error.details.problems).toHaveLength(100)
    expect(error.message.length).toBeLessThan(2_000)
  }
})

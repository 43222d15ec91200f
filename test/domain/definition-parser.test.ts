import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { caught } from '../support/caught.ts'
import { createTestParser, definitionOf, problemsOf } from '../support/definitions.ts'

const parser = createTestParser({
  agents: {
    writer: { model: 'anthropic/claude-opus-4-6', system: 'Be brief.', settings: { temperature: 0.2, maxTokens: 500 } },
    judge: { provider: 'openai' },
  },
})
const parse = (steps: readonly object[], rest?: object) => parser.parse(definitionOf(steps, rest))
const problems = (steps: readonly object[], rest?: object) => problemsOf(() => parse(steps, rest))

describe('a sound definition', () => {
  test('a valid definition gets its defaults', () => {
    expect(parse([{}])).toMatchObject({
      contextPolicy: {
        shareConversationHistory: false,
        shareStepOutputs: true,
        maxSharedTokens: 10_000,
        includeOriginalPrompt: true,
        preserveSystemPrompts: false,
      },
      steps: [{ id: 's0', provider: 'openai', model: 'gpt-5.4', fallbacks: [] }],
    })
  })

  test('a parsed definition is deeply frozen and shares nothing with the input', () => {
    const input = definitionOf([
      { settings: { stopSequences: ['x'] }, dependsOn: [], outputSchema: { type: 'object', properties: {} } },
    ])
    const definition = parser.parse(input)
    expect(Object.isFrozen(definition.steps)).toBe(true)
    expect(Object.isFrozen(definition.steps[0]?.settings?.stopSequences)).toBe(true)
    expect(Object.isFrozen(input.steps)).toBe(false)
    expect(Object.isFrozen(input.steps[0])).toBe(false)
    expect(Reflect.set(definition, 'name', 'other')).toBe(false)
  })

  test('functions and zod schemas are kept unchanged', () => {
    const prompt = () => 'x'
    const schema = z.object({ a: z.string() })
    const [step] = parse([{ prompt, outputSchema: schema }]).steps
    expect(step?.prompt).toBe(prompt)
    expect(step?.outputSchema).toBe(schema)
  })

  test('a JSON Schema becomes a validator', () => {
    const outputSchema = { type: 'object', properties: { score: { type: 'number', maximum: 1 } }, required: ['score'] }
    const schema = parse([{ outputSchema }]).steps[0]?.outputSchema
    if (!(schema instanceof z.ZodType)) throw new Error('expected a zod schema')
    expect(schema.safeParse({ score: 0.5 }).success).toBe(true)
    expect(schema.safeParse({ score: 2 }).success).toBe(false)
  })

  test('the settings block of a flow type is read by its schema', () => {
    const { parse } = createTestParser({
      flowTypes: [
        { type: 'graph', settingsKey: 'parallel', settings: z.strictObject({ maxConcurrency: z.number().default(3) }) },
      ],
    })
    expect(parse(definitionOf([{}], { type: 'graph', parallel: {} }))).toMatchObject({ parallel: { maxConcurrency: 3 } })
    expect(problemsOf(() => parse(definitionOf([{}], { type: 'graph', parallel: { maxConcurency: 1 } })))).toEqual([
      { path: 'parallel.maxConcurency', message: 'unknown key', suggestion: 'maxConcurrency' },
    ])
  })
})

describe('who answers', () => {
  const target = (step: object) => parse([{ model: undefined, ...step }]).steps[0]

  test.each([
    [{ model: 'openai/gpt-5.4' }, 'openai', 'gpt-5.4'],
    [{ model: 'openrouter/meta-llama/llama-3' }, 'openrouter', 'meta-llama/llama-3'],
    [{ provider: 'openrouter', model: 'meta-llama/llama-3' }, 'openrouter', 'meta-llama/llama-3'],
    [{ agent: 'writer' }, 'anthropic', 'claude-opus-4-6'],
    [{ agent: 'writer', model: 'google/gemini-3' }, 'google', 'gemini-3'],
    [{ agent: 'judge', model: 'gpt-5.4' }, 'openai', 'gpt-5.4'],
  ])('%j is %s and %s', (step, provider, model) => {
    expect(target(step)).toMatchObject({ provider, model })
  })

  test('an agent gives system prompt and settings, and those of the step override them', () => {
    expect(target({ agent: 'writer', settings: { temperature: 1 } })).toMatchObject({
      system: 'Be brief.',
      settings: { temperature: 1, maxTokens: 500 },
    })
    expect(target({ agent: 'writer', system: 'Be long.' })).toMatchObject({ system: 'Be long.' })
  })

  test('a fallback without a provider uses the provider of the step', () => {
    const fallbacks = [{ model: 'gpt-5.4-mini' }, { model: 'google/gemini-3' }, { provider: 'openrouter', model: 'a/b' }]
    expect(target({ model: 'openai/gpt-5.4', fallbacks })?.fallbacks).toEqual([
      { provider: 'openai', model: 'gpt-5.4-mini' },
      { provider: 'google', model: 'gemini-3' },
      { provider: 'openrouter', model: 'a/b' },
    ])
  })

  test.each([
    [{}, 'expected a provider and a model'],
    [{ model: 'gpt-5.4' }, 'expected a provider beside model "gpt-5.4"'],
    [{ provider: 'openai' }, 'expected a model of provider "openai"'],
    [{ model: '/gpt' }, 'both sides of the first slash'],
    [{ model: 'openai/' }, 'both sides of the first slash'],
    [{ agent: 'judge' }, 'expected a model of provider "openai"'],
  ])('a step with %j does not name a provider and a model', (step, message) => {
    expect(problems([{ model: undefined, ...step }])).toEqual([
      { path: 'steps[0].model', message: expect.stringContaining(message) },
    ])
  })

  test('an unknown agent is reported with a suggestion', () => {
    expect(problems([{ agent: 'wrtier' }])).toEqual([
      { path: 'steps[0].agent', message: 'no agent "wrtier"', suggestion: 'writer' },
    ])
  })
})

describe('problems', () => {
  test('all problems are reported at once, each with its path, its reason and a suggestion', () => {
    const input = {
      name: '',
      type: 'seqential',
      contextPolicy: { maxSharedTokens: -1 },
      limits: { maxCost: 1 },
      steps: [
        { id: 'draft', model: 'openai/gpt-5.4', action: 'genrate', promt: 'x' },
        {
          id: 'polish',
          model: 'gpt-5.4',
          action: 'refine',
          inputFrom: 'drfat',
          prompt: '{{ steps.drfat.output }}',
          settings: { temperature: 3 },
        },
        7,
        { id: 'draft', model: 'openai/gpt-5.4', action: 'refine' },
      ],
    }
    expect(problemsOf(() => parser.parse(input)).map(({ path, suggestion }) => [path, suggestion])).toEqual([
      ['name', undefined],
      ['type', 'sequential'],
      ['steps[0].action', 'generate'],
      ['steps[0].promt', 'prompt'],
      ['steps[1].settings.temperature', undefined],
      ['steps[2]', undefined],
      ['contextPolicy.maxSharedTokens', undefined],
      ['limits.maxCost', 'maxCostUsd'],
      ['steps[1].model', undefined],
      ['steps[3].id', undefined],
      ['steps[1].inputFrom', 'draft'],
      ['steps[1].prompt', 'draft'],
    ])
  })

  test('the message lists five problems and counts the rest', () => {
    const error = caught(() => parse(Array.from({ length: 7 }, () => ({ inputFrom: 'nobody' }))))
    if (!OrchestratorError.is(error)) throw error
    expect(error.message.split('\n')).toHaveLength(6)
    expect(error.message).toContain('steps[0].inputFrom: no step "nobody"\n')
    expect(error.message.endsWith('and 2 more')).toBe(true)
  })

  test('the message holds no long text of the definition', () => {
    const secret = `canary${'x'.repeat(300)}`
    const error = caught(() =>
      parse([{ prompt: `{{ ${secret} `, id: secret, inputFrom: secret, model: secret, settings: { temperature: secret } }]),
    )
    expect(JSON.stringify(error)).not.toContain(secret)
  })

  test.each([
    [null, 'null'],
    [undefined, 'nothing'],
    [42, '42'],
    [[], 'a list'],
    ['name: x', '"name: x"'],
    [() => 1, 'a function'],
  ])('%s is not a definition', (input, found) => {
    const [problem, ...others] = problemsOf(() => parser.parse(input))
    expect(problem).toMatchObject({ path: 'definition', message: expect.stringContaining(`found ${found}`) })
    expect(others).toEqual([])
  })

  test('a flow type without an executor is rejected', () => {
    const { parse } = createTestParser({ flowTypes: [{ type: 'sequential' }] })
    expect(problemsOf(() => parse(definitionOf([{}], { type: 'graph' })))).toMatchObject([
      { path: 'type', message: expect.stringContaining('graph') },
    ])
  })

  test('rules of the flow type are checked after the general ones', () => {
    const own = [{ path: 'steps', message: 'expected a critic' }]
    const { parse } = createTestParser({ flowTypes: [{ type: 'critique', check: () => own }] })
    expect(problemsOf(() => parse(definitionOf([{}], { type: 'critique' })))).toEqual(own)
  })
})

test('a fault in the rules of a flow type is not blamed on the definition', () => {
  const fault = new TypeError('fault')
  const check = () => {
    throw fault
  }
  const { parse } = createTestParser({ flowTypes: [{ type: 'critique', check }] })
  expect(caught(() => parse(definitionOf([{}], { type: 'critique' })))).toBe(fault)
})

describe('references between steps', () => {
  test.each(['previous', 'original', 'all'])('no step may be called %s', (id) => {
    expect(problems([{ id }])).toMatchObject([{ path: 'steps[0].id', message: expect.stringContaining('inputFrom reserves') }])
  })

  test.each([
    [{ inputFrom: 's1' }, 'steps[0].inputFrom'],
    [{ dependsOn: ['s1'] }, 'steps[0].dependsOn[0]'],
    [{ prompt: '{{ steps.s1.output }}' }, 'steps[0].prompt'],
    [{ system: '{{ steps.s1.output }}' }, 'steps[0].system'],
    [{ condition: 'steps.s1.output == "x"' }, 'steps[0].condition'],
  ])('%j names a later step', (step, path) => {
    expect(problems([step, {}])).toEqual([{ path, message: 'step "s1" comes later (steps[1])' }])
  })

  test('a step does not name itself', () => {
    expect(problems([{ inputFrom: 's0' }])).toMatchObject([{ path: 'steps[0].inputFrom', message: 'step "s0" names itself' }])
  })

  test('loops may name later steps and themselves, but not in dependsOn', () => {
    const steps = [{ prompt: '{{ steps.s1.output }}', inputFrom: 's1', condition: 'steps.s0.status == "x"' }, {}]
    expect(parse(steps, { type: 'refinement' }).steps).toHaveLength(2)
    expect(problems([{ dependsOn: ['s1'] }, {}], { type: 'refinement' })).toMatchObject([{ path: 'steps[0].dependsOn[0]' }])
  })

  test('a cycle is reported with its steps', () => {
    const cycle = problems([{ dependsOn: ['s2'] }, { inputFrom: 's0' }, { prompt: '{{ steps.s1.output }}' }]).find(
      ({ message }) => message.includes('→'),
    )
    expect(cycle?.message).toBe('steps wait for each other: s0 → s2 → s1 → s0')
  })

  test('a prompt that uses outputs contradicts shareStepOutputs: false, a condition does not', () => {
    const hidden = { contextPolicy: { shareStepOutputs: false } }
    expect(problems([{}, { prompt: '{{ steps.s0.output }}' }], hidden)).toMatchObject([
      { path: 'steps[1].prompt', message: expect.stringContaining('shareStepOutputs') },
    ])
    expect(problems([{}, { prompt: '{{ previous }}' }], hidden)).toHaveLength(1)
    expect(parse([{}, { condition: 'steps.s0.output == "x"' }], hidden).steps).toHaveLength(2)
  })

  test('mistakes in templates and conditions are reported with line and column', () => {
    expect(problems([{ prompt: 'Hi\n{{ orignal }}' }, { condition: 'original ==' }])).toMatchObject([
      { path: 'steps[0].prompt', message: 'unknown variable "orignal"; did you mean "original"? (line 2, column 4)' },
      { path: 'steps[1].condition', message: expect.stringContaining('line 1') },
    ])
  })

  test('otherwise excludes a condition, and is allowed only in conditional flows', () => {
    expect(problems([{ otherwise: true }])).toMatchObject([
      { path: 'steps[0].otherwise', message: expect.stringContaining('conditional') },
    ])
    expect(problems([{ otherwise: true, condition: 'true' }], { type: 'conditional' })).toMatchObject([
      { path: 'steps[0].otherwise', message: expect.stringContaining('both') },
    ])
    expect(parse([{ condition: 'true' }, { otherwise: true }], { type: 'conditional' }).steps).toHaveLength(2)
  })
})

test('the JSON Schema of a definition describes definitions as data', () => {
  const schema = parser.jsonSchema()
  expect(schema).toMatchObject({ type: 'object', required: ['name', 'type', 'steps'], additionalProperties: false })
  expect(JSON.stringify(schema)).not.toContain('{}]')
  expect(schema).toHaveProperty('properties.steps.items.properties.prompt.anyOf', [
    { type: 'string', maxLength: 200_000 },
    { type: 'object', properties: expect.anything(), required: ['function'], additionalProperties: false },
  ])
})

describe('options of vendors', () => {
  test('fields of a request that Polyphony sets itself are refused by their path, all of them', () => {
    const options = { openai: { model: 'x', text: { format: { type: 'text' }, verbosity: 'low' } }, anthropic: { stream: true } }
    expect(problems([{ settings: { options } }])).toEqual([
      {
        path: 'steps[0].settings.options.openai.model',
        message: 'expected no field that Polyphony sets itself (name the model in the step), found "x"',
      },
      {
        path: 'steps[0].settings.options.openai.text.format',
        message: expect.stringContaining('use `outputSchema` of the step'),
      },
      { path: 'steps[0].settings.options.anthropic.stream', message: expect.stringContaining('sets itself') },
    ])
  })

  test('other fields are kept as they are', () => {
    const options = { openai: { service_tier: 'flex', text: { verbosity: 'low' }, metadata: { team: 'a' } } }
    expect(parse([{ settings: { options } }]).steps[0]?.settings).toEqual({ options })
  })
})

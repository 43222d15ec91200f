import { calcPrice } from '@pydantic/genai-prices'
import { describe, expect, test } from 'vitest'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import * as polyphony from '../../src/index.ts'
import { compileTemplate } from '../../src/prompts/template.ts'
import { LISTED_VENDORS } from '../../src/providers/models/prices.ts'
import { DEFAULT_MODELS, DEFAULT_PANEL, FURTHER_MODELS, reviewerFor } from '../../templates/default-models.ts'
import * as templates from '../../templates/index.ts'
import {
  createComparisonFlow,
  createConditionalRoutingFlow,
  createConsensusFlow,
  createCritiqueFlow,
  createQualityAssuranceFlow,
  createRefinementFlow,
  createSequentialAnalysisFlow,
  flowTemplates,
  getFlowTemplate,
  listFlowTemplates,
} from '../../templates/index.ts'

const NAMES = listFlowTemplates().map(({ name }) => name)

const stepOf = (flow: ReturnType<typeof createCritiqueFlow>, id: string) => {
  const step = flow.steps.find((candidate) => candidate.id === id)
  if (!step) throw new Error(`no step ${id} among ${flow.steps.map((candidate) => candidate.id).join(', ')}`)
  return step
}
const targets = (flow: ReturnType<typeof createCritiqueFlow>) => flow.steps.map(({ provider, model }) => `${provider}/${model}`)
const ids = (flow: ReturnType<typeof createCritiqueFlow>) => flow.steps.map(({ id }) => id)

function failure(run: () => unknown): OrchestratorError {
  try {
    run()
  } catch (error) {
    if (OrchestratorError.is(error)) return error
    throw error
  }
  throw new Error('expected an OrchestratorError')
}

describe('every template', () => {
  test.each(NAMES)('the template %s without arguments is pure data that survives JSON', (name) => {
    const flow = getFlowTemplate(name)
    expect(JSON.parse(JSON.stringify(flow))).toEqual(flow)
    expect(flow.name).toBe(name)
    expect(new Set(ids(flow)).size).toBe(flow.steps.length)
  })

  test.each(NAMES)('the template %s names only earlier steps in its prompts, outside loops', (name) => {
    const flow = getFlowTemplate(name)
    flow.steps.forEach((step, index) => {
      for (const text of [step.prompt, step.system]) {
        if (typeof text !== 'string') continue
        for (const id of compileTemplate(text).references.steps) expect(ids(flow).slice(0, index)).toContain(id)
      }
    })
  })

  test.each(NAMES)('the template %s fences all text of models and of the user', (name) => {
    for (const { prompt } of getFlowTemplate(name).steps) {
      if (typeof prompt !== 'string' || prompt === 'original') continue
      // What a capture holds leaves it through an output of its own.
      const shown = prompt.replace(/\{% capture [\s\S]*?\{% endcapture %\}/g, '')
      for (const [output] of shown.matchAll(/\{\{[^}]*\}\}/g)) expect(output).toMatch(/\| fence: "/)
    }
  })

  test.each(NAMES)('the template %s returns a new definition at every call', (name) => {
    expect(getFlowTemplate(name)).not.toBe(getFlowTemplate(name))
    expect(getFlowTemplate(name)).toEqual(getFlowTemplate(name))
  })

  test.each(NAMES)('the template %s refuses an unknown option with a suggestion', (name) => {
    const [parameter] = listFlowTemplates().find((facts) => facts.name === name)?.parameters ?? []
    const error = failure(() => getFlowTemplate(name, { [`${parameter?.name}x`]: 1 }))
    expect(error.code).toBe('INPUT_INVALID')
    expect(error.message).toBe(`Template "${name}": ${parameter?.name}x: unknown key; did you mean "${parameter?.name}"?`)
  })
})

describe('the template critique', () => {
  test('takes four positional arguments: the generator also refines', () => {
    const flow = createCritiqueFlow('openai', 'gpt-5.4', 'anthropic', 'claude-opus-4-6')
    expect(targets(flow)).toEqual(['openai/gpt-5.4', 'anthropic/claude-opus-4-6', 'openai/gpt-5.4'])
    expect(ids(flow)).toEqual(['draft', 'critique', 'refine'])
  })

  test('lets the critic refine when nothing is chosen, and the generator when anything is', () => {
    const { openai, anthropic } = {
      openai: `openai/${DEFAULT_MODELS.openai.strong}`,
      anthropic: `anthropic/${DEFAULT_MODELS.anthropic.strong}`,
    }
    expect(targets(createCritiqueFlow())).toEqual([openai, anthropic, anthropic])
    expect(targets(createCritiqueFlow({ rounds: 2 }))).toEqual([openai, anthropic, anthropic])
    expect(targets(createCritiqueFlow({ critic: 'google/x' }))).toEqual([openai, 'google/x', openai])
    expect(targets(createCritiqueFlow({ generator: 'google/x' }))).toEqual(['google/x', anthropic, 'google/x'])
    expect(targets(createCritiqueFlow({ refiner: 'google/x' }))).toEqual([openai, anthropic, 'google/x'])
  })

  test('takes only a generator and keeps the default critic', () => {
    expect(targets(createCritiqueFlow('openai', 'gpt-5.4'))[1]).toBe(`anthropic/${DEFAULT_MODELS.anthropic.strong}`)
  })

  test('runs several critics side by side, each without the others, and refines with all reviews', () => {
    const flow = createCritiqueFlow({ critic: ['a/x', { provider: 'b', model: 'y/z' }], rounds: 2 })
    expect(ids(flow)).toEqual(['draft', 'critique1', 'critique2', 'refine'])
    expect(flow).toMatchObject({ critique: { rounds: 2 } })
    expect(targets(flow).slice(1, 3)).toEqual(['a/x', 'b/y/z'])
    expect(compileTemplate(String(stepOf(flow, 'critique2').prompt)).references.steps).toEqual([])
    expect(compileTemplate(String(stepOf(flow, 'refine').prompt)).references.steps).toEqual(['critique1', 'critique2'])
  })

  test('refuses half a pair of provider and model', () => {
    const error = failure(() => createCritiqueFlow('openai', ''))
    expect(error).toMatchObject({ code: 'INPUT_INVALID', details: { template: 'critique' } })
    expect(error.message).toContain('generator')
  })
})

describe.each([
  ['comparison', createComparisonFlow, 'answer', 'compare'],
  ['consensus', createConsensusFlow, 'proposal', 'consensus'],
] as const)('the template %s', (_name, create, prefix, last) => {
  const panel = [
    { provider: 'openai', model: 'gpt-6-sol' },
    { provider: 'local', model: 'llama' },
  ]

  test('has one independent step for each model, in order, and a reviewer that waits for all', () => {
    const flow = create(panel)
    expect(ids(flow)).toEqual([`${prefix}A`, `${prefix}B`, last])
    expect(targets(flow).slice(0, 2)).toEqual(['openai/gpt-6-sol', 'local/llama'])
    expect(stepOf(flow, `${prefix}A`).prompt).toBe('original')
    expect(compileTemplate(String(stepOf(flow, last).prompt)).references.steps).toEqual([`${prefix}A`, `${prefix}B`])
  })

  test('shows the reviewer letters and never a provider or model', () => {
    const { prompt, system } = stepOf(create(panel), last)
    expect(prompt).toContain('Answer B:')
    for (const word of ['openai', 'gpt', 'local', 'llama']) expect(`${system}${prompt}`.toLowerCase()).not.toContain(word)
  })

  test('accepts models and reviewer as options, as texts and as one comma-separated text', () => {
    const flow = create({ models: 'a/x, b/y', judge: 'c/z' })
    expect(targets(flow)).toEqual(['a/x', 'b/y', 'c/z'])
    expect(create(['a/x', 'b/y'], 'c/z')).toEqual(flow)
    expect(create('a/x,b/y', { provider: 'c', model: 'z' })).toEqual(flow)
  })

  test('refuses a panel of one', () => {
    expect(failure(() => create([{ provider: 'a', model: 'x' }])).message).toContain(
      'models: expected 2 to 10 models, found a list of 1',
    )
  })
})

describe('the default reviewer of a panel', () => {
  test('is not on the default panel', () => {
    expect(DEFAULT_PANEL).not.toContainEqual(reviewerFor(DEFAULT_PANEL))
  })

  test('belongs to a provider of the panel, so that it is configured', () => {
    expect(
      reviewerFor([
        { provider: 'google', model: 'x' },
        { provider: 'local', model: 'y' },
      ]).provider,
    ).toBe('google')
  })

  test('is the first member if no other model is known', () => {
    expect(reviewerFor([{ provider: 'local', model: 'y' }])).toEqual({ provider: 'local', model: 'y' })
  })
})

describe('the template refinement', () => {
  test('takes rounds and threshold as positional arguments', () => {
    expect(createRefinementFlow(2, 0.95)).toMatchObject({
      type: 'refinement',
      refinement: { maxIterations: 2, qualityThreshold: 0.95 },
    })
  })

  test.each([
    [0, 0.5, 'maxIterations'],
    [2, 1.5, 'threshold'],
  ])('refuses (%s, %s), naming %s', (maxIterations, threshold, name) => {
    expect(failure(() => createRefinementFlow(maxIterations, threshold)).message).toContain(name)
  })

  test('the prompt of the evaluator contains neither threshold nor round', () => {
    const evaluate = stepOf(createRefinementFlow({ threshold: 0.77 }), 'evaluate')
    expect(`${evaluate.system}${evaluate.prompt}`).not.toMatch(/0\.77|iteration/)
  })

  test('keeps criteria that look like Liquid as text', () => {
    const { system } = stepOf(createRefinementFlow({ criteria: 'Uses {{ name }} and {% if %}' }), 'evaluate')
    const scope = { original: '', steps: {}, iteration: 1, metadata: {} }
    expect(compileTemplate(String(system)).render(scope)).toContain('Uses {{ name }} and { % if %}')
  })

  test('the prompt asks for an improvement without a review if there is no verdict', () => {
    const template = compileTemplate(String(stepOf(createRefinementFlow(), 'refine').prompt))
    const scope = { original: 'task', input: 'draft', iteration: 1, metadata: {} }
    const silent = template.render({ ...scope, steps: { evaluate: { status: 'FAILED' } } })
    expect(silent).not.toContain('What the review found')
    const reviewed = template.render({ ...scope, steps: { evaluate: { status: 'SUCCESS', output: 'too long' } } })
    expect(reviewed).toContain('too long')
  })
})

describe('the template routing', () => {
  test('tests the output of the classifier in every branch, and has a default branch', () => {
    const [classify, ...branches] = createConditionalRoutingFlow().steps
    expect(classify?.id).toBe('classify')
    expect(branches.filter(({ otherwise }) => otherwise).map(({ id }) => id)).toEqual(['general'])
    for (const { id, condition, otherwise } of branches) {
      if (!otherwise) expect(condition).toBe(`steps.classify.output.contains("${id.toUpperCase()}")`)
    }
  })

  test('names every category of its branches to the classifier', () => {
    const [classify, ...branches] = createConditionalRoutingFlow().steps
    for (const { id } of branches) expect(classify?.system).toContain(`${id.toUpperCase()}:`)
  })

  test('no expert reads the output of the classifier', () => {
    for (const { id, prompt } of createConditionalRoutingFlow().steps) if (id !== 'classify') expect(prompt).toBe('original')
  })
})

test('the template analysis goes from facts over logic and credibility to a synthesis, on one provider', () => {
  const flow = createSequentialAnalysisFlow('local', 'llama')
  expect(ids(flow)).toEqual(['facts', 'logic', 'credibility', 'synthesis'])
  expect(new Set(targets(flow))).toEqual(new Set(['local/llama']))
})

test('the template qa generates, checks accuracy and clarity apart from each other, and gives a verdict', () => {
  const flow = createQualityAssuranceFlow('a', 'x', 'b', 'y')
  expect(ids(flow)).toEqual(['generate', 'accuracy', 'clarity', 'verdict'])
  expect(targets(flow)).toEqual(['a/x', 'b/y', 'b/y', 'b/y'])
  expect(compileTemplate(String(stepOf(flow, 'clarity').prompt)).references.steps).toEqual(['generate'])
})

describe('the registry of templates', () => {
  test('the registry of templates begins with the seven templates in this order', () => {
    const first = ['critique', 'comparison', 'refinement', 'analysis', 'routing', 'consensus', 'qa']
    expect(NAMES.slice(0, first.length)).toEqual(first)
    expect(Object.keys(flowTemplates)).toEqual(NAMES)
  })

  test('gives every template its own function, which both entries of the package export under its name', () => {
    const functions = Object.values(flowTemplates)
    expect(new Set(functions).size).toBe(functions.length)
    const expected = Object.fromEntries(functions.map((create) => [create.name, create]))
    expect(templates).toMatchObject(expected)
    expect(polyphony).toMatchObject(expected)
  })

  test('describes every parameter of a template, with defaults that the template accepts', () => {
    for (const { name, parameters } of listFlowTemplates()) {
      expect(parameters.length).toBeGreaterThan(0)
      const defaults = Object.fromEntries(parameters.filter((p) => 'default' in p).map((p) => [p.name, p.default]))
      expect(getFlowTemplate(name, defaults)).toEqual(getFlowTemplate(name))
      for (const { description } of parameters) expect(description).toMatch(/^[A-Z].*\.$/)
    }
  })

  test('getFlowTemplate passes positional arguments to the function of the template', () => {
    expect(getFlowTemplate('refinement', 2, 0.95)).toEqual(createRefinementFlow(2, 0.95))
  })

  test('getFlowTemplate suggests the template with the closest name', () => {
    const error = failure(() => getFlowTemplate('critque'))
    expect(error).toMatchObject({ code: 'TEMPLATE_NOT_FOUND', details: { suggestion: 'critique' } })
  })

  test('getFlowTemplate does not find a template under the name of an object method', () => {
    expect(failure(() => getFlowTemplate('toString')).code).toBe('TEMPLATE_NOT_FOUND')
  })
})

test('every default model is in the price list under its provider', () => {
  for (const [provider, tiers] of Object.entries(DEFAULT_MODELS)) {
    for (const model of Object.values(tiers)) {
      const price = calcPrice({ input_tokens: 1000, output_tokens: 1000 }, model, { providerId: provider })
      expect(price?.model.id, `${provider}/${model}`).toBe(model)
    }
  }
  for (const [vendor, model] of Object.entries(FURTHER_MODELS)) {
    const price = calcPrice({ input_tokens: 1000, output_tokens: 1000 }, model, { providerId: LISTED_VENDORS[vendor] ?? '' })
    expect(price?.model.id, `${vendor}/${model}`).toBe(model)
  }
})

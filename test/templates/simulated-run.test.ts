import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import { toOutputJsonSchema } from '../../src/domain/answers/output-schema.ts'
import { readVerdict, VERDICT_JSON_SCHEMA } from '../../src/domain/answers/verdict.ts'
import type { FlowDefinition, FlowDefinitionInput, FlowStep } from '../../src/domain/definition/flow-definition.ts'
import { createDefinitionParser } from '../../src/domain/definition/parser.ts'
import type { PromptScope, StepView } from '../../src/domain/definition/prompt-scope.ts'
import type { StepResult } from '../../src/domain/execution/step-result.ts'
import type { ExecutorContext, ExecutorResult, RunStepOptions } from '../../src/executors/executor.ts'
import { executors } from '../../src/executors/registry.ts'
import { compileCondition } from '../../src/prompts/conditions/condition.ts'
import { stepReferences } from '../../src/prompts/step-references.ts'
import { compileTemplate } from '../../src/prompts/template.ts'
import { findReply } from '../../src/providers/simulator/reply.ts'
import { SIMULATED_SCENARIOS } from '../../src/providers/simulator/scenarios.ts'
import {
  createComparisonFlow,
  createCritiqueFlow,
  createRefinementFlow,
  type FlowTemplateName,
  getFlowTemplate,
  listFlowTemplates,
} from '../../templates/index.ts'
import { stepResult } from '../support/stored-data.ts'

const parser = createDefinitionParser({
  flowTypes: Object.values(executors),
  references: {
    template: (source) => compileTemplate(source).references,
    condition: (source) => compileCondition(source).references,
  },
})

const VENDORS = ['openai', 'anthropic', 'google'] as const
const NAMES = listFlowTemplates().map(({ name }) => name)
const promptOf = (name: string) => listFlowTemplates().find((facts) => facts.name === name)?.example ?? ''

interface Run extends ExecutorResult {
  readonly definition: FlowDefinition
  /** `step#iteration` in order of completion. */
  readonly calls: readonly string[]
  readonly skipped: readonly string[]
  readonly prompts: Readonly<Record<string, string>>
  readonly outputs: Readonly<Record<string, string>>
  /** Providers that read text of another provider. */
  readonly readers: ReadonlySet<string>
}

/** Runs a definition with the real parser, executors and templates; the simulator answers each step. */
async function run(input: FlowDefinitionInput, original: string): Promise<Run> {
  const definition = parser.parse(input)
  const calls: string[] = []
  const skipped: string[] = []
  const prompts: Record<string, string> = {}
  const outputs: Record<string, string> = {}
  const readers = new Set<string>()

  const scopeOf = ({ input: given, visible, iteration = 1 }: RunStepOptions): PromptScope => {
    const steps: Record<string, StepView> = {}
    for (const { stepId, output, parsed, status } of visible) steps[stepId] = { output, parsed, status, sources: [] }
    const previous = visible.findLast(({ status }) => status === 'SUCCESS')?.output
    return {
      original,
      input: given?.map(({ output }) => output).join('\n') ?? previous ?? original,
      previous,
      steps,
      iteration,
      metadata: {},
    }
  }

  const schemaOf = ({ outputSchema }: FlowStep) =>
    outputSchema instanceof z.ZodType ? toOutputJsonSchema(outputSchema) : undefined

  function answer(step: FlowStep, options: RunStepOptions): StepResult {
    const { iteration = 1, verdict } = options
    const scope = scopeOf(options)
    const text = (source: FlowStep['prompt']) => (typeof source === 'string' ? compileTemplate(source).render(scope) : '')
    const prompt = step.prompt === 'original' ? original : text(step.prompt)
    const system = text(step.system)
    const vendor = VENDORS.find((known) => known === step.provider) ?? 'openai'
    const { text: output } = findReply(
      {
        vendor,
        format: 'chat',
        model: step.model,
        stream: false,
        system,
        prompt,
        text: `${system}\n${prompt}`,
        schema: verdict === 'ask' ? VERDICT_JSON_SCHEMA : schemaOf(step),
        raw: '',
      },
      SIMULATED_SCENARIOS,
    )
    const named = stepReferences(step).steps
    const read = [...(options.input ?? []), ...options.visible.filter(({ stepId }) => named.includes(stepId))]
    if (read.some(({ provider }) => provider !== step.provider)) readers.add(step.provider)
    calls.push(`${step.id}#${iteration}`)
    prompts[`${step.id}#${iteration}`] = `${system}\n${prompt}`
    outputs[`${step.id}#${iteration}`] = output
    const { provider, model, action } = step
    const reading = verdict && readVerdict(output)
    const answered = schemaOf(step) && JSON.parse(output)
    const parsed = reading && 'verdict' in reading ? reading.verdict : answered
    return stepResult('flow', step.id, { iteration, output, parsed, provider, model, action })
  }

  const context: ExecutorContext = {
    runStep: async (step, options) => answer(step, options),
    skipStep: async (step) => {
      skipped.push(step.id)
      return stepResult('flow', step.id, { status: 'SKIPPED', output: undefined })
    },
    conditionHolds: async ({ condition }, visible) =>
      typeof condition === 'string' ? compileCondition(condition).evaluate(scopeOf({ visible })) : true,
  }
  return { ...(await executors[definition.type].run(definition, context)), definition, calls, skipped, prompts, outputs, readers }
}

interface WorkedExample {
  /** Calls in order of completion. */
  readonly calls: readonly string[]
  readonly skipped?: readonly string[]
  readonly final: RegExp
}

/** What each template makes of its example prompt when the simulator answers. */
const WORKED_EXAMPLES: Readonly<Record<FlowTemplateName, WorkedExample>> = {
  critique: { calls: ['draft#1', 'critique#1', 'refine#1'], final: /Rayleigh/ },
  comparison: { calls: ['answerA#1', 'answerB#1', 'answerC#1', 'compare#1'], final: /Best: Answer B/ },
  refinement: {
    calls: ['draft#1', 'evaluate#1', 'refine#1', 'evaluate#2', 'refine#2', 'evaluate#3'],
    final: /Fold it in ten seconds/,
  },
  analysis: { calls: ['facts#1', 'logic#1', 'credibility#1', 'synthesis#1'], final: /logo/ },
  routing: {
    calls: ['classify#1', 'technical#1'],
    skipped: ['creative', 'analytical', 'general'],
    final: /heap/i,
  },
  consensus: {
    calls: ['proposalA#1', 'proposalB#1', 'proposalC#1', 'consensus#1'],
    final: /2 of 3: A and B[\s\S]*## Minority view\nC: yes, because 2100/,
  },
  qa: {
    calls: ['generate#1', 'accuracy#1', 'clarity#1', 'verdict#1'],
    final: /PASS WITH CHANGES[\s\S]*Keep one copy away/,
  },
  research: {
    calls: ['plan#1', 'searchA#1', 'searchB#1', 'report#1', 'check#1', 'answer#1'],
    final: /16 August 1858 \[1\][\s\S]*## Sources\n\[1\] .*https:/,
  },
  development: {
    calls: ['requirements#1', 'tasks#1', 'assignment#1', 'execution#1', 'validation#1', 'deployment#1', 'report#1'],
    final: /requirements are met; the API is not deployed yet \(deployed: false\)/,
  },
}

test('every template has its example as the prompt of one simulated scenario', () => {
  const scenarios = Object.fromEntries(SIMULATED_SCENARIOS.map(({ template, prompt }) => [template, prompt]))
  expect(Object.fromEntries(listFlowTemplates().map(({ name, example }) => [name, example]))).toEqual(scenarios)
})

describe('templates with their examples', () => {
  test.each(Object.entries(WORKED_EXAMPLES))('%s makes the calls and the result of its worked example', async (name, example) => {
    const { calls, skipped, final } = await run(getFlowTemplate(name), promptOf(name))
    expect(calls).toEqual(example.calls)
    expect(skipped).toEqual(example.skipped ?? [])
    expect(final?.output).toMatch(example.final)
  })

  test.each(NAMES)('every step of %s gets a scripted answer of its scenario', async (name) => {
    const { outputs } = await run(getFlowTemplate(name), promptOf(name))
    for (const [step, output] of Object.entries(outputs)) expect(output, step).not.toContain('Simulated')
  })

  test.each(NAMES)('%s needs at most the permission for Anthropic', async (name) => {
    const { readers } = await run(getFlowTemplate(name), promptOf(name))
    expect([...readers].filter((provider) => provider !== 'anthropic')).toEqual([])
  })

  test('a chosen generator that refines needs permission to read the review', async () => {
    const { readers } = await run(createCritiqueFlow('openai', 'a', 'anthropic', 'b'), promptOf('critique'))
    expect([...readers].sort()).toEqual(['anthropic', 'openai'])
  })

  test('critique finds the false statement of the draft and corrects it', async () => {
    const { outputs, final } = await run(createCritiqueFlow(), promptOf('critique'))
    expect(outputs['draft#1']).toContain('takes its colour from the oceans')
    expect(outputs['critique#1']).toContain('takes its colour from the oceans')
    expect(final?.output).not.toContain('oceans')
  })

  test('critique with several rounds ends when all critics approve', async () => {
    const result = await run(createCritiqueFlow({ rounds: 3, critic: ['anthropic/a', 'google/b'] }), promptOf('critique'))
    expect(result.stopReason).toBe('approved')
    expect(result.calls).toEqual(['draft#1', 'critique1#1', 'critique2#1', 'refine#1', 'critique1#2', 'critique2#2'])
  })

  test('refinement ends at its threshold', async () => {
    expect((await run(createRefinementFlow(), promptOf('refinement'))).stopReason).toBe('threshold')
  })

  test('the reviewer of comparison finds the wrong answer and sees no author', async () => {
    const { prompts, final, definition } = await run(createComparisonFlow(), promptOf('comparison'))
    expect(final?.output).toContain('**Answer C**\nStrengths: short.')
    for (const { provider, model } of definition.steps) {
      expect(prompts['compare#1']).not.toContain(provider)
      expect(prompts['compare#1']).not.toContain(model)
    }
  })
})

describe('templates with any other prompt', () => {
  const HAIKU = 'Write a haiku about rain'

  test.each(NAMES)('%s runs to its end with text that is marked as simulated', async (name) => {
    const { final } = await run(getFlowTemplate(name), HAIKU)
    expect(final?.output).toContain('Simulated text, version')
    expect(final?.output).toContain(HAIKU)
  })

  test('critique ends with an improved version that its critic approves', async () => {
    const { final, stopReason } = await run(createCritiqueFlow({ rounds: 4 }), HAIKU)
    expect(stopReason).toBe('approved')
    expect(final?.output).toContain('version 2')
  })

  test('refinement reaches its threshold', async () => {
    const { stopReason, calls } = await run(createRefinementFlow(5, 0.85), HAIKU)
    expect(stopReason).toBe('threshold')
    expect(calls.at(-1)).toBe('evaluate#3')
  })

  test('routing chooses the matching expert', async () => {
    expect((await run(getFlowTemplate('routing'), HAIKU)).calls).toEqual(['classify#1', 'creative#1'])
    expect((await run(getFlowTemplate('routing'), 'Hello there')).calls).toEqual(['classify#1', 'general#1'])
  })
})

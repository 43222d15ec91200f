import { afterEach, describe, expect, test } from 'vitest'
import type { FlowDefinitionInput, FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import type { ModelRequest } from '../../src/domain/execution/model-call.ts'
import type { ScriptedReply } from '../../src/providers/scripted.ts'
import { rejected, step, verdict } from '../support/flows.ts'
import { lastMessage, type ScriptedFlow, scripted, stepStarts } from '../support/scripted-flow.ts'

let flow: ScriptedFlow | undefined
afterEach(async () => {
  await flow?.polyphony.close()
  flow = undefined
})

/** Answers by the step that asks, named `do <id>` in its prompt. */
const byStep =
  (answers: Readonly<Record<string, ScriptedReply | readonly ScriptedReply[]>>) =>
  (request: ModelRequest): ScriptedReply => {
    const content = request.messages.at(-1)?.content ?? ''
    const id = /do (\w+)/.exec(content)?.[1] ?? ''
    const answer = answers[id]
    if (!Array.isArray(answer)) return (answer ?? `answer of ${id}`) as ScriptedReply
    const used = counts.get(answer) ?? 0
    counts.set(answer, used + 1)
    return answer[used] as ScriptedReply
  }
const counts = new Map<unknown, number>()
const verdictText = (score: number) => JSON.stringify(verdict(score))

describe('sequential', () => {
  test('a step whose condition is false is skipped and does not change what the next one sees', async () => {
    flow = await scripted(byStep({}))
    const result = await flow.run({
      name: 's',
      type: 'sequential',
      steps: [step('a'), step('b', { condition: () => false }), step('c', { prompt: 'do c with {{ previous }}' })],
    })
    expect(result.steps.map(({ stepId, status }) => [stepId, status])).toEqual([
      ['a', 'SUCCESS'],
      ['b', 'SKIPPED'],
      ['c', 'SUCCESS'],
    ])
    expect(lastMessage(flow.provider, 1)).toContain('do c with answer of a')
    expect(flow.updates.find((update) => update.type === 'step_skipped')).toMatchObject({ stepId: 'b' })
  })

  test('a failed step ends the flow with its own code, and earlier results stay readable', async () => {
    flow = await scripted(byStep({ b: rejected() }))
    await expect(flow.run({ name: 's', type: 'sequential', steps: [step('a'), step('b'), step('c')] })).rejects.toMatchObject({
      code: 'PROVIDER_REJECTED',
      details: { stepId: 'b', attempt: 1 },
    })
    const [stored] = await flow.polyphony.orchestrator.listFlows(flow.threadId, 'user-1')
    const { stepResults } = await flow.polyphony.orchestrator.getFlow(stored?.id ?? '', 'user-1')
    expect(stepResults.map(({ stepId, status }) => [stepId, status])).toEqual([
      ['a', 'SUCCESS'],
      ['b', 'FAILED'],
    ])
    expect(flow.updates.at(-1)).toMatchObject({ type: 'error', stepId: 'b', data: { code: 'PROVIDER_REJECTED' } })
  })

  test('an optional step may fail without ending the flow', async () => {
    flow = await scripted(byStep({ b: rejected() }))
    const result = await flow.run({ name: 's', type: 'sequential', steps: [step('a'), step('b', { optional: true }), step('c')] })
    expect(result.finalOutput).toBe('answer of c')
  })
})

describe('parallel and graph', () => {
  const fan = (more: Partial<FlowDefinitionInput> = {}): FlowDefinitionInput => ({
    name: 'p',
    type: 'parallel',
    steps: [step('a'), step('b'), step('c'), step('join', { inputFrom: 'all', prompt: 'do join: {{ input }}' })],
    ...more,
  })

  test('steps that wait for nothing run at the same time, and one with inputFrom all runs after them', async () => {
    let underWay = 0
    let most = 0
    flow = await scripted(async (request) => {
      underWay++
      most = Math.max(most, underWay)
      await new Promise((resolve) => setTimeout(resolve, 5))
      underWay--
      return byStep({})(request)
    })
    const result = await flow.run(fan())
    expect(most).toBe(3)
    expect(stepStarts(flow.updates).at(-1)).toBe('join')
    expect(lastMessage(flow.provider, 3)).toContain('answer of a')
    expect(lastMessage(flow.provider, 3)).toContain('answer of c')
    expect(result.finalOutput).toBe('answer of join')
  })

  test('maxConcurrency limits the steps that run at once', async () => {
    let underWay = 0
    let most = 0
    flow = await scripted(async (request) => {
      underWay++
      most = Math.max(most, underWay)
      await new Promise((resolve) => setTimeout(resolve, 5))
      underWay--
      return byStep({})(request)
    })
    await flow.run(fan({ parallel: { maxConcurrency: 2 } }))
    expect(most).toBe(2)
  })

  test('a failed branch aborts its siblings and starts nothing more', async () => {
    flow = await scripted(byStep({ a: rejected(), b: { text: '', hang: true }, c: { text: '', hang: true } }))
    await expect(flow.run(fan())).rejects.toMatchObject({ code: 'PROVIDER_REJECTED' })
    expect(stepStarts(flow.updates)).not.toContain('join')
    const [stored] = await flow.polyphony.orchestrator.listFlows(flow.threadId, 'user-1')
    const { stepResults } = await flow.polyphony.orchestrator.getFlow(stored?.id ?? '', 'user-1')
    expect(Object.fromEntries(stepResults.map(({ stepId, status }) => [stepId, status]))).toEqual({
      a: 'FAILED',
      b: 'CANCELLED',
      c: 'CANCELLED',
    })
  })

  test('with onFailure continue the other branches run, and their outputs are joined', async () => {
    flow = await scripted(byStep({ a: rejected() }))
    const result = await flow.run(fan({ parallel: { onFailure: 'continue' } }))
    expect(result.status).toBe('COMPLETED')
    expect(lastMessage(flow.provider, 3)).not.toContain('answer of a')
    expect(lastMessage(flow.provider, 3)).toContain('answer of b')
  })

  test('too few successful branches fail the flow', async () => {
    flow = await scripted(byStep({ a: rejected(), b: rejected() }))
    await expect(flow.run(fan({ parallel: { minSuccesses: 2 } }))).rejects.toMatchObject({ code: 'PROVIDER_REJECTED' })
  })

  test('the outputs of several last steps are joined, each under its step', async () => {
    flow = await scripted(byStep({}))
    const result = await flow.run({ name: 'p', type: 'parallel', steps: [step('a'), step('b')] })
    expect(result.finalOutput).toBe('## a\n\nanswer of a\n\n## b\n\nanswer of b')
  })

  test('a step of a graph sees only what is upstream of it, whatever finishes first', async () => {
    flow = await scripted(byStep({ slow: { text: 'answer of slow', delayMs: 20 } }))
    const seen: string[][] = []
    await flow.run({
      name: 'g',
      type: 'graph',
      steps: [
        step('slow'),
        step('fast'),
        step('after', {
          dependsOn: ['slow'],
          prompt: (context) => {
            seen.push(Object.keys(context.previousStepOutputs))
            return 'do after'
          },
        }),
      ],
    })
    expect(seen).toEqual([['slow']])
  })

  test('a step that names the output of a skipped one is skipped as well', async () => {
    flow = await scripted(byStep({}))
    const result = await flow.run({
      name: 'g',
      type: 'graph',
      steps: [step('a', { condition: 'false' }), step('b', { inputFrom: 'a' }), step('c')],
    })
    expect(Object.fromEntries(result.steps.map(({ stepId, status }) => [stepId, status]))).toEqual({
      a: 'SKIPPED',
      b: 'SKIPPED',
      c: 'SUCCESS',
    })
  })
})

describe('conditional', () => {
  const routing = (more: Partial<FlowDefinitionInput> = {}): FlowDefinitionInput => ({
    name: 'r',
    type: 'conditional',
    steps: [
      step('classify'),
      step('technical', { condition: (context) => context.previousStepOutput?.includes('TECHNICAL') === true }),
      step('creative', { condition: (context) => context.previousStepOutput?.includes('CREATIVE') === true }),
    ],
    ...more,
  })

  test('the text of one branch cannot trigger the next', async () => {
    flow = await scripted(byStep({ classify: 'TECHNICAL', technical: 'this is CREATIVE' }))
    const result = await flow.run(routing())
    expect(stepStarts(flow.updates)).toEqual(['classify', 'technical'])
    expect(result.finalOutput).toBe('this is CREATIVE')
  })

  test('after a skipped first branch the condition of the second reads the classifier', async () => {
    flow = await scripted(byStep({ classify: 'CREATIVE' }))
    await flow.run(routing())
    expect(stepStarts(flow.updates)).toEqual(['classify', 'creative'])
  })

  test('with match all every branch that matches runs', async () => {
    flow = await scripted(byStep({ classify: 'TECHNICAL and CREATIVE' }))
    await flow.run(routing({ conditional: { match: 'all' } }))
    expect(stepStarts(flow.updates)).toEqual(['classify', 'technical', 'creative'])
  })

  test('no match and no default fails with NO_BRANCH_MATCHED', async () => {
    flow = await scripted(byStep({ classify: 'neither' }))
    await expect(flow.run(routing())).rejects.toMatchObject({
      code: 'NO_BRANCH_MATCHED',
      details: { branches: ['technical', 'creative'] },
    })
  })

  test('no match runs the default branch', async () => {
    flow = await scripted(byStep({ classify: 'neither' }))
    const base = routing()
    const result = await flow.run({ ...base, steps: [...base.steps, step('general', { otherwise: true })] })
    expect(result.finalOutput).toBe('answer of general')
  })

  test('a condition in CEL reads the classifier by its id', async () => {
    flow = await scripted(byStep({ classify: 'it is TECHNICAL' }))
    const result = await flow.run({
      name: 'r',
      type: 'conditional',
      steps: [
        step('classify'),
        step('technical', { condition: 'steps.classify.output.contains("TECHNICAL")' }),
        step('general', { otherwise: true }),
      ],
    })
    expect(result.finalOutput).toBe('answer of technical')
  })
})

describe('critique', () => {
  const critique = (rounds?: number): FlowDefinitionInput => ({
    name: 'c',
    type: 'critique',
    steps: [
      step('draft'),
      step('critic', { action: 'critique', prompt: 'do critic on {{ input }}' }),
      step('refine', { action: 'refine', prompt: 'do refine of {{ input }} by {{ steps.critic.output }}' }),
    ],
    ...(rounds === undefined ? {} : { critique: { rounds } }),
  })

  test('a draft, a critique in prose and a refinement are three calls', async () => {
    flow = await scripted(byStep({ draft: 'v1', critic: 'too long', refine: 'v2' }))
    const result = await flow.run(critique())
    expect(result.finalOutput).toBe('v2')
    expect(flow.provider.requests).toHaveLength(3)
    expect(lastMessage(flow.provider, 2)).toContain('do refine of v1 by too long')
  })

  test('rounds end when every critic approves, and the approved draft is the output', async () => {
    flow = await scripted(byStep({ draft: 'v1', critic: [verdictText(0.4), verdictText(1)], refine: ['v2', 'v3'] }))
    const result = await flow.run(critique(5))
    expect(result).toMatchObject({ finalOutput: 'v2', stopReason: 'approved' })
    expect(stepStarts(flow.updates, ['critic', 'refine'])).toEqual(['draft', 'critic#1', 'refine#1', 'critic#2'])
    expect(lastMessage(flow.provider, 3)).toContain('do critic on v2')
  })

  test('critics run at the same time, and the refinement sees all of them', async () => {
    flow = await scripted(byStep({ draft: 'v1', critic: 'A', second: 'B', refine: 'v2' }))
    const base = critique()
    const [draft, critic, refine] = base.steps
    await flow.run({
      ...base,
      steps: [
        draft as FlowStepInput,
        critic as FlowStepInput,
        step('second', { action: 'critique', prompt: 'do second on {{ input }}' }),
        { ...(refine as FlowStepInput), prompt: 'do refine {{ steps.critic.output }} {{ steps.second.output }}' },
      ],
    })
    expect(lastMessage(flow.provider, 3)).toContain('do refine A B')
  })
})

describe('refinement', () => {
  const refinement = (settings: FlowDefinitionInput['refinement']): FlowDefinitionInput => ({
    name: 'r',
    type: 'refinement',
    refinement: settings,
    steps: [
      step('draft'),
      step('evaluate', { action: 'evaluate', prompt: 'do evaluate {{ input }}' }),
      step('refine', { action: 'refine', prompt: 'do refine {{ input }}' }),
    ],
  })
  const loops = ['evaluate', 'refine']

  test('the best draft is the output, not the last', async () => {
    flow = await scripted(byStep({ draft: 'v1', evaluate: [0.6, 0.9, 0.4].map(verdictText), refine: ['v2', 'v3'] }))
    expect(await flow.run(refinement({ maxIterations: 2, qualityThreshold: 0.95 }))).toMatchObject({
      finalOutput: 'v2',
      stopReason: 'max_iterations',
    })
    expect(stepStarts(flow.updates, loops)).toEqual(['draft', 'evaluate#1', 'refine#1', 'evaluate#2', 'refine#2', 'evaluate#3'])
  })

  test('a score at the threshold ends the loop', async () => {
    flow = await scripted(byStep({ draft: 'v1', evaluate: ['SCORE: 0.8'], refine: [] }))
    expect(await flow.run(refinement({ qualityThreshold: 0.8 }))).toMatchObject({ finalOutput: 'v1', stopReason: 'threshold' })
  })

  test('no progress over patience rounds is a plateau', async () => {
    flow = await scripted(byStep({ draft: 'v1', evaluate: [0.5, 0.5, 0.5].map(verdictText), refine: ['v2', 'v3', 'v4'] }))
    const result = await flow.run(refinement({ maxIterations: 9, minImprovement: 0.05, patience: 2 }))
    expect(result).toMatchObject({ finalOutput: 'v1', stopReason: 'plateau' })
  })

  test('an unreadable verdict is repaired once, and then is no verdict, never 0', async () => {
    flow = await scripted(byStep({ draft: 'v1', evaluate: ['I like it'], refine: [] }))
    const provider = flow.provider
    const result = await flow.run(refinement({}))
    expect(result).toMatchObject({ finalOutput: 'v1', stopReason: 'no_verdict' })
    const evaluation = result.steps.find((done) => done.stepId === 'evaluate')
    expect(evaluation).toMatchObject({ status: 'SUCCESS', parsed: undefined })
    expect(evaluation?.attempts).toHaveLength(2)
    expect(provider.requests).toHaveLength(3)
  })

  test('a limit ends the loop with the best draft so far', async () => {
    flow = await scripted(byStep({ draft: 'v1', evaluate: [0.3, 0.4].map(verdictText), refine: ['v2', 'v3'] }))
    const definition = { ...refinement({ maxIterations: 9 }), limits: { maxSteps: 4 } }
    expect(await flow.run(definition)).toMatchObject({ finalOutput: 'v2', stopReason: 'limit', status: 'COMPLETED' })
  })
})

describe('samples', () => {
  test('a sampled step gives the answer that most samples give, and keeps all of them', async () => {
    flow = await scripted(['42', '41', ' 42. ', '7'])
    const result = await flow.run({ name: 's', type: 'sequential', steps: [step('vote', { samples: 4 })] })
    expect(result.finalOutput).toBe('42')
    const [voted] = result.steps
    expect(voted?.samples).toEqual(['42', '41', ' 42. ', '7'])
    expect(voted?.attempts).toHaveLength(4)
  })
})

test('many branches and samples at once raise no listener warning of Node', async () => {
  const warnings: Error[] = []
  const onWarning = (warning: Error) => warnings.push(warning)
  process.on('warning', onWarning)
  flow = await scripted(() => ({ text: 'ok', delayMs: 5 }))
  const branches = Array.from({ length: 30 }, (_, index) => step(`b${index}`))
  await flow.run({ name: 'wide', type: 'parallel', steps: [...branches, step('vote', { samples: 30 })] })
  process.off('warning', onWarning)
  expect(warnings).toEqual([])
})

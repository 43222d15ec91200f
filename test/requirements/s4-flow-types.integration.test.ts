// How the flow types walk their steps (REQUIREMENTS S4-02 to S4-06, SPEC section 3).
//
// S4-02: sequential steps run in order and each receives the previous output
// S4-03: parallel steps start together and their outputs are joined
// S4-04: a conditional flow runs one branch and skips the others
// S4-05: in a critique flow one model writes, another criticises and the first refines
// S4-06: a refinement repeats until the threshold or the maximum number of iterations
// S4-T2: a skipped or chosen branch never opens another one
// S4-T5: a verdict with the score $score is read
// S4-T5: an unreadable verdict counts as no verdict
// S4-T10: progress counts every step once, however often it runs

import { type FlowDefinitionInput, type FlowStatusReport, OrchestrationFlowType, OrchestratorError } from 'polyphony'
import { expect, test } from 'vitest'
import { chain, until } from '../support/flows.ts'
import { describeInMemory, type ScriptedModel, type Services } from './services.ts'

const parallel = (...steps: FlowDefinitionInput['steps']): FlowDefinitionInput => ({ name: 'panel', type: 'parallel', steps })
const judging = (score: number, approved = false) => JSON.stringify({ score, approved, issues: ['weak'], feedback: 'more' })

const refinementOf = (model: ScriptedModel, more: Partial<FlowDefinitionInput>): FlowDefinitionInput => ({
  name: 'loop',
  type: 'refinement',
  steps: [
    model.step('draft'),
    model.step('evaluate', { action: 'evaluate', prompt: 'judge {{ input }}' }),
    model.step('refine', { action: 'refine', prompt: 'mend {{ input }} by {{ steps.evaluate.output }}' }),
  ],
  ...more,
})

const statuses = (steps: readonly { readonly stepId: string; readonly status: string }[]) =>
  Object.fromEntries(steps.map(({ stepId, status }) => [stepId, status]))

/** Replies only when so many requests are there, so that a scheduler that starts them one by one never ends. */
function meeting(count: number, reply: (index: number) => string) {
  let arrived = 0
  return async (_: unknown, index: number) => {
    arrived++
    await until(() => arrived >= count)
    return reply(index)
  }
}

const allowAll = async ({ polyphony }: Services, userId: string) => {
  for (const provider of ['alpha', 'beta', 'gamma'])
    await polyphony.dataSharing.set(userId, provider, { allowCrossProviderContext: true })
}

describeInMemory('flow types', (services) => {
  test('sequential steps run in order and each receives the previous output', async () => {
    const model = services.model(['one', 'two', 'three'])
    const definition = chain(
      model.step('a'),
      model.step('b', { prompt: 'after {{ previous }}' }),
      model.step('c', { prompt: 'after {{ steps.a.output }} and {{ steps.b.output }}' }),
    )
    const { result, updates } = await services.run({ ...definition, type: OrchestrationFlowType.SEQUENTIAL })
    expect(result.finalOutput).toBe('three')
    expect(model.sent(1)).toContain('after one')
    expect(model.sent(2)).toContain('after one and two')
    const order = updates.filter(({ type }) => type === 'step_start' || type === 'step_complete').map(({ stepId }) => stepId)
    expect(order).toEqual(['a', 'a', 'b', 'b', 'c', 'c'])
  })

  test('parallel steps start together and their outputs are joined', async () => {
    const model = services.model(meeting(3, (index) => `voice ${index}`))
    const { result } = await services.run(parallel(model.step('a'), model.step('b'), model.step('c')))
    expect(result.status).toBe('COMPLETED')
    for (const voice of ['voice 0', 'voice 1', 'voice 2']) expect(result.finalOutput).toContain(voice)
    expect(result.steps.map(({ stepId }) => stepId)).toEqual(['a', 'b', 'c'])
  })

  test('a step of a parallel flow waits for all steps, for one, or for its dependencies', async () => {
    const voices = services.model(meeting(2, (index) => `voice ${index}`))
    const closing = services.model(['joined', 'follow-up', 'last'])
    const { result, updates } = await services.run(
      parallel(
        voices.step('a'),
        voices.step('b'),
        closing.step('join', { inputFrom: 'all', prompt: 'join {{ input }}' }),
        closing.step('one', { inputFrom: 'all', dependsOn: ['join'] }),
        closing.step('last', { inputFrom: 'one', prompt: 'then {{ input }}' }),
      ),
    )
    for (const voice of ['voice 0', 'voice 1']) expect(closing.sent(0)).toContain(voice)
    expect(closing.sent(2)).toContain('then follow-up')
    expect(result.finalOutput).toBe('last')
    const starts = updates.filter(({ type }) => type === 'step_start').map(({ stepId }) => stepId)
    expect(starts).toEqual(['a', 'b', 'join', 'one', 'last'])
  })

  test('no more than maxConcurrency steps run at once', async () => {
    let underWay = 0
    let most = 0
    const model = services.model(async () => {
      most = Math.max(most, ++underWay)
      await new Promise((resolve) => setTimeout(resolve, 5))
      underWay--
      return 'ok'
    })
    const steps = ['a', 'b', 'c', 'd', 'e'].map((id) => model.step(id))
    await services.run({ ...parallel(...steps), parallel: { maxConcurrency: 2 } })
    expect(most).toBe(2)
    expect(model.requests).toHaveLength(5)
  })

  test('a failed branch aborts its siblings, and results that were paid for are kept', async () => {
    let broken = true
    const quick = services.model(() => 'paid')
    const slow = services.model((_, index) => (index === 0 ? { text: '', hang: true } : 'slow'))
    const failing = services.model(async () => {
      await until(() => quick.requests.length > 0 && slow.requests.length > 0)
      return broken ? new OrchestratorError('PROVIDER_REJECTED', 'no') : 'mended'
    })
    const whose = await services.person()
    const { orchestrator } = services.polyphony
    const flow = await orchestrator.createFlow(whose.threadId, whose.userId, {
      ...parallel(quick.step('quick'), slow.step('slow'), failing.step('failing'), quick.step('later', { inputFrom: 'all' })),
      parallel: { onFailure: 'fail' },
    })
    const running = orchestrator.executeFlow(flow.id, whose.userId, { input: 'x' })
    await expect(running).rejects.toMatchObject({ code: 'PROVIDER_REJECTED', details: { stepId: 'failing', flowId: flow.id } })
    const { stepResults, status } = await orchestrator.getFlow(flow.id, whose.userId)
    expect(status).toBe('FAILED')
    expect(statuses(stepResults)).toMatchObject({ quick: 'SUCCESS', slow: 'CANCELLED', failing: 'FAILED' })
    expect(stepResults.some(({ stepId, status }) => stepId === 'later' && status === 'SUCCESS')).toBe(false)
    broken = false
    const resumed = await orchestrator.executeFlow(flow.id, whose.userId)
    expect(statuses(resumed.steps)).toEqual({ quick: 'SUCCESS', slow: 'SUCCESS', failing: 'SUCCESS', later: 'SUCCESS' })
    expect(quick.requests).toHaveLength(2)
  })

  test('a parallel flow with onFailure continue completes while enough branches succeed', async () => {
    const failing = services.model([])
    const fine = services.model(() => 'fine')
    const steps = [failing.step('bad'), fine.step('good'), fine.step('join', { inputFrom: 'all' })]
    const { result } = await services.run({ ...parallel(...steps), parallel: { onFailure: 'continue' } })
    expect(statuses(result.steps)).toEqual({ bad: 'FAILED', good: 'SUCCESS', join: 'SUCCESS' })
    expect(result.status).toBe('COMPLETED')
    const tooFew = services.run({
      ...parallel(failing.step('bad'), fine.step('good')),
      parallel: { onFailure: 'continue', minSuccesses: 2 },
    })
    await expect(tooFew).rejects.toBeInstanceOf(OrchestratorError)
  })

  test('an optional step never fails the flow', async () => {
    const { result } = await services.run(
      parallel(services.model([]).step('bad', { optional: true }), services.model(['fine']).step('good')),
    )
    expect(result.status).toBe('COMPLETED')
    expect(statuses(result.steps)).toEqual({ bad: 'FAILED', good: 'SUCCESS' })
  })

  test('a graph runs along its dependencies', async () => {
    const model = services.model(({ messages }) => `did ${messages.at(-1)?.content.slice(3, 4)}`)
    const { updates, result } = await services.run({
      name: 'graph',
      type: 'graph',
      steps: [
        model.step('a'),
        model.step('b', { dependsOn: ['a'] }),
        model.step('c', { dependsOn: ['a'] }),
        model.step('d', { dependsOn: ['b', 'c'] }),
      ],
    })
    const at = (type: string, id: string) => updates.findIndex((update) => update.type === type && update.stepId === id)
    for (const [before, after] of ['ab', 'ac', 'bd', 'cd']) {
      expect(at('step_complete', String(before))).toBeLessThan(at('step_start', String(after)))
    }
    expect(result.steps).toHaveLength(4)
  })

  const routing = (model: ScriptedModel, more: Partial<FlowDefinitionInput> = {}): FlowDefinitionInput => ({
    name: 'routing',
    type: 'conditional',
    steps: [
      model.step('classify'),
      model.step('technical', { condition: 'steps.classify.output.contains("TECHNICAL")' }),
      model.step('creative', { condition: 'steps.classify.output.contains("CREATIVE")' }),
    ],
    ...more,
  })

  test('a conditional flow runs one branch and skips the others', async () => {
    const model = services.model(['TECHNICAL or CREATIVE', 'expert'])
    const { result, updates } = await services.run(routing(model))
    expect(statuses(result.steps)).toEqual({ classify: 'SUCCESS', technical: 'SUCCESS', creative: 'SKIPPED' })
    expect(result.finalOutput).toBe('expert')
    expect(updates.filter(({ type }) => type === 'step_skipped')).toMatchObject([{ stepId: 'creative' }])
  })

  test('a conditional flow with match all runs every matching branch', async () => {
    const model = services.model(['TECHNICAL and CREATIVE', 'x', 'y'])
    const { result } = await services.run(routing(model, { conditional: { match: 'all' } }))
    expect(statuses(result.steps)).toEqual({ classify: 'SUCCESS', technical: 'SUCCESS', creative: 'SUCCESS' })
  })

  test('a conditional flow takes the default branch when none matches, and fails without one', async () => {
    const model = services.model(['NEITHER', 'default', 'NEITHER'])
    const { steps } = routing(model)
    const { result } = await services.run({ ...routing(model), steps: [...steps, model.step('general', { otherwise: true })] })
    expect(result).toMatchObject({ finalOutput: 'default' })
    await expect(services.run(routing(model))).rejects.toMatchObject({ code: 'NO_BRANCH_MATCHED' })
  })

  test('a skipped or chosen branch never opens another one', async () => {
    const model = services.model(['CREATIVE', 'a poem', 'TECHNICAL', 'CREATIVE words', 'CREATIVE', 'poem', 'end'])
    const on = (word: string) => (context: { readonly previousStepOutput?: string }) =>
      context.previousStepOutput?.includes(word) === true
    const steps = [
      model.step('classify'),
      model.step('technical', { condition: on('TECHNICAL') }),
      model.step('creative', { condition: on('CREATIVE') }),
    ]
    const definition: FlowDefinitionInput = { name: 'trap', type: 'conditional', steps }
    const first = await services.run(definition)
    expect(statuses(first.result.steps)).toEqual({ classify: 'SUCCESS', technical: 'SKIPPED', creative: 'SUCCESS' })
    const second = await services.run(definition)
    expect(statuses(second.result.steps)).toEqual({ classify: 'SUCCESS', technical: 'SUCCESS', creative: 'SKIPPED' })
    expect(second.result.finalOutput).toBe('CREATIVE words')
    const sequential = chain(
      model.step('a'),
      model.step('b', { condition: on('TECHNICAL') }),
      model.step('c', { condition: on('CREATIVE'), prompt: 'c' }),
      model.step('d', { prompt: 'd after {{ previous }}' }),
    )
    const third = await services.run(sequential)
    expect(statuses(third.result.steps)).toEqual({ a: 'SUCCESS', b: 'SKIPPED', c: 'SUCCESS', d: 'SUCCESS' })
    expect(model.sent(6)).toContain('d after poem')
  })

  test('in a critique flow one model writes, another criticises and the first refines', async () => {
    const writer = services.model(['the draft', 'the better text'], 'alpha')
    const critic = services.model(['too short'], 'beta')
    const whose = await services.person()
    await allowAll(services, whose.userId)
    const { result } = await services.run(
      {
        name: 'critique',
        type: 'critique',
        steps: [
          writer.step('draft'),
          critic.step('review', { action: 'critique', prompt: 'criticise {{ input }}' }),
          writer.step('mend', { action: 'refine', prompt: 'mend {{ steps.draft.output }}: {{ steps.review.output }}' }),
        ],
      },
      {},
      whose,
    )
    expect(result).toMatchObject({ status: 'COMPLETED', finalOutput: 'the better text' })
    expect(critic.sent(0)).toContain('criticise the draft')
    expect(writer.sent(1)).toContain('mend the draft: too short')
  })

  test('critics run together in every round until all approve', async () => {
    const writer = services.model(['v1', 'v2', 'v3', 'v4'])
    let arrived = 0
    const critic = services.model(async (_, index) => {
      arrived++
      await until(() => arrived >= (index < 2 ? 2 : 4))
      return judging(0.5, index >= 2)
    })
    const { result, updates } = await services.run({
      name: 'rounds',
      type: 'critique',
      critique: { rounds: 5 },
      steps: [
        writer.step('draft'),
        critic.step('one', { action: 'critique' }),
        critic.step('two', { action: 'critique' }),
        writer.step('refine', { action: 'refine' }),
      ],
    })
    expect(result.finalOutput).toBe('v2')
    expect(critic.requests).toHaveLength(4)
    const iterations = updates.filter(({ type, stepId }) => type === 'step_complete' && stepId === 'one')
    expect(iterations.map(({ iteration }) => iteration)).toEqual([1, 2])
  })

  test('a refinement repeats until the threshold or the maximum number of iterations', async () => {
    const good = services.model(['v1', judging(0.5), 'v2', judging(0.9)])
    const reached = await services.run(refinementOf(good, { refinement: { qualityThreshold: 0.8, maxIterations: 5 } }))
    expect(reached.result).toMatchObject({ finalOutput: 'v2', stopReason: 'threshold', status: 'COMPLETED' })
    const poor = services.model(['v1', judging(0.4), 'v2', judging(0.6), 'v3', judging(0.3)])
    const used = await services.run(refinementOf(poor, { refinement: { qualityThreshold: 0.8, maxIterations: 2 } }))
    expect(used.result).toMatchObject({ finalOutput: 'v2', stopReason: 'max_iterations' })
    expect(used.result.steps.find(({ stepId, iteration }) => stepId === 'evaluate' && iteration === 2)?.parsed).toMatchObject({
      score: 0.6,
      approved: false,
      issues: ['weak'],
      feedback: 'more',
    })
  })

  test('a refinement stops on a plateau and at a limit, and keeps the best draft', async () => {
    const flat = services.model(['v1', judging(0.5), 'v2', judging(0.5), 'v3', judging(0.5), 'v4', judging(0.5)])
    const settings = { qualityThreshold: 0.9, maxIterations: 9, minImprovement: 0.05, patience: 2 }
    expect((await services.run(refinementOf(flat, { refinement: settings }))).result).toMatchObject({
      stopReason: 'plateau',
      finalOutput: 'v1',
    })
    const limited = services.model(['v1', judging(0.5), 'v2', judging(0.6), 'v3'])
    const run = await services.run(
      refinementOf(limited, { refinement: { qualityThreshold: 0.9, maxIterations: 9 }, limits: { maxSteps: 4 } }),
    )
    expect(run.result).toMatchObject({ stopReason: 'limit', finalOutput: 'v2' })
    expect(limited.requests).toHaveLength(4)
  })

  test.each([
    { score: '8/10', read: 0.8 },
    { score: '85%', read: 0.85 },
    { score: 'SCORE: 0.8', read: 0.8 },
    { score: `Here it is:\n\`\`\`json\n${judging(0.9)}\n\`\`\``, read: 0.9 },
    { score: `I would say ${judging(0.7)} in the end`, read: 0.7 },
    { score: "{score: 0.75, approved: true, issues: [], feedback: 'ok',}", read: 0.75 },
  ])('a verdict with the score $score is read', async ({ score, read }) => {
    const model = services.model(['v1', score])
    const { result } = await services.run(refinementOf(model, { refinement: { qualityThreshold: read, maxIterations: 3 } }))
    expect(result).toMatchObject({ stopReason: 'threshold', finalOutput: 'v1' })
    expect(result.steps[1]?.parsed).toMatchObject({ score: read })
  })

  test('an unreadable verdict counts as no verdict', async () => {
    const model = services.model(['v1', 'Score: high', 'Score: still high'])
    const { result } = await services.run(refinementOf(model, {}))
    expect(result).toMatchObject({ stopReason: 'no_verdict', finalOutput: 'v1', status: 'COMPLETED' })
    expect(result.steps.find(({ stepId }) => stepId === 'evaluate')?.parsed).toBeUndefined()
  })

  test('progress counts every step once, however often it runs', async () => {
    const replies = ['v1', judging(0.1), 'v2', judging(0.2), 'v3', judging(0.95)]
    const seen: FlowStatusReport[] = []
    const { userId, threadId } = await services.person()
    const { orchestrator } = services.polyphony
    const model = services.model(async (_, index) => {
      seen.push(await orchestrator.getFlowStatus(flow.id))
      return replies[index] ?? 'none'
    })
    const flow = await orchestrator.createFlow(threadId, userId, refinementOf(model, { refinement: { qualityThreshold: 0.9 } }))
    await orchestrator.executeFlow(flow.id, userId, { input: 'x' })
    seen.push(await orchestrator.getFlowStatus(flow.id, userId))
    expect(seen.map(({ totalSteps }) => totalSteps)).toEqual(seen.map(() => 3))
    expect(seen.map(({ currentStepIndex }) => currentStepIndex)).toEqual([0, 1, 2, 2, 2, 2, 2])
    const progress = seen.map((status) => status.progress)
    expect(progress).toEqual([...progress].sort((one, other) => one - other))
    expect(progress.at(-1)).toBe(100)
    expect(Math.max(...progress.slice(0, -1))).toBeLessThan(100)
  })
})

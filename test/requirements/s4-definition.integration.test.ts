// What a flow and its steps may say (REQUIREMENTS S4, SPEC sections 1 to 3).
//
// S4-01: flow types and actions can be given as constants and as plain strings
// S4-34: a stored definition keeps every field
// S4-35: a stored definition keeps every field
// S4-36: a stored definition keeps every field
// S4-37: a stored definition keeps every field
// S4-38: a stored definition keeps every field
// S4-39: a flow that takes longer than maxExecutionTime ends with FLOW_TIMEOUT
// S4-40: onStepComplete is called for every step and onFlowComplete once
// S4-41: onStepComplete is called for every step and onFlowComplete once
// S4-42: onError is called with code, flow and step before executeFlow rejects
// S4-43: a step runs on the provider and model that it names
// S4-44: a step runs on the provider and model that it names
// S4-45: a model without a provider is split at its first slash
// S4-46: a step runs the action %s
// S4-47: a prompt may be a string, a function or an async function
// S4-48: a prompt may be a string, a function or an async function
// S4-49: a prompt may be a string, a function or an async function
// S4-50: the prompt "original" is sent as the user wrote it
// S4-51: inputFrom "$inputFrom" selects the input of a step
// S4-52: inputFrom "$inputFrom" selects the input of a step
// S4-53: inputFrom "$inputFrom" selects the input of a step
// S4-54: inputFrom "$inputFrom" selects the input of a step
// S4-62: a condition given as %s runs or skips its step
// S4-63: a condition given as %s runs or skips its step
// S4-64: a step runs the action %s
// S4-65: a step runs the action %s
// S4-66: a step runs the action %s
// S4-67: a step runs the action %s
// S4-68: a step runs the action %s
// S4-69: a step runs the action %s
// S4-70: a step runs the action %s
// S4-71: a step runs the action %s
// S4-72: a step runs the action %s
// S4-73: a step runs the action %s
// S4-89: prompt and condition functions receive the whole context
// S4-90: prompt and condition functions receive the whole context
// S4-91: prompt and condition functions receive the whole context
// S4-92: prompt and condition functions receive the whole context
// S4-93: prompt and condition functions receive the whole context
// S4-94: prompt and condition functions receive the whole context
// S4-95: prompt and condition functions receive the whole context
// S4-96: prompt and condition functions receive the whole context
// S4-97: prompt and condition functions receive the whole context
// S4-T1: the prompt comes from the option, else the definition, else the newest user message
// S4-T7: every status has a constant

import {
  type FlowDefinitionInput,
  type FlowError,
  FlowStatus,
  type FlowStepInput,
  OrchestrationFlowType,
  OrchestratorError,
  StepAction,
  type StepContext,
  StepStatus,
} from 'polyphony'
import { expect, expectTypeOf, test } from 'vitest'
import { rejection } from '../support/caught.ts'
import { chain } from '../support/flows.ts'
import { describeInMemory } from './services.ts'

test('flow types and actions can be given as constants and as plain strings', () => {
  expect(OrchestrationFlowType).toMatchObject({
    SEQUENTIAL: 'sequential',
    PARALLEL: 'parallel',
    CONDITIONAL: 'conditional',
    CRITIQUE: 'critique',
    REFINEMENT: 'refinement',
    GRAPH: 'graph',
  })
  expectTypeOf<'sequential'>().toExtend<FlowDefinitionInput['type']>()
  expectTypeOf(OrchestrationFlowType.REFINEMENT).toExtend<FlowDefinitionInput['type']>()
  expectTypeOf<'nonsense'>().not.toExtend<FlowDefinitionInput['type']>()
  expectTypeOf<'critique'>().toExtend<FlowStepInput['action']>()
  expectTypeOf(StepAction.CRITIQUE).toExtend<FlowStepInput['action']>()
  expectTypeOf(StepAction.CRITIQUE).toExtend<StepAction>()
  expectTypeOf<'CRITIQUE'>().not.toExtend<FlowStepInput['action']>()
})

test('every status has a constant', () => {
  const same = (...names: readonly string[]) => Object.fromEntries(names.map((name) => [name, name]))
  expect(FlowStatus).toEqual(same('PENDING', 'RUNNING', 'PAUSED', 'COMPLETED', 'FAILED', 'CANCELLED'))
  expect(StepStatus).toEqual(same('PENDING', 'RUNNING', 'SUCCESS', 'FAILED', 'SKIPPED', 'CANCELLED'))
  expectTypeOf<'SUCCESS'>().toExtend<StepStatus>()
  expectTypeOf<'COMPLETED'>().toExtend<FlowStatus>()
})

describeInMemory('a definition', (services) => {
  test('a stored definition keeps every field', async () => {
    const model = services.model(['x'])
    const { userId, threadId } = await services.person()
    const definition: FlowDefinitionInput = {
      name: 'Named',
      description: 'Described',
      version: '7',
      type: OrchestrationFlowType.SEQUENTIAL,
      input: 'asked',
      maxExecutionTime: 5_000,
      contextPolicy: { maxSharedTokens: 77 },
      limits: { maxTokens: 50_000 },
      steps: [model.step('only')],
    }
    const { id } = await services.polyphony.orchestrator.createFlow(threadId, userId, definition)
    const flow = await services.polyphony.orchestrator.getFlow(id, userId)
    expect(flow).toMatchObject({ name: 'Named', description: 'Described', flowType: 'sequential', steps: [{ id: 'only' }] })
    expect(flow.definition).toMatchObject({
      version: '7',
      input: 'asked',
      maxExecutionTime: 5_000,
      contextPolicy: { maxSharedTokens: 77 },
      limits: { maxTokens: 50_000 },
    })
  })

  test('FLOW_INVALID lists all problems, each with its path and a suggestion', async () => {
    const model = services.model([])
    const { userId, threadId } = await services.person()
    const wrong = {
      ...chain(model.step('draft'), model.step('draft'), model.step('third', { inputFrom: 'drfat' })),
      surprise: true,
    }
    const error = await rejection(services.polyphony.orchestrator.createFlow(threadId, userId, wrong))
    if (!OrchestratorError.is(error)) throw error
    expect(error).toMatchObject({ code: 'FLOW_INVALID', retryable: false })
    const said = JSON.stringify(error.details.problems)
    for (const part of ['surprise', 'steps[1].id', 'steps[2].inputFrom', 'draft']) expect(said).toContain(part)
  })

  test.each([
    ['a cycle', [{ dependsOn: ['b'] }, { dependsOn: ['a'] }]],
    ['a missing step', [{}, { dependsOn: ['c'] }]],
    ['an unknown key of a step', [{}, { promt: 'x' }]],
    ['an unknown action', [{}, { action: 'write' }]],
  ] as const)('refuses %s', async (_, [first, second]) => {
    const model = services.model([])
    const { userId, threadId } = await services.person()
    // A caller of plain JavaScript may pass what the types forbid.
    const definition = {
      name: 'wrong',
      type: 'graph',
      steps: [
        { ...model.step('a'), ...first },
        { ...model.step('b'), ...second },
      ],
    }
    const created = services.polyphony.orchestrator.createFlow(threadId, userId, JSON.parse(JSON.stringify(definition)))
    await expect(created).rejects.toMatchObject({ code: 'FLOW_INVALID' })
  })

  test('a flow that takes longer than maxExecutionTime ends with FLOW_TIMEOUT', async () => {
    const model = services.model([{ text: '', hang: true }])
    const run = services.run({ ...chain(model.step('slow')), maxExecutionTime: 30 })
    await expect(run).rejects.toMatchObject({ code: 'FLOW_TIMEOUT' })
  })

  test('onStepComplete is called for every step and onFlowComplete once', async () => {
    const model = services.model(['one', 'two'])
    const seen: unknown[] = []
    await services.run({
      ...chain(model.step('a'), model.step('b')),
      onStepComplete: ({ stepId, status, output }) => seen.push([stepId, status, output]),
      onFlowComplete: ({ status, finalOutput }) => seen.push([status, finalOutput]),
      onError: () => seen.push('error'),
    })
    expect(seen).toEqual([
      ['a', 'SUCCESS', 'one'],
      ['b', 'SUCCESS', 'two'],
      ['COMPLETED', 'two'],
    ])
  })

  test('onError is called with code, flow and step before executeFlow rejects', async () => {
    const model = services.model([new OrchestratorError('PROVIDER_REJECTED', 'no')])
    const seen: FlowError[] = []
    await rejection(services.run({ ...chain(model.step('a')), onError: (error) => seen.push(error) }))
    expect(seen).toMatchObject([{ code: 'PROVIDER_REJECTED', stepId: 'a', flowId: expect.any(String), retryable: false }])
  })

  test('a flow continues although a callback throws', async () => {
    const fail = (): never => {
      throw new Error('callback')
    }
    const definition = { ...chain(services.model(['fine']).step('a')), onStepComplete: fail, onFlowComplete: fail }
    expect((await services.run(definition, { onUpdate: fail })).result.finalOutput).toBe('fine')
  })

  test('a step runs on the provider and model that it names', async () => {
    const one = services.model(['from alpha'], 'alpha')
    const two = services.model(['from beta'], 'beta')
    const { result } = await services.run(chain(one.step('first-1'), two.step('second_2', { prompt: 'original' })))
    expect(
      result.steps.map(({ stepId, provider, requestedModel, output }) => [stepId, provider, requestedModel, output]),
    ).toEqual([
      ['first-1', 'alpha', one.target.model, 'from alpha'],
      ['second_2', 'beta', two.target.model, 'from beta'],
    ])
  })

  test('a model without a provider is split at its first slash', async () => {
    const definition = chain({ id: 'a', model: 'beta/family/name-1', action: 'generate', prompt: 'hello' })
    const { result } = await services.run(definition)
    expect(result.steps[0]).toMatchObject({
      provider: 'beta',
      requestedModel: 'family/name-1',
      output: 'answer of family/name-1',
    })
  })

  const ofModels = Object.entries(StepAction).filter(([, action]) => !['run', 'approve', 'wait'].includes(action))
  test.each(ofModels)('a step runs the action %s', async (name, action) => {
    expect(action).toBe(name.toLowerCase())
    const model = services.model(['done'])
    const { result, updates } = await services.run(chain(model.step('a', { action })))
    expect(result).toMatchObject({ finalOutput: 'done', steps: [{ action, status: 'SUCCESS' }] })
    expect(updates.find(({ type }) => type === 'step_start')).toMatchObject({ stepId: 'a', data: { action } })
  })

  test('a prompt may be a string, a function or an async function', async () => {
    const model = services.model(() => 'ok')
    await services.run(
      chain(
        model.step('a', { prompt: 'of a string {{ original }}' }),
        model.step('b', { prompt: (context) => `of a function ${context.stepId}` }),
        model.step('c', { prompt: async (context) => Promise.resolve(`of an async function ${context.originalPrompt}`) }),
      ),
    )
    expect(model.sent(0)).toContain('of a string the question')
    expect(model.sent(1)).toContain('of a function b')
    expect(model.sent(2)).toContain('of an async function the question')
  })

  test('the prompt "original" is sent as the user wrote it', async () => {
    const model = services.model(['ok'])
    await services.run(chain(model.step('a', { prompt: 'original' })), { input: 'words of the user' })
    expect(model.requests[0]?.messages.at(-1)).toMatchObject({ role: 'user', content: 'words of the user' })
  })

  test.each([
    { inputFrom: 'previous', given: ['second!'], hidden: ['first!'] },
    { inputFrom: 'original', given: ['the question'], hidden: ['first!', 'second!'] },
    { inputFrom: 'all', given: ['first!', 'second!'], hidden: [] },
    { inputFrom: 'a', given: ['first!'], hidden: ['second!'] },
  ])('inputFrom "$inputFrom" selects the input of a step', async ({ inputFrom, given, hidden }) => {
    for (const prompt of ['look at {{ input }}', 'look at it']) {
      const model = services.model(['first!', 'second!', 'third!'])
      const last = model.step('c', { inputFrom, prompt })
      await services.run(chain(model.step('a'), model.step('b', { prompt: 'original' }), last))
      for (const text of given) expect(model.sent(2), prompt).toContain(text)
      for (const text of hidden) expect(model.sent(2), prompt).not.toContain(text)
    }
  })

  test.each([
    ['a function', (): boolean => true, (): boolean => false],
    ['an async function', () => Promise.resolve(true), () => Promise.resolve(false)],
    ['an expression', 'original.contains("question")', 'original.contains("elephant")'],
  ] as const)('a condition given as %s runs or skips its step', async (_, holds, fails) => {
    const model = services.model(['one', 'two'])
    const { result } = await services.run(
      chain(model.step('a'), model.step('b', { condition: fails }), model.step('c', { condition: holds })),
    )
    expect(result.steps.map(({ stepId, status }) => [stepId, status])).toEqual([
      ['a', 'SUCCESS'],
      ['b', 'SKIPPED'],
      ['c', 'SUCCESS'],
    ])
    expect(model.requests).toHaveLength(2)
  })

  test('prompt and condition functions receive the whole context', async () => {
    const model = services.model(['one', 'two', 'three'])
    const seen: StepContext[] = []
    const look = (context: StepContext) => {
      seen.push(context)
      return `prompt of ${context.stepId}`
    }
    const whose = await services.person()
    await services.polyphony.conversations.addMessage(whose.threadId, whose.userId, { role: 'user', content: 'said before' })
    await services.polyphony.dataSharing.set(whose.userId, 'alpha', { allowConversationHistory: true })
    const { flow } = await services.run(
      {
        ...chain(
          model.step('a', { prompt: look }),
          model.step('b'),
          model.step('c', {
            prompt: look,
            condition: (context) => {
              seen.push(context)
              return context.previousStepOutput === 'two'
            },
          }),
        ),
        contextPolicy: { shareConversationHistory: true },
      },
      { metadata: { trace: 't-1' } },
      whose,
    )
    const [first, condition, third] = seen
    expect(first).toMatchObject({ flowId: flow.id, stepId: 'a', stepIndex: 0, originalPrompt: 'the question' })
    expect(first?.previousStepOutput).toBeUndefined()
    expect(first?.metadata).toMatchObject({ trace: 't-1' })
    expect({ ...first?.previousStepOutputs }).toEqual({})
    expect(first?.allStepResults).toHaveLength(0)
    expect(first?.threadHistory.map(({ role, content }) => [role, content])).toEqual([['user', 'said before']])
    for (const context of [condition, third]) {
      expect(context).toMatchObject({ stepId: 'c', stepIndex: 2, previousStepOutput: 'two', metadata: { trace: 't-1' } })
      expect({ ...context?.previousStepOutputs }).toEqual({ a: 'one', b: 'two' })
      expect(context?.allStepResults.map(({ stepId, status, output }) => [stepId, status, output])).toEqual([
        ['a', 'SUCCESS', 'one'],
        ['b', 'SUCCESS', 'two'],
      ])
    }
  })

  test('the prompt comes from the option, else the definition, else the newest user message', async () => {
    const model = services.model(() => 'ok')
    const whose = await services.person()
    const definition = chain(model.step('a', { prompt: 'original' }))
    const run = (more: Partial<FlowDefinitionInput>, input?: string) => services.run({ ...definition, ...more }, { input }, whose)
    await expect(run({})).rejects.toMatchObject({ code: 'FLOW_INPUT_MISSING' })
    for (const content of ['old words', 'new words']) {
      await services.polyphony.conversations.addMessage(whose.threadId, whose.userId, { role: 'user', content })
    }
    await run({ input: 'of the definition' }, 'of the option')
    await run({ input: 'of the definition' })
    await run({})
    expect(model.requests.map(({ messages }) => messages.at(-1)?.content)).toEqual([
      'of the option',
      'of the definition',
      'new words',
    ])
  })
})

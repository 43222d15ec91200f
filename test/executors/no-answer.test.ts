import { afterEach, describe, expect, test } from 'vitest'
import type { FlowDefinitionInput, FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { step } from '../support/flows.ts'
import { type ScriptedFlow, scripted, USER } from '../support/scripted-flow.ts'

let flow: ScriptedFlow | undefined
afterEach(async () => {
  await flow?.polyphony.close()
  flow = undefined
})

const maybe = (id: string, more: Partial<FlowStepInput> = {}) => step(id, { optional: true, ...more })
const never = (id: string, more: Partial<FlowStepInput> = {}) => step(id, { condition: 'false', ...more })
const loopSteps = (make: typeof step): readonly FlowStepInput[] => [
  make('draft'),
  make('judge', { action: 'critique' }),
  make('mend', { action: 'refine' }),
]

const OPTIONAL_ALONE: readonly FlowDefinitionInput[] = [
  { name: 'o', type: 'sequential', steps: [maybe('a'), maybe('b')] },
  { name: 'o', type: 'parallel', steps: [maybe('a'), maybe('b')] },
  { name: 'o', type: 'parallel', parallel: { onFailure: 'continue', minSuccesses: 0 }, steps: [step('a'), step('b')] },
  { name: 'o', type: 'graph', steps: [maybe('a'), maybe('b', { dependsOn: ['a'] })] },
  { name: 'o', type: 'graph', parallel: { onFailure: 'continue' }, steps: [step('a'), step('b', { dependsOn: ['a'] })] },
  { name: 'o', type: 'conditional', steps: [maybe('a', { condition: 'true' }), maybe('b', { otherwise: true })] },
  { name: 'o', type: 'critique', steps: loopSteps(maybe) },
  { name: 'o', type: 'refinement', steps: loopSteps(maybe) },
]

const ALL_SKIPPED: readonly FlowDefinitionInput[] = [
  { name: 's', type: 'sequential', steps: [never('a'), never('b')] },
  { name: 's', type: 'parallel', steps: [never('a'), never('b')] },
  { name: 's', type: 'graph', steps: [never('a'), step('b', { dependsOn: ['a'] })] },
  { name: 's', type: 'conditional', steps: [never('a'), never('b')] },
  { name: 's', type: 'critique', steps: loopSteps(never) },
  { name: 's', type: 'refinement', steps: loopSteps(never) },
]

async function failedRun(definition: FlowDefinitionInput) {
  flow = await scripted(() => new OrchestratorError('PROVIDER_REJECTED', 'the vendor said no'))
  const { orchestrator } = flow.polyphony
  const { id } = await orchestrator.createFlow(flow.threadId, USER, definition)
  const error = await orchestrator.executeFlow(id, USER, { input: 'question' }).catch((thrown: unknown) => thrown)
  return { error, stored: await orchestrator.getFlow(id, USER), updates: orchestrator.streamFlow(id, USER) }
}

describe('a flow in which nothing succeeded has failed', () => {
  test.each(OPTIONAL_ALONE)(
    'of type $type, all of whose steps may fail: with the code of the first failure',
    async (definition) => {
      const { error, stored, updates } = await failedRun(definition)
      expect(error).toMatchObject({ code: 'PROVIDER_REJECTED', message: expect.stringContaining('the vendor said no') })
      expect(error).toHaveProperty('details.stepId')
      expect(error).toHaveProperty('details.flowId', stored.id)
      expect(stored).toMatchObject({ status: 'FAILED', error: { code: 'PROVIDER_REJECTED' } })
      const types: string[] = []
      for await (const { type } of updates) types.push(type)
      expect(types.at(-1)).toBe('error')
      expect(types).not.toContain('flow_complete')
    },
  )

  test.each(ALL_SKIPPED)(
    'of type $type, all of whose steps were skipped: NO_BRANCH_MATCHED without a call',
    async (definition) => {
      const { error, stored } = await failedRun(definition)
      expect(error).toMatchObject({ code: 'NO_BRANCH_MATCHED', message: expect.stringMatching(/"(a|draft)"/) })
      expect(stored).toMatchObject({ status: 'FAILED', error: { code: 'NO_BRANCH_MATCHED' } })
      expect(flow?.provider.requests).toEqual([])
    },
  )

  test('a flow without an answer resumes at the next execution', async () => {
    let isUp = false
    flow = await scripted(() => (isUp ? 'answer' : new OrchestratorError('PROVIDER_REJECTED', 'down')))
    const { orchestrator } = flow.polyphony
    const { id } = await orchestrator.createFlow(flow.threadId, USER, {
      name: 'o',
      type: 'parallel',
      steps: [maybe('a'), maybe('b')],
    })
    await expect(orchestrator.executeFlow(id, USER, { input: 'question' })).rejects.toMatchObject({ code: 'PROVIDER_REJECTED' })
    isUp = true
    expect(await orchestrator.executeFlow(id, USER)).toMatchObject({ status: 'COMPLETED' })
  })

  test('a flow with one optional answer beside failures completes', async () => {
    flow = await scripted((_, index) => (index === 0 ? 'answer' : new OrchestratorError('PROVIDER_REJECTED', 'down')))
    const result = await flow.run({ name: 'o', type: 'sequential', steps: [maybe('a'), maybe('b'), maybe('c')] })
    expect(result).toMatchObject({ status: 'COMPLETED', finalOutput: 'answer' })
  })
})

describe('an answer that was cut', () => {
  const ENDS = [
    ['length', 'OUTPUT_INVALID'],
    ['content_filter', 'CONTENT_FILTERED'],
    ['other', 'PROVIDER_BAD_REPLY'],
  ] as const
  const cases = ENDS.flatMap(([end, code]) => [true, false].map((streaming) => ({ end, code, streaming })))

  test.each(cases)(
    'by $end fails a step with complete: true by $code, streaming: $streaming',
    async ({ end, code, streaming }) => {
      flow = await scripted(() => ({ text: 'half an ans', finishReason: end }))
      const steps = [step('a', { complete: true, retryOnFailure: false })]
      const error = await flow.run({ name: 'c', type: 'sequential', steps }, { streaming }).catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code, details: { stepId: 'a' } })
      expect(flow.updates.find(({ type }) => type === 'step_complete')).toMatchObject({
        data: { status: 'FAILED', finishReason: end },
      })
    },
  )

  test.each(cases)('by $end is passed on with a note otherwise, streaming: $streaming', async ({ end, streaming }) => {
    flow = await scripted([{ text: 'half an ans', finishReason: end }, 'whole'])
    const result = await flow.run({ name: 'c', type: 'sequential', steps: [step('a'), step('b')] }, { streaming })
    expect(result.steps[0]).toMatchObject({ status: 'SUCCESS', output: 'half an ans', finishReason: end })
    expect(result.steps[0]?.notes.join()).toMatch(/the answer (was|may be) cut/)
    expect(result.steps[1]?.notes).toEqual([])
  })

  test('leads to the fallback if the step requires a complete one', async () => {
    flow = await scripted(({ model }) => (model === 'm' ? { text: 'half', finishReason: 'other' } : 'whole'))
    const fallbacks = [{ provider: 'scripted', model: 'other' }]
    const steps = [step('a', { complete: true, retryOnFailure: false, fallbacks })]
    const result = await flow.run({ name: 'c', type: 'sequential', steps }, { streaming: false })
    expect(result).toMatchObject({ finalOutput: 'whole', steps: [{ model: 'other' }] })
  })
})

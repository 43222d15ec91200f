import { afterEach, expect, test } from 'vitest'
import { lastMessage, type ScriptedFlow, scripted, stepStarts } from '../support/scripted-flow.ts'

let flow: ScriptedFlow | undefined
afterEach(async () => {
  await flow?.polyphony.close()
  flow = undefined
})

const threeSteps = {
  name: 'chain',
  type: 'sequential' as const,
  steps: [
    { id: 'draft', model: 'scripted/m', action: 'generate' as const, prompt: 'original' },
    { id: 'critique', model: 'scripted/m', action: 'critique' as const, prompt: 'Criticise: {{ steps.draft.output }}' },
    { id: 'final', model: 'scripted/m', action: 'refine' as const, prompt: 'Mend {{ steps.draft.output }} by {{ previous }}' },
  ],
}

test('each step of a sequential flow sees the outputs before it', async () => {
  flow = await scripted(['one', 'two', 'three'])
  const result = await flow.run(threeSteps)
  expect(result).toMatchObject({ status: 'COMPLETED', finalOutput: 'three' })
  expect(stepStarts(flow.updates)).toEqual(['draft', 'critique', 'final'])
  expect(lastMessage(flow.provider, 0)).toBe('the question')
  expect(lastMessage(flow.provider, 1)).toContain('Criticise: one')
  expect(lastMessage(flow.provider, 2)).toContain('Mend one by two')
})

import { describe, expect, test } from 'vitest'
import { scripted, USER } from '../../support/scripted-flow.ts'

const definition = {
  name: 'ask first',
  type: 'sequential',
  steps: [
    { id: 'draft', model: 'scripted/m', action: 'generate' },
    { id: 'ok', action: 'approve', approval: { prompt: 'Publish "{{ steps.draft.output }}"?' } },
    { id: 'publish', model: 'scripted/m', action: 'transform', condition: 'steps.ok.parsed.approved' },
  ],
} as const

describe('an approval', () => {
  test('a flow pauses at an approve step and goes on with the decision', async () => {
    const { polyphony, threadId, updates } = await scripted(['a draft', 'published'])
    const { orchestrator } = polyphony
    const flow = await orchestrator.createFlow(threadId, USER, definition)
    const end = orchestrator.executeFlow(flow.id, USER, { input: 'the question', onUpdate: (update) => updates.push(update) })
    for await (const update of orchestrator.streamFlow(flow.id, USER)) if (update.type === 'flow_paused') break
    expect((await orchestrator.getFlowStatus(flow.id)).status).toBe('PAUSED')
    const [open, ...others] = await orchestrator.listWaiting(USER)
    expect(others).toEqual([])
    expect(open).toMatchObject({
      flowId: flow.id,
      path: 'ok',
      kind: 'approve',
      prompt: 'Publish "a draft"?',
      show: 'a draft',
      mayAnswer: true,
    })
    await orchestrator.signal(flow.id, USER, 'ok', { approved: true, edit: 'a better draft', hash: open?.hash })
    const result = await end
    expect(result.finalOutput).toBe('published')
    expect(result.steps[1]).toMatchObject({
      status: 'SUCCESS',
      output: 'a better draft',
      parsed: { approved: true, edit: 'a better draft', by: USER },
    })
    expect(updates.map(({ type }) => type)).toEqual([
      'flow_start',
      'step_start',
      'step_progress',
      'step_complete',
      'step_start',
      'flow_paused',
      'flow_start',
      'step_complete',
      'step_start',
      'step_progress',
      'step_complete',
      'flow_complete',
    ])
    expect(updates.map(({ seq }) => seq)).toEqual(updates.map((_, index) => index + 1))
    await polyphony.close()
  })
})

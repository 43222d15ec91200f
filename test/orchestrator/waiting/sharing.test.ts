import { describe, expect, test } from 'vitest'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { scripted, USER } from '../../support/scripted-flow.ts'
import { approve, generate, startPaused } from './waiting-flows.ts'

const passOn = (model: string) =>
  ({
    name: 'pass on',
    type: 'sequential',
    steps: [
      generate('draft'),
      approve('ok'),
      { id: 'publish', model, action: 'transform', prompt: 'Publish {{ steps.ok.output }}' },
    ],
  }) as const

describe('sharing through a step that waits', () => {
  test('the text of a provider comes back to it without a policy', async () => {
    const { polyphony, threadId } = await scripted(() => 'a text')
    expect(await polyphony.orchestrator.checkFlow(passOn('scripted/m'), USER)).toMatchObject({
      ok: true,
      calls: { min: 2, max: 2 },
    })
    const { flowId, end } = await startPaused(polyphony, threadId, passOn('scripted/m'))
    await polyphony.orchestrator.signal(flowId, USER, 'ok', { approved: true, edit: 'an edited text' })
    expect((await end).steps[1]).toMatchObject({ writers: ['scripted'], output: 'an edited text' })
    await polyphony.close()
  })

  test('an approval does not let the text of one provider reach another', async () => {
    const other = createScriptedProvider({ replies: () => 'published' })
    const { polyphony, threadId } = await scripted(() => 'a text', { other })
    const { ok, problems } = await polyphony.orchestrator.checkFlow(passOn('other/m'), USER)
    expect([ok, problems.map(({ code }) => code)]).toEqual([false, ['DATA_SHARING_DENIED']])
    const { flowId, end } = await startPaused(polyphony, threadId, passOn('other/m'))
    await polyphony.orchestrator.signal(flowId, USER, 'ok', { approved: true })
    await expect(end).rejects.toMatchObject({ code: 'DATA_SHARING_DENIED' })
    expect(other.requests).toEqual([])
    await polyphony.close()
  })

  test('rights are asked again when a flow goes on', async () => {
    const { polyphony, threadId } = await scripted(() => 'a text')
    const { orchestrator, permissions } = polyphony
    await permissions.grant(threadId, USER, 'bob', ['read', 'write'])
    const flow = await orchestrator.createFlow(threadId, 'bob', passOn('scripted/m'))
    const end = orchestrator.executeFlow(flow.id, 'bob', { input: 'the question' })
    end.catch(() => {})
    for await (const update of orchestrator.streamFlow(flow.id, USER)) if (update.type === 'flow_paused') break
    await permissions.revoke(threadId, USER, 'bob', ['write'])
    await orchestrator.signal(flow.id, USER, 'ok', { approved: true })
    await expect(end).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
    await polyphony.close()
  })
})

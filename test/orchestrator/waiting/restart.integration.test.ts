import { describe, expect, test } from 'vitest'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { DATABASES } from '../../support/databases.ts'
import { openTestPolyphony } from '../../support/polyphony.ts'
import { USER } from '../../support/scripted-flow.ts'
import { approve, generate, startPaused } from './waiting-flows.ts'

const definition = {
  name: 'over a restart',
  type: 'sequential',
  steps: [
    generate('draft'),
    approve('ok', { show: '{{ steps.draft.output }}' }),
    generate('publish', { prompt: 'Publish {{ steps.ok.output }}' }),
  ],
} as const

describe.each(Object.entries(DATABASES))('a paused flow on %s', (_name, openDatabase) => {
  test('a paused flow goes on in another process with what it had, and nothing is called again', async () => {
    const { url, drop } = await openDatabase()
    const provider = createScriptedProvider({ replies: ({ messages }) => `reply to ${messages.at(-1)?.content.slice(0, 40)}` })
    const open = () => openTestPolyphony({ database: url, providers: { scripted: provider } })
    const before = await open()
    const { id: threadId } = await before.conversations.createThread(USER, {})
    const { flowId } = await startPaused(before, threadId, definition)
    await before.close()

    const after = await open()
    const { orchestrator } = after
    expect((await orchestrator.getFlowStatus(flowId)).status).toBe('PAUSED')
    const [waiting] = await orchestrator.listWaiting(USER)
    expect(waiting).toMatchObject({ flowId, path: 'ok', kind: 'approve', mayAnswer: true })
    // Executing a paused flow waits for its end.
    const end = orchestrator.executeFlow(flowId, USER)
    await orchestrator.signal(flowId, USER, 'ok', { approved: true, hash: waiting?.hash })
    const result = await end
    expect(result).toMatchObject({ status: 'COMPLETED' })
    expect(result.steps.map(({ stepId }) => stepId)).toEqual(['draft', 'ok', 'publish'])
    expect(provider.requests).toHaveLength(2)
    await after.close()
    await drop()
  })

  test('a paused flow is cancelled, deleted or resumed after the cancellation with the approvals it had', async () => {
    const { url, drop } = await openDatabase()
    const provider = createScriptedProvider({ replies: () => 'a reply' })
    const polyphony = await openTestPolyphony({ database: url, providers: { scripted: provider } })
    const { orchestrator, conversations } = polyphony
    const { id: threadId } = await conversations.createThread(USER, {})
    const twice = { ...definition, name: 'twice', steps: [generate('draft'), approve('first'), approve('second')] }
    const { flowId, end } = await startPaused(polyphony, threadId, twice)
    await expect(orchestrator.executeStep(flowId, 'draft', USER)).rejects.toMatchObject({ code: 'FLOW_ALREADY_RUNNING' })
    await orchestrator.signal(flowId, USER, 'first', { approved: true })
    for await (const update of orchestrator.streamFlow(flowId, USER, { afterSeq: 6 })) if (update.type === 'flow_paused') break
    expect((await orchestrator.cancelFlow(flowId, USER)).status).toBe('CANCELLED')
    await expect(end).rejects.toMatchObject({ code: 'FLOW_CANCELLED' })
    await expect(orchestrator.signal(flowId, USER, 'second', { approved: true })).rejects.toMatchObject({
      code: 'STEP_NOT_WAITING',
    })
    await orchestrator.startFlow(flowId, USER)
    for await (const update of orchestrator.streamFlow(flowId, USER, { afterSeq: 10 })) if (update.type === 'flow_paused') break
    const again = orchestrator.executeFlow(flowId, USER)
    expect((await orchestrator.listWaiting(USER)).map(({ path }) => path)).toEqual(['second'])
    await orchestrator.signal(flowId, USER, 'second', { approved: true })
    expect((await again).status).toBe('COMPLETED')
    expect(provider.requests).toHaveLength(1)

    const other = await startPaused(polyphony, threadId, definition)
    await orchestrator.deleteFlow(other.flowId, USER)
    expect(await orchestrator.listWaiting(USER)).toEqual([])
    await polyphony.close()
    await drop()
  })
})

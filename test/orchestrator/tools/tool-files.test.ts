import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import type { FlowStepInput } from '../../../src/domain/definition/flow-definition.ts'
import type { ModelRequest } from '../../../src/domain/execution/model-call.ts'
import { defineFunction } from '../../../src/domain/tools/functions.ts'
import { createScriptedProvider, type ScriptedReplies } from '../../../src/providers/scripted.ts'
import { createMemoryStore } from '../../../src/repositories/memory/memory-store.ts'
import { openMortalProcess } from '../../support/mortal-process.ts'
import { openTestPolyphony } from '../../support/polyphony.ts'
import { USER } from '../../support/scripted-flow.ts'
import { calling, toolAnswers } from '../../support/tool-world.ts'

const PNG = Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52])
const TABLE = new TextEncoder().encode('pen,3\n')

/** Returns the files that its caller names. */
const draw = defineFunction({
  input: z.object({ files: z.array(z.enum(['chart.png', 'table.csv', 'none'])) }),
  run({ files }, { addFile }) {
    for (const name of files) {
      if (name === 'chart.png') addFile({ name, mediaType: 'image/png', data: PNG })
      if (name === 'table.csv') addFile({ name, mediaType: 'text/csv', data: TABLE })
    }
    return 'drawn'
  },
})

const flowOf = (step: Partial<FlowStepInput> = {}) => ({
  name: 'files',
  type: 'sequential' as const,
  steps: [{ id: 'answer', model: 'scripted/m', action: 'generate' as const, tools: ['function/draw'], ...step }],
})

async function open(replies: ScriptedReplies, more: Parameters<typeof openTestPolyphony>[0] = {}) {
  const provider = createScriptedProvider({ replies })
  const polyphony = await openTestPolyphony({
    functions: { draw },
    ...more,
    providers: { scripted: provider, ...more.providers },
  })
  const { id: threadId } = await polyphony.conversations.createThread(USER)
  const run = async (step: Partial<FlowStepInput> = {}) => {
    const { id } = await polyphony.orchestrator.createFlow(threadId, USER, flowOf(step))
    const updates: unknown[] = []
    const result = await polyphony.orchestrator.executeFlow(id, USER, { input: 'x', onUpdate: (update) => updates.push(update) })
    return { ...result, updates }
  }
  return { polyphony, provider, threadId, run }
}

const filesOf = ({ messages }: ModelRequest) => {
  const last = messages.at(-1)
  return last?.role === 'tool' ? (last.files ?? []) : []
}

describe('files that a tool returns', () => {
  test('are stored with the thread, sent with the result, and reported with the call', async () => {
    const { polyphony, provider, threadId, run } = await open([calling(['draw', { files: ['chart.png', 'table.csv'] }]), 'done'])
    const { steps, updates } = await run()
    const request = provider.requests[1]
    const sent = request ? filesOf(request) : []
    expect(sent).toMatchObject([
      { name: 'chart.png', mediaType: 'image/png', byteLength: PNG.length },
      { name: 'table.csv', mediaType: 'text/csv', byteLength: TABLE.length },
    ])
    expect(await Promise.all(sent.map(async (file) => new Uint8Array(await file.read())))).toEqual([PNG, TABLE])
    expect(request && toolAnswers(request)).toEqual(['drawn\n[files: chart.png, table.csv]'])
    const [call] = steps[0]?.toolCalls ?? []
    expect(call?.files).toMatchObject([
      { name: 'chart.png', file: { sha256: sent[0]?.sha256 } },
      { name: 'table.csv', file: { sha256: sent[1]?.sha256 } },
    ])
    expect(updates).toContainEqual(
      expect.objectContaining({ type: 'tool_result', data: expect.objectContaining({ files: call?.files }) }),
    )
    const id = call?.files?.[0]?.file?.id ?? ''
    expect(await polyphony.files.get(id, USER)).toMatchObject({ threadId })
    expect(new Uint8Array(await polyphony.files.read(id, USER))).toEqual(PNG)
    await polyphony.close()
  })

  test('that do not fit into maxResultTokens are stored and named, and not sent', async () => {
    const { polyphony, provider, run } = await open([calling(['draw', { files: ['table.csv', 'chart.png'] }]), 'done'])
    const { steps } = await run({ maxResultTokens: 100 })
    const request = provider.requests[1]
    expect(request && filesOf(request).map(({ name }) => name)).toEqual(['table.csv'])
    expect(request && toolAnswers(request)).toEqual([
      'drawn\n[files: table.csv]\n[files that are stored and not shown, because of maxResultTokens 100: chart.png]',
    ])
    expect(steps[0]?.toolCalls?.[0]?.files?.map(({ name }) => name)).toEqual(['table.csv', 'chart.png'])
    await polyphony.close()
  })

  test('above the limits of the user are named with the error, and the result stands', async () => {
    const replies = [calling(['draw', { files: ['chart.png', 'table.csv'] }]), 'done']
    const { polyphony, provider, run } = await open(replies, { files: { maxBytes: PNG.length - 1 } })
    const { finalOutput, steps } = await run()
    expect(finalOutput).toBe('done')
    const request = provider.requests[1]
    expect(request && filesOf(request).map(({ name }) => name)).toEqual(['table.csv'])
    expect(steps[0]?.toolCalls?.[0]?.output).toContain('[files: table.csv]\n["chart.png" was not kept (FILE_TOO_LARGE)')
    expect(steps[0]?.toolCalls?.[0]?.files).toHaveLength(1)
    await polyphony.close()
  })

  test('go to a fallback only where it may see the result', async () => {
    const down = new Error('down')
    const replies = ({ messages }: ModelRequest) => {
      if (messages.length > 1) throw down
      return calling(['draw', { files: ['chart.png'] }])
    }
    const other = createScriptedProvider({ id: 'other', replies: () => 'by other' })
    const { polyphony, run } = await open(replies, { providers: { other }, retry: { baseDelayMs: 0 } })
    await expect(run({ maxRetries: 0, fallbacks: [{ model: 'other/m' }] })).rejects.toMatchObject({ code: 'STEP_FAILED' })
    expect(other.requests).toEqual([])
    await polyphony.close()
  })

  test('are sent again after a crash, from the store and without a further call', async () => {
    const store = createMemoryStore()
    const calls: unknown[] = []
    const counted = defineFunction({
      ...draw,
      run(input, context) {
        calls.push(input)
        return draw.run(input, context)
      },
    })
    const reply = ({ messages }: ModelRequest) => (messages.length > 1 ? 'done' : calling(['draw', { files: ['chart.png'] }]))
    let requests = 0
    const first = await openMortalProcess({
      store,
      diesAt: (moment) => moment === 'request' && ++requests === 2,
      reply,
      config: { functions: { draw: counted } },
    })
    const { id: threadId } = await first.conversations.createThread(USER)
    const { id } = await first.orchestrator.createFlow(threadId, USER, flowOf())
    void first.orchestrator.executeFlow(id, USER, { input: 'x' })
    await first.death
    const second = await openMortalProcess({ store, diesAt: () => false, reply, config: { functions: { draw: counted } } })
    await store.owners.interruptOrphanedFlows({ staleMs: 0, isDead: () => true })
    const { steps } = await second.orchestrator.executeFlow(id, USER, { input: 'x' })
    expect(steps[0]?.toolCalls?.[0]?.files).toMatchObject([{ name: 'chart.png' }])
    expect(calls).toHaveLength(1)
    const [request] = second.sent
    const [file] = request ? filesOf(request) : []
    expect(file && new Uint8Array(await file.read())).toEqual(PNG)
  })
})

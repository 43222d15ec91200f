import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { type FlowDefinitionInput, FlowStatus, OrchestratorError, StepStatus } from '../src/index.ts'
import { createScriptedProvider, type ScriptedReply } from '../src/providers/scripted.ts'
import { chain, step } from './support/flows.ts'
import { openTestPolyphony } from './support/polyphony.ts'
import { lastMessage, type ScriptedFlow, scripted, stepStarts, USER } from './support/scripted-flow.ts'

// One test per trap of docs/traps.md, under its number.

let flow: ScriptedFlow | undefined
afterEach(async () => {
  await flow?.polyphony.close()
  flow = undefined
})

const loopReplies = (...evaluations: readonly string[]): readonly ScriptedReply[] =>
  evaluations.flatMap((evaluation, index) => [`draft ${index + 1}`, evaluation])
const refinement: FlowDefinitionInput = {
  name: 'loop',
  type: 'refinement',
  refinement: { maxIterations: 3, qualityThreshold: 0.8 },
  steps: [
    step('draft'),
    step('evaluate', { action: 'evaluate', prompt: 'judge {{ input }}' }),
    step('refine', { action: 'refine', prompt: 'mend {{ input }}' }),
  ],
}

test('S4-T1: the prompt is the option, else the definition, else the newest user message', async () => {
  flow = await scripted(() => 'ok')
  const { conversations, orchestrator } = flow.polyphony
  await conversations.addMessage(flow.threadId, USER, { role: 'user', content: 'of the thread' })
  const asked: string[] = []
  for (const [definition, input] of [
    [{ input: 'of the definition' }, 'of the option'],
    [{ input: 'of the definition' }, undefined],
    [{}, undefined],
  ] as const) {
    const created = await orchestrator.createFlow(flow.threadId, USER, {
      ...chain(step('a', { prompt: 'original' })),
      ...definition,
    })
    await orchestrator.executeFlow(created.id, USER, { input })
    asked.push(lastMessage(flow.provider, asked.length))
  }
  expect(asked).toEqual(['of the option', 'of the definition', 'of the thread'])
})

test('S4-T2: neither a skipped branch nor the text of one that ran opens another branch', async () => {
  const branch = (word: string) => (context: { readonly previousStepOutput?: string }) =>
    context.previousStepOutput?.includes(word) === true
  const routing: FlowDefinitionInput = {
    name: 'routing',
    type: 'conditional',
    steps: [
      step('classify'),
      step('technical', { condition: branch('TECHNICAL') }),
      step('creative', { condition: branch('CREATIVE') }),
    ],
  }
  flow = await scripted(['CREATIVE', 'a poem', 'TECHNICAL', 'this is CREATIVE work'])
  await flow.run(routing)
  await flow.run(routing)
  expect(stepStarts(flow.updates)).toEqual(['classify', 'creative', 'classify', 'technical'])
})

test('S4-T3: after a restart a flow of data runs, and one with functions is refused until it is registered', {
  timeout: 60_000,
}, async () => {
  const directory = await mkdtemp(join(tmpdir(), 'polyphony-traps-'))
  const open = () => {
    const provider = createScriptedProvider({ replies: () => 'answer' })
    const database = `pglite://${join(directory, 'data')}`
    return openTestPolyphony({ database, providers: { scripted: provider } })
  }
  const coded: FlowDefinitionInput = { ...chain(step('a', { prompt: () => 'do a' })), name: 'coded', version: '1' }
  try {
    const before = await open()
    const thread = await before.conversations.createThread(USER)
    const withFunctions = await before.orchestrator.createFlow(thread.id, USER, coded)
    const asData = await before.orchestrator.createFlow(thread.id, USER, chain(step('a')))
    await before.close()

    const { orchestrator, close } = await open()
    expect(await orchestrator.executeFlow(asData.id, USER, { input: 'x' })).toMatchObject({ finalOutput: 'answer' })
    await expect(orchestrator.executeFlow(withFunctions.id, USER, { input: 'x' })).rejects.toMatchObject({
      code: 'FLOW_NOT_REBUILDABLE',
      details: { name: 'coded', version: '1' },
    })
    orchestrator.registerFlow(coded)
    expect(await orchestrator.executeFlow(withFunctions.id, USER, { input: 'x' })).toMatchObject({ finalOutput: 'answer' })
    await close()
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
})

test('S4-T4: with a user id the status needs the right to read, without one the caller is trusted', async () => {
  flow = await scripted([])
  const { orchestrator } = flow.polyphony
  const created = await orchestrator.createFlow(flow.threadId, USER, chain(step('a')))
  await expect(orchestrator.getFlowStatus(created.id, 'stranger')).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
  expect(await orchestrator.getFlowStatus(created.id)).toMatchObject({ flowId: created.id, status: 'PENDING' })
})

test('S4-T5: 8/10 is a score of 0.8, and a score in words is no verdict', async () => {
  flow = await scripted(loopReplies('8/10'))
  expect(await flow.run(refinement)).toMatchObject({ stopReason: 'threshold', finalOutput: 'draft 1' })
  await flow.polyphony.close()
  flow = await scripted([...loopReplies('Score: high'), 'Score: still high'])
  const result = await flow.run(refinement)
  expect(result).toMatchObject({ stopReason: 'no_verdict', finalOutput: 'draft 1' })
  expect(result.steps[1]).toMatchObject({ stepId: 'evaluate', status: 'SUCCESS', parsed: undefined })
})

test('S4-T6: the total is a number, and steps without a price are counted instead of being free', async () => {
  const usage = { inputTokens: 1, outputTokens: 1, totalTokens: 2, source: 'reported' } as const
  flow = await scripted(() => ({ text: 'ok', usage }))
  const result = await flow.run(chain(step('a')))
  expect(result).toMatchObject({ totalCost: 0, unpricedSteps: 1 })
  expect(result.steps[0]?.cost).toBeUndefined()
})

test('S4-T7: every status is a member of an enumeration, skipped and cancelled ones too', () => {
  expect(Object.values(FlowStatus)).toEqual(['PENDING', 'RUNNING', 'PAUSED', 'COMPLETED', 'FAILED', 'CANCELLED'])
  expect(Object.values(StepStatus)).toEqual(['PENDING', 'RUNNING', 'SUCCESS', 'FAILED', 'SKIPPED', 'CANCELLED'])
})

test('S4-T8: a forbidden context item fails a step that requires it and is withheld from one that is only offered it', async () => {
  const other = createScriptedProvider({ id: 'other', replies: () => 'ok' })
  flow = await scripted(() => 'a secret', { other })
  const second = (inputFrom: string) => step('b', { model: 'other/m', inputFrom })
  await expect(flow.run(chain(step('a'), second('a')))).rejects.toMatchObject({ code: 'DATA_SHARING_DENIED' })
  expect(other.requests).toHaveLength(0)
  const result = await flow.run(chain(step('a'), second('all')))
  expect(result.steps[1]?.withheld).toMatchObject([{ piece: 'a', from: 'scripted', to: 'other', allowed: false }])
  expect(JSON.stringify(other.requests)).not.toContain('a secret')
})

test('S4-T9: over maxSharedTokens the oldest history goes first and the newest output stays', async () => {
  flow = await scripted(['short answer', 'done'])
  const { conversations, dataSharing } = flow.polyphony
  await dataSharing.set(USER, 'scripted', { allowConversationHistory: true })
  for (const content of [`oldest ${'word '.repeat(200)}`, 'newest']) {
    await conversations.addMessage(flow.threadId, USER, { role: 'user', content })
  }
  const result = await flow.run({
    ...chain(step('a'), step('b', { inputFrom: 'a' })),
    contextPolicy: { shareConversationHistory: true, maxSharedTokens: 30 },
  })
  const sent = JSON.stringify(flow.provider.requests[1]?.messages)
  expect(sent).toContain('short answer')
  expect(sent).toContain('newest')
  expect(sent).not.toContain('oldest')
  expect(result.steps[1]?.withheld).toMatchObject([{ kind: 'conversation_history', rule: 'maxSharedTokens' }])
  expect(result.steps[1]?.notes.join()).toMatch(/maxSharedTokens|token/i)
})

test('S4-T10: a loop counts each of its steps once, and the index is that of the furthest step', async () => {
  const seen: unknown[] = []
  flow = await scripted(async () => {
    const { totalSteps, currentStepIndex } = (await current()) ?? {}
    seen.push([totalSteps, currentStepIndex])
    return replies.shift() ?? 'none'
  })
  const replies = [...loopReplies('2/10', '9/10')]
  const { orchestrator } = flow.polyphony
  const created = await orchestrator.createFlow(flow.threadId, USER, refinement)
  const current = () => orchestrator.getFlowStatus(created.id)
  await orchestrator.executeFlow(created.id, USER, { input: 'x' })
  expect(seen).toEqual([
    [3, 0],
    [3, 1],
    [3, 2],
    [3, 2],
  ])
})

test('S4-T11: progress never falls, neither in a loop nor over a failure and its resume', async () => {
  const progress: number[] = []
  const replies: ScriptedReply[] = [
    ...loopReplies('2/10', '3/10'),
    new OrchestratorError('PROVIDER_REJECTED', 'no'),
    ...loopReplies('4/10', '5/10'),
  ]
  flow = await scripted(async () => {
    progress.push((await orchestrator.getFlowStatus(created.id)).progress)
    return replies.shift() ?? 'none'
  })
  const { orchestrator } = flow.polyphony
  const created = await orchestrator.createFlow(flow.threadId, USER, refinement)
  await expect(orchestrator.executeFlow(created.id, USER, { input: 'x' })).rejects.toMatchObject({ code: 'PROVIDER_REJECTED' })
  progress.push((await orchestrator.getFlowStatus(created.id)).progress)
  await orchestrator.executeFlow(created.id, USER)
  progress.push((await orchestrator.getFlowStatus(created.id)).progress)
  expect(progress).toEqual([...progress].sort((one, other) => one - other))
  expect(progress[0]).toBe(0)
  expect(progress.at(-1)).toBe(100)
  expect(Math.max(...progress.slice(0, -1))).toBeLessThan(100)
})

test('S4-T12: services and flows share an instance, and no service starts by itself', async () => {
  const polyphony = await openTestPolyphony({ services: { maxConcurrent: 1 } })
  const started: string[] = []
  await polyphony.services.register({ id: 'one', type: 'llm', handlers: { start: () => void started.push('one') } })
  await polyphony.services.register({ id: 'two', type: 'llm', handlers: { start: () => void started.push('two') } })
  expect(started).toEqual([])
  await polyphony.services.start('one')
  expect((await polyphony.services.start('two', { waitMs: 0 })).state).toBe('waiting')
  await polyphony.close()
  expect(polyphony.services.list({ state: 'idle' })).toHaveLength(2)
})

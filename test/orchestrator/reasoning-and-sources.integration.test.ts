import { afterEach, expect, test } from 'vitest'
import type { FlowDefinitionInput, FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import type { ModelRequest, ModelResponse } from '../../src/domain/execution/model-call.ts'
import { UNKNOWN_USAGE } from '../../src/domain/execution/usage.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { GenerateOptions, Provider } from '../../src/providers/provider.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'

const USER = 'user-1'
const THOUGHT = 'first I add, then I doubt'
const SOURCES = [{ kind: 'citation', url: 'https://example.org/sums', title: 'Sums', startIndex: 0, endIndex: 2 }] as const

/** Thinks before it answers, in two pieces each. Refuses prompts about "fail" once. */
function thinkingProvider() {
  const requests: ModelRequest[] = []
  let hasRefused = false
  async function generate(request: ModelRequest, { onDelta, onReasoning }: GenerateOptions): Promise<ModelResponse> {
    requests.push(request)
    if (!hasRefused && request.messages.at(-1)?.content.includes('fail')) {
      hasRefused = true
      throw new OrchestratorError('PROVIDER_REJECTED', 'no')
    }
    for (const piece of [THOUGHT.slice(0, 5), THOUGHT.slice(5)]) onReasoning?.(piece)
    for (const piece of ['4', '2']) onDelta?.(piece)
    const answer = { text: '42', reasoningText: THOUGHT, sources: SOURCES, finishReason: 'stop', notes: [] } as const
    return { ...answer, model: request.model, usage: UNKNOWN_USAGE }
  }
  const provider: Provider = { ...createScriptedProvider({ id: 'thinker', replies: [] }), generate }
  return { provider, requests }
}

const cleanUp: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const undo of cleanUp.splice(0).reverse()) await undo()
})

const DATABASES = {
  memory: async () => 'memory://',
  PGlite: async () => 'pglite://memory',
  Postgres: async () => {
    const { url, drop } = await openTestPostgres()
    cleanUp.push(drop)
    return url
  },
} as const

async function open(database: string) {
  const { provider, requests } = thinkingProvider()
  const polyphony = await openTestPolyphony({ database, providers: { thinker: provider } })
  cleanUp.push(() => polyphony.close())
  const { id: threadId } = await polyphony.conversations.createThread(USER, {})
  const { orchestrator } = polyphony
  const updates: FlowUpdate[] = []
  const onUpdate = (update: FlowUpdate) => updates.push(update)
  const create = (...steps: readonly FlowStepInput[]) => {
    const definition: FlowDefinitionInput = { name: 'r', type: 'sequential', steps }
    return orchestrator.createFlow(threadId, USER, definition)
  }
  return { polyphony, orchestrator, requests, updates, onUpdate, create }
}

const thinkingStep = (id: string, more: Partial<FlowStepInput> = {}): FlowStepInput => ({
  id,
  model: 'thinker/m',
  action: 'generate',
  prompt: `do ${id}`,
  ...more,
})

/** The text of the pieces of a step, by their kind. */
const textOf = (updates: readonly FlowUpdate[], kind: 'reasoning' | undefined) =>
  updates.map((update) => (update.type === 'step_progress' && update.data.kind === kind ? update.data.delta : '')).join('')

async function storedUpdates(orchestrator: Awaited<ReturnType<typeof open>>['orchestrator'], flowId: string) {
  const stored: FlowUpdate[] = []
  for await (const update of orchestrator.streamFlow(flowId, USER)) stored.push(update)
  return stored
}

test.each(Object.entries(DATABASES))(
  'in %s reasoning is stored only with keepReasoning but always streamed, and sources are always stored',
  async (_, database) => {
    const { orchestrator, updates, onUpdate, create } = await open(await database())
    for (const [keepReasoning, kept] of [[true, THOUGHT] as const, [undefined, undefined] as const]) {
      updates.length = 0
      const { id } = await create(thinkingStep('a', { keepReasoning }))
      const result = await orchestrator.executeFlow(id, USER, { input: 'sum', streaming: true, onUpdate })
      expect(result).toMatchObject({ finalOutput: '42', steps: [{ reasoning: THOUGHT, sources: SOURCES }] })
      expect(textOf(updates, 'reasoning')).toBe(THOUGHT)
      expect(textOf(updates, undefined)).toBe('42')
      const [stored] = (await orchestrator.getFlow(id, USER)).stepResults
      expect(stored?.reasoning).toBe(kept)
      expect(stored?.sources).toEqual(SOURCES)
      const replayed = await storedUpdates(orchestrator, id)
      expect(textOf(replayed, 'reasoning')).toBe(kept ?? '')
      expect(textOf(replayed, undefined)).toBe('42')
      const completed = replayed.flatMap((update) => (update.type === 'step_complete' ? [update.data] : []))
      expect(completed.map(({ reasoning, sources }) => ({ reasoning, sources }))).toEqual([{ reasoning: kept, sources: SOURCES }])
    }
  },
  240_000,
)

test('a resumed flow shows the stored reasoning and sources of recorded steps', async () => {
  const { orchestrator, requests, create } = await open('memory://')
  const { id } = await create(thinkingStep('a', { keepReasoning: true }), thinkingStep('b'), thinkingStep('fail'))
  await expect(orchestrator.executeFlow(id, USER, { input: 'sum' })).rejects.toMatchObject({ code: 'PROVIDER_REJECTED' })
  const { steps } = await orchestrator.executeFlow(id, USER)
  expect(requests).toHaveLength(4)
  expect(steps.map(({ stepId, reasoning }) => [stepId, reasoning])).toEqual([
    ['a', THOUGHT],
    ['b', undefined],
    ['fail', THOUGHT],
  ])
  for (const { sources } of steps) expect(sources).toEqual(SOURCES)
})

test('prompts and conditions read the sources of a step, and an empty list where there are none', async () => {
  const { orchestrator, requests, create } = await open('memory://')
  const listed = (id: string) => `{% for source in steps.${id}.sources %}<{{ source.url }}>{% endfor %}`
  const { id } = await create(
    thinkingStep('a'),
    thinkingStep('ok', { model: undefined, action: 'wait', for: 1, prompt: undefined }),
    thinkingStep('b', { prompt: `a: ${listed('a')}, ok: ${listed('ok')};`, condition: 'steps.a.sources.size() == 1' }),
    thinkingStep('c', { condition: 'steps.ok.sources.size() > 0' }),
    thinkingStep('d', { condition: 'steps.c.sources.size() == 0' }),
  )
  const { steps } = await orchestrator.executeFlow(id, USER, { input: 'sum' })
  expect(steps.map(({ status }) => status)).toEqual(['SUCCESS', 'SUCCESS', 'SUCCESS', 'SKIPPED', 'SKIPPED'])
  expect(requests[1]?.messages.at(-1)?.content).toContain('a: <https://example.org/sums>, ok: ;')
})

test('the sources of an output that is shortened are left out with the rest of it', async () => {
  const { orchestrator, requests, create } = await open('memory://')
  const reads = '{{ steps.a.output }}{% if steps.a.sources %}sources{% else %}none{% endif %}'
  const { id } = await create(thinkingStep('a'), thinkingStep('b', { prompt: reads }))
  await orchestrator.executeFlow(id, USER, { input: 'sum' })
  expect(requests[1]?.messages.at(-1)?.content).toContain('42sources')
  const shorter = { name: 'r', type: 'sequential', contextPolicy: { maxSharedTokens: 0 } } as const
  const thread = await orchestrator.getFlow(id, USER)
  const steps = [thinkingStep('a'), thinkingStep('b', { prompt: reads })]
  const other = await orchestrator.createFlow(thread.threadId, USER, { ...shorter, steps })
  await orchestrator.executeFlow(other.id, USER, { input: 'sum' })
  expect(requests[3]?.messages.at(-1)?.content).toContain('none')
})

test('no prompt of a later step contains reasoning, whatever it reads', async () => {
  const { orchestrator, requests, create } = await open('memory://')
  const reading = ({ allStepResults }: { allStepResults: readonly { reasoning?: string }[] }) => JSON.stringify(allStepResults)
  const { id } = await create(
    thinkingStep('a', { keepReasoning: true }),
    thinkingStep('b', { inputFrom: 'all' }),
    thinkingStep('c', { prompt: (context) => `read ${reading(context)}` }),
  )
  await orchestrator.executeFlow(id, USER, { input: 'sum' })
  expect(JSON.stringify(requests.slice(1))).not.toContain('I doubt')
  expect(JSON.stringify(requests[2])).toContain('42')
})

test('chunks of answers and of reasoning name their sample, and the chosen sample provides reasoning and sources', async () => {
  const { orchestrator, updates, onUpdate, create } = await open('memory://')
  const { id } = await create(thinkingStep('a', { samples: 2, keepReasoning: true }))
  const { steps } = await orchestrator.executeFlow(id, USER, { input: 'sum', streaming: true, onUpdate })
  const pieces = updates.flatMap((update) => (update.type === 'step_progress' ? [update.data] : []))
  for (const sample of [1, 2]) {
    const own = pieces.filter((piece) => piece.sample === sample)
    expect(own.map(({ kind }) => kind)).toEqual(['reasoning', 'reasoning', undefined, undefined])
  }
  expect(pieces).toHaveLength(8)
  expect(steps).toMatchObject([{ reasoning: THOUGHT, sources: SOURCES, samples: ['42', '42'] }])
  expect((await orchestrator.getFlow(id, USER)).stepResults).toMatchObject([{ reasoning: THOUGHT, sources: SOURCES }])
})

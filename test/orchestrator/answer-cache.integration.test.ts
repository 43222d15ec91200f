import { afterEach, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { createParser } from '../../src/composition/create-parser.ts'
import type { FlowDefinitionInput, FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import type { ScriptedReplies } from '../../src/providers/scripted.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { chain, step } from '../support/flows.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'

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

const USAGE = { inputTokens: 1_000, outputTokens: 1_000, totalTokens: 2_000, source: 'reported' } as const
const numbered: ScriptedReplies = (_request, index) => ({ text: `answer ${index + 1}`, usage: USAGE })

async function open(replies: ScriptedReplies = numbered, database = 'memory://') {
  const provider = createScriptedProvider({ replies })
  const prices = { 'scripted/m': { inputPerMillion: 1_000, outputPerMillion: 1_000 } }
  const polyphony = await openTestPolyphony({ database, providers: { scripted: provider }, prices, retry: { baseDelayMs: 1 } })
  cleanUp.push(() => polyphony.close())
  const { orchestrator, conversations } = polyphony
  const run = async (definition: FlowDefinitionInput, userId = 'ada', streaming = false) => {
    const thread = await conversations.createThread(userId)
    const flow = await orchestrator.createFlow(thread.id, userId, definition)
    const updates: FlowUpdate[] = []
    const onUpdate = (update: FlowUpdate) => void updates.push(update)
    const result = await orchestrator.executeFlow(flow.id, userId, { input: 'hi', streaming, onUpdate })
    return { flowId: flow.id, result, updates, outputs: result.steps.map(({ output }) => output) }
  }
  return { ...polyphony, provider, run }
}

const cached = (more: Partial<FlowStepInput> = {}): FlowStepInput => step('a', { cache: true, ...more })

describe.each(Object.entries(DATABASES))('on %s', { timeout: 180_000 }, (_name, openDatabase) => {
  test('a second flow of the user gets the kept answer; its ledger says so, it costs 0 and is not unpriced', async () => {
    const { run, provider, orchestrator, usage } = await open(numbered, await openDatabase())
    const first = await run(chain(cached()))
    const second = await run(chain(cached()), 'ada', true)
    expect(provider.requests).toHaveLength(1)
    expect(first.result).toMatchObject({ totalCost: 2, totalTokens: 2_000, unpricedSteps: 0 })
    expect(second.result).toMatchObject({ finalOutput: 'answer 1', totalCost: 0, totalTokens: 0, unpricedSteps: 0 })
    expect(second.updates.filter(({ type }) => type === 'step_progress')).toMatchObject([{ data: { delta: 'answer 1' } }])

    const stored = await orchestrator.getFlow(second.flowId, 'ada')
    expect(stored.result).toMatchObject({ totalCost: 0, unpricedSteps: 0 })
    const [stepResult] = stored.result?.steps ?? []
    expect(stepResult).toMatchObject({
      status: 'SUCCESS',
      cost: 0,
      costSource: 'cache',
      retryCount: 0,
      simulated: false,
      attempts: [{ number: 1, provider: 'scripted', model: 'm', cost: 0, costSource: 'cache', cached: true, aborted: false }],
      notes: [expect.stringMatching(/^the answer was kept \d+ s ago and is served from the cache$/)],
    })
    expect(stepResult?.attempts[0]?.usage).toBeUndefined()
    const report = await usage.report('ada')
    expect(report.totals).toMatchObject({ costUsd: 2, totalTokens: 2_000, unpricedCalls: 0, uncountedCalls: 0 })
  })
})

test('without `cache` every flow asks again', async () => {
  const { run, provider } = await open()
  for (let index = 0; index < 2; index++) await run(chain(step('a')))
  await run(chain(cached({ cache: false })))
  expect(provider.requests).toHaveLength(3)
})

describe('an answer reaches', () => {
  test('no other user, unless the step shares it with all', async () => {
    const { run } = await open()
    expect((await run(chain(cached()), 'ada')).outputs).toEqual(['answer 1'])
    expect((await run(chain(cached()), 'bob')).outputs).toEqual(['answer 2'])
    const shared = chain(cached({ cache: { scope: 'shared' } }))
    expect((await run(shared, 'ada')).outputs).toEqual(['answer 3'])
    expect((await run(shared, 'bob')).outputs).toEqual(['answer 3'])
    expect((await run(chain(cached()), 'ada')).outputs).toEqual(['answer 1'])
  })

  test('with scope `flow` only later steps of its flow', async () => {
    const { run } = await open()
    const cache = { scope: 'flow' } as const
    const twice = chain(step('a', { cache, prompt: 'same' }), step('b', { cache, prompt: 'same', inputFrom: 'original' }))
    const first = await run(twice)
    expect(first.outputs).toEqual(['answer 1', 'answer 1'])
    expect((await run(twice)).outputs).toEqual(['answer 2', 'answer 2'])
    expect(first.result).toMatchObject({ totalCost: 2, totalTokens: 2_000 })
  })
})

test('the samples of a step are answers of their own, in the first flow and when they are served again', async () => {
  const { run, provider } = await open()
  const first = await run(chain(cached({ samples: 3 })))
  expect(provider.requests).toHaveLength(3)
  const second = await run(chain(cached({ samples: 3 })))
  expect(provider.requests).toHaveLength(3)
  expect(second.result.steps[0]?.samples).toEqual(first.result.steps[0]?.samples)
  expect(new Set(second.result.steps[0]?.samples).size).toBe(3)
  expect(second.result.totalCost).toBe(0)
})

test('an answer that did not fit the schema is not served again, and neither is the one that repaired it', async () => {
  const outputSchema = z.object({ total: z.number() })
  const { run, provider } = await open(['no json', '{"total": 1}', 'no json either', 'still none', '{"total": 3}'])
  const definition = chain(cached({ outputSchema }))
  expect((await run(definition)).result.steps[0]).toMatchObject({ parsed: { total: 1 } })
  expect(provider.requests).toHaveLength(2)
  await expect(run(definition)).rejects.toMatchObject({ code: 'OUTPUT_INVALID' })
  expect(provider.requests).toHaveLength(4)
  expect((await run(definition)).result.steps[0]).toMatchObject({ parsed: { total: 3 } })
  expect(provider.requests).toHaveLength(5)
  expect((await run(definition)).result.steps[0]).toMatchObject({ parsed: { total: 3 }, cost: 0 })
  expect(provider.requests).toHaveLength(5)
})

test('two branches that ask the same at the same time pay once', async () => {
  let answer = (_text: string) => {}
  const pending = new Promise<string>((resolve) => {
    answer = resolve
  })
  const { run, provider } = await open(() => pending.then((text) => ({ text, usage: USAGE })))
  const branch = (id: string) => step(id, { cache: { scope: 'flow' }, prompt: 'same', inputFrom: 'original' })
  const running = run({ name: 'two', type: 'parallel', steps: [branch('a'), branch('b')] })
  // Both branches have started when the second one has announced its start.
  await expect.poll(() => provider.requests.length).toBe(1)
  answer('one answer')
  const { result } = await running
  expect(result.steps.map(({ output }) => output)).toEqual(['one answer', 'one answer'])
  expect(result).toMatchObject({ totalCost: 2, totalTokens: 2_000, unpricedSteps: 0 })
  expect(provider.requests).toHaveLength(1)
  expect(result.steps.flatMap(({ attempts }) => attempts.map((attempt) => attempt.cached ?? false)).sort()).toEqual([false, true])
})

test('a step that no model answers has no cache, and an unknown scope is refused', async () => {
  const { run } = await open()
  const waiting = { id: 'w', action: 'wait', for: 1, cache: true } as const
  const flowOf = createParser().parse
  await expect(run(chain(waiting))).rejects.toMatchObject({ code: 'FLOW_INVALID', message: expect.stringContaining('cache') })
  const unknown = { ...chain(), steps: [{ ...cached(), cache: { scope: 'everybody' } }] }
  expect(() => flowOf(unknown)).toThrow(expect.objectContaining({ code: 'FLOW_INVALID' }))
})

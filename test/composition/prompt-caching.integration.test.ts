import { afterEach, describe, expect, test } from 'vitest'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import { createComparisonFlow, createCritiqueFlow } from '../../templates/index.ts'
import { type CachingVendor, createCachingAnthropic, createCachingOpenAi, type Reply } from '../support/caching-vendor.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

/**
 * Tokens of prompt and answer of recorded calls that fit a flow over a document: those of the collection of vendor
 * answers with a prompt of 1,500 tokens or more and an answer in words.
 */
const RECORDED = [
  [10_423, 341],
  [9_622, 171],
  [9_463, 582],
  [8_397, 1_805],
  [7_243, 423],
  [3_042, 354],
  [2_265, 84],
  [1_902, 214],
  [1_591, 175],
] as const

const textOf = (word: string, tokens: number): string => `${word}${' and so on'.repeat(tokens)}`.slice(0, tokens * 4)
const CLAUDE = { provider: 'anthropic', model: 'claude-sonnet-4-5' }
const GPT = { provider: 'openai', model: 'gpt-5.4' }
const threeCritics = (model: typeof CLAUDE) =>
  createCritiqueFlow({ generator: model, critic: [model, model, model], refiner: model })

const open: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close()
})

/** Runs flows on a vendor that says `reply`. */
async function start(createVendor: (reply: Reply) => Promise<CachingVendor>, reply: Reply) {
  const vendor = await createVendor(reply)
  const account = { baseUrl: vendor.url, apiKey: 'key' }
  const polyphony = await openTestPolyphony({
    providers: { anthropic: { kind: 'anthropic', ...account }, openai: { kind: 'openai', api: 'chat', ...account } },
  })
  open.push(vendor, polyphony)
  const run = async (definition: FlowDefinitionInput, input: string, { cache, user = 'ada', history = [] }: RunOptions = {}) => {
    const thread = await polyphony.conversations.createThread(user, { title: 'a thread' })
    for (const message of history) await polyphony.conversations.addMessage(thread.id, user, message)
    await polyphony.dataSharing.set(user, 'anthropic', { allowConversationHistory: true })
    const steps = definition.steps.map((step) => ({ ...step, settings: { ...step.settings, cache } }))
    const flow = await polyphony.orchestrator.createFlow(thread.id, user, { ...definition, steps })
    const first = vendor.prompts.length
    const { steps: results } = await polyphony.orchestrator.executeFlow(flow.id, user, { input })
    const attempts = results.flatMap((result) => result.attempts)
    return {
      costUsd: attempts.reduce((sum, { cost }) => sum + (cost ?? Number.NaN), 0),
      cached: attempts.map(({ usage }) => usage?.cachedInputTokens ?? 0),
      outputs: results.map(({ output }) => output),
      prompts: vendor.prompts.slice(first),
    }
  }
  return { run }
}

interface RunOptions {
  readonly cache?: 'auto' | 'off'
  readonly user?: string
  readonly history?: readonly { readonly role: 'user' | 'assistant'; readonly content: string }[]
}

type Outcome = Awaited<ReturnType<Awaited<ReturnType<typeof start>>['run']>>

const savingOf = (plain: readonly Outcome[], cached: readonly Outcome[]): number => 1 - sumOf(cached) / sumOf(plain)
const sumOf = (outcomes: readonly Outcome[]): number => outcomes.reduce((sum, { costUsd }) => sum + costUsd, 0)

/** Equal answers and equal prompts, to the last character. */
function expectEqual(plain: readonly Outcome[], cached: readonly Outcome[]): void {
  const shown = (outcomes: readonly Outcome[]) =>
    outcomes.map(({ outputs, prompts }) => ({ outputs, prompts: prompts.map(({ text }) => text) }))
  expect(shown(cached)).toEqual(shown(plain))
}

/** Answers of the recorded length, which the task states. */
const sized: Reply = (prompt) => {
  const tokens = Number(/Answer in (\d+) tokens/.exec(prompt)?.[1])
  return textOf(prompt.includes('You review a draft') ? 'Issues' : prompt.includes('You revise') ? 'Revised' : 'Draft', tokens)
}
const recordedTasks = RECORDED.map(([task, answer]) => textOf(`Answer in ${answer} tokens`, task))

describe('the critique template with three critics, over the recorded sizes at list prices', () => {
  test('costs at least 35 % less with caching at Anthropic, with equal prompts and answers', async () => {
    const { run } = await start(createCachingAnthropic, sized)
    const plain: Outcome[] = []
    const cached: Outcome[] = []
    for (const task of recordedTasks) {
      plain.push(await run(threeCritics(CLAUDE), task, { cache: 'off' }))
      cached.push(await run(threeCritics(CLAUDE), task))
    }
    expectEqual(plain, cached)
    expect(savingOf(plain, cached)).toBeGreaterThan(0.35)
    // Every single flow gains, also those whose long answers cost more than their prompts.
    for (const [index, outcome] of plain.entries())
      expect(savingOf([outcome], cached.slice(index, index + 1))).toBeGreaterThan(0.25)
  })

  test('costs at least 35 % less at OpenAI than without its cache, with equal prompts and answers', async () => {
    const without = await start((reply) => createCachingOpenAi(reply, false), sized)
    const { run } = await start(createCachingOpenAi, sized)
    const plain: Outcome[] = []
    const cached: Outcome[] = []
    for (const task of recordedTasks) {
      plain.push(await without.run(threeCritics(GPT), task))
      cached.push(await run(threeCritics(GPT), task))
    }
    expectEqual(plain, cached)
    expect(savingOf(plain, cached)).toBeGreaterThan(0.35)
  })
})

test('the panel with three members of one model costs a quarter less over the same sizes', async () => {
  const { run } = await start(createCachingAnthropic, sized)
  const panel = createComparisonFlow({ models: [CLAUDE, CLAUDE, CLAUDE], judge: CLAUDE })
  const plain: Outcome[] = []
  const cached: Outcome[] = []
  for (const task of recordedTasks) {
    plain.push(await run(panel, task, { cache: 'off' }))
    cached.push(await run(panel, task))
  }
  expectEqual(plain, cached)
  expect(savingOf(plain, cached)).toBeGreaterThan(0.25)
})

describe('what else begins alike', () => {
  const task = textOf('Task', 2_000)

  test('the members of a panel with one model read the question that the first one brought', async () => {
    const { run } = await start(createCachingAnthropic, () => 'Answer')
    const { cached } = await run(createComparisonFlow({ models: [CLAUDE, CLAUDE, CLAUDE], judge: CLAUDE }), task)
    expect(cached.filter((tokens) => tokens >= 2_000)).toHaveLength(2)
  })

  test('critics with instructions of their own read the draft, and the next round of a loop the task', async () => {
    const { run } = await start(createCachingAnthropic, () => '{"approved":false,"score":0.5,"issues":["x"],"feedback":"y"}')
    const material = 'Task:\n{{ original | fence: "task" }}\nDraft:\n{{ input | fence: "draft" }}\n'
    const critic = (id: string) => ({ ...CLAUDE, id, action: 'critique' as const, prompt: `${material}Check the ${id}.` })
    const { cached, prompts } = await run(
      {
        name: 'review',
        type: 'critique',
        critique: { rounds: 2 },
        steps: [
          { ...CLAUDE, id: 'draft', action: 'generate', prompt: 'original' },
          critic('facts'),
          critic('style'),
          { ...CLAUDE, id: 'refine', action: 'refine', prompt: `${material}Mend {{ steps.facts.output | fence }}` },
        ],
      },
      task,
    )
    // The draft and the first critic bring what they send; of the two loops, only the first refinement brings the task.
    expect(cached.map((tokens) => tokens >= 2_000)).toEqual([false, false, true, false, true, true, true])
    expect(prompts).toHaveLength(7)
  })

  test('steps with one conversation read its history', async () => {
    const { run } = await start(createCachingAnthropic, () => 'Answer')
    const steps = ['facts', 'style'].map((id) => ({ ...CLAUDE, id, action: 'generate' as const, prompt: `Sum up the ${id}.` }))
    const contextPolicy = { shareConversationHistory: true }
    const history = [
      { role: 'user', content: task },
      { role: 'assistant', content: 'Noted.' },
    ] as const
    const { cached } = await run({ name: 'talk', type: 'sequential', contextPolicy, steps }, 'Begin.', { history })
    expect(cached).toEqual([0, 2_000])
  })

  test('a fallback is sent without marks, because the others are not expected there', async () => {
    const { run } = await start(createCachingAnthropic, (_, model) => (model === CLAUDE.model ? undefined : 'Answer'))
    const fallbacks = [{ ...CLAUDE, model: 'claude-sonnet-4-6' }]
    const steps = ['a', 'b'].map((id) => ({ ...CLAUDE, id, action: 'generate' as const, prompt: 'original', fallbacks }))
    const { prompts } = await run({ name: 'pair', type: 'parallel', steps }, task)
    const marked = prompts.map(({ body }) => [body.model, JSON.stringify(body).includes('cache_control')])
    expect(marked.filter(([, isMarked]) => isMarked)).toEqual([
      [CLAUDE.model, true],
      [CLAUDE.model, true],
    ])
    expect(marked).toHaveLength(4)
  })

  test('samples of one step', async () => {
    const { run } = await start(createCachingAnthropic, () => 'Vote')
    const vote = { ...CLAUDE, id: 'vote', action: 'generate' as const, prompt: 'original', samples: 3 }
    const { prompts } = await run({ name: 'votes', type: 'sequential', steps: [vote] }, task)
    expect(prompts.map(({ body }) => JSON.stringify(body).includes('cache_control'))).toEqual([true, true, true])
  })
})

test('requests of one thread have one key at OpenAI, which names nobody and which no other user has', async () => {
  const { run } = await start(createCachingOpenAi, sized)
  const task = recordedTasks[5] ?? ''
  const keysOf = ({ prompts }: Outcome) => prompts.map(({ body }) => body.prompt_cache_key)
  const ada = keysOf(await run(threeCritics(GPT), task, { user: 'ada' }))
  const bob = keysOf(await run(threeCritics(GPT), task, { user: 'bob' }))
  // The draft begins like no other request of the flow.
  expect(ada[0]).toBeUndefined()
  expect(new Set(ada.slice(1)).size).toBe(1)
  expect(ada[1]).toMatch(/^[0-9a-f]{32}$/)
  expect(bob[1]).toMatch(/^[0-9a-f]{32}$/)
  expect(bob[1]).not.toBe(ada[1])
})

test.each([
  ['Anthropic', createCachingAnthropic, CLAUDE],
  ['OpenAI', createCachingOpenAi, GPT],
] as const)('a prompt that is too short to be cached is sent to %s as without caching', async (_, createVendor, model) => {
  const { run } = await start(
    (reply) => createVendor(reply),
    () => 'Short.',
  )
  const bodies = async (cache: 'auto' | 'off') =>
    (await run(threeCritics(model), 'Why?', { cache })).prompts.map(({ body }) => body)
  expect(await bodies('auto')).toEqual(await bodies('off'))
})

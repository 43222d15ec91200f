import { describe, expect, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import type { FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import type { ModelRequest } from '../../src/domain/execution/model-call.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { createScriptedProvider, type ScriptedReplies } from '../../src/providers/scripted.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'
import { rejection } from '../support/caught.ts'
import { type Moment, openMortalProcess } from '../support/mortal-process.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

const USER = 'ada'
const down = () => new OrchestratorError('PROVIDER_UNAVAILABLE', 'down')
const usage = { inputTokens: 10, outputTokens: 10, totalTokens: 20, source: 'reported' } as const

/** Providers `a` and `b` with the pool `writers` over both, which asks `a` first. */
async function open(
  replies: { readonly a: ScriptedReplies; readonly b: ScriptedReplies },
  config: PolyphonyConfigInput = {},
): Promise<{
  polyphony: Polyphony
  asked: () => readonly (readonly [string, number])[]
  provider: (id: 'a' | 'b') => ReturnType<typeof createScriptedProvider>
}> {
  const a = createScriptedProvider({ id: 'a', replies: replies.a })
  const b = createScriptedProvider({ id: 'b', replies: replies.b })
  const polyphony = await openTestPolyphony({
    providers: { a, b },
    pools: { writers: { members: [{ model: 'a/x' }, { model: 'b/y' }], strategy: 'round_robin' } },
    prices: { 'a/x': { inputPerMillion: 1, outputPerMillion: 1 }, 'b/y': { inputPerMillion: 5, outputPerMillion: 5 } },
    retry: { baseDelayMs: 0 },
    ...config,
  })
  return {
    polyphony,
    asked: () => [
      ['a', a.requests.length],
      ['b', b.requests.length],
    ],
    provider: (id) => (id === 'a' ? a : b),
  }
}

const step = (id: string, more: Partial<FlowStepInput> = {}): FlowStepInput => ({
  id,
  model: 'pool/writers',
  action: 'generate',
  prompt: `Write ${id}`,
  ...more,
})

/** An answer of a member that calls the tool `look`, with blocks of its vendor. */
const looking = (id: 'a' | 'b') => ({
  text: '',
  finishReason: 'tool_calls' as const,
  toolCalls: [{ id: 'c', name: 'look', arguments: '{}' }],
  vendorTurn: { provider: id, model: id === 'a' ? 'x' : 'y', blocks: [`of ${id}`] },
})

const define = (...steps: readonly FlowStepInput[]) => ({ name: 'pools', type: 'sequential', steps: [...steps] }) as const

async function run({ orchestrator, conversations }: Polyphony, ...steps: readonly FlowStepInput[]) {
  const { id: threadId } = await conversations.createThread(USER, {})
  const { id } = await orchestrator.createFlow(threadId, USER, define(...steps))
  return orchestrator.executeFlow(id, USER, { input: 'go' })
}

const allow = ({ dataSharing }: Polyphony, ...providers: readonly string[]) =>
  Promise.all(providers.map((provider) => dataSharing.set(USER, provider, { allowCrossProviderContext: true })))

describe('a step whose model is a pool', () => {
  test('has the member that answered as its provider, and every attempt with its own price in the ledger', async () => {
    const { polyphony } = await open({ a: [down()], b: [{ text: 'by b', usage }] })
    const { steps } = await run(polyphony, step('draft'))
    expect(steps[0]).toMatchObject({
      provider: 'b',
      model: 'y',
      requestedModel: 'y',
      output: 'by b',
      retryCount: 1,
      cost: 100e-6,
    })
    expect(steps[0]?.attempts.map(({ number, provider, model, error }) => [number, provider, model, error?.code])).toEqual([
      [1, 'a', 'x', 'PROVIDER_UNAVAILABLE'],
      [2, 'b', 'y', undefined],
    ])
    expect(steps[0]?.notes).toContain('a/x failed with PROVIDER_UNAVAILABLE; another was asked')
    await polyphony.close()
  })

  test('may be a fallback, and the model of an agent', async () => {
    const agents = { writer: { model: 'pool/writers' } }
    const { polyphony } = await open({ a: [new OrchestratorError('PROVIDER_AUTH', 'no'), 'one'], b: ['two'] }, { agents })
    const { steps } = await run(polyphony, step('first', { model: 'a/x', fallbacks: [{ model: 'pool/writers' }] }))
    expect(steps[0]).toMatchObject({ provider: 'a', output: 'one' })
    const { steps: ofAgent } = await run(polyphony, { id: 'second', agent: 'writer', action: 'generate', prompt: 'Write' })
    expect(ofAgent[0]).toMatchObject({ provider: 'b', output: 'two' })
    await polyphony.close()
  })

  test('shows each member only what the user lets it see, and passes over one that needs more', async () => {
    const { polyphony, provider } = await open({ a: () => 'by a', b: () => 'by b' })
    // The first step is answered by a; its output may not go to b, so that a answers the second one too.
    const { steps } = await run(polyphony, step('one'), step('two', { prompt: 'Improve {{ steps.one.output }}' }))
    expect(steps.map((result) => result.provider)).toEqual(['a', 'a'])
    expect(provider('b').requests).toEqual([])
    expect(steps[1]?.notes).toContain('b/y was passed over: DATA_SHARING_DENIED')
    expect(steps[1]?.sharing).toMatchObject([{ from: 'a', to: 'a', allowed: true, rule: 'own_output' }])
    await polyphony.close()
  })

  test('fails with DATA_SHARING_DENIED if no member may see what it needs, before the run and in it', async () => {
    const third = createScriptedProvider({ id: 'c', replies: () => 'by c' })
    const { polyphony } = await open({ a: () => 'by a', b: () => 'by b' })
    await polyphony.close()
    const all = await openTestPolyphony({
      providers: {
        a: createScriptedProvider({ id: 'a', replies: [] }),
        b: createScriptedProvider({ id: 'b', replies: [] }),
        c: third,
      },
      pools: { writers: { members: [{ model: 'a/x' }, { model: 'b/y' }] } },
    })
    const steps = [step('one', { model: 'c/z' }), step('two', { prompt: 'Improve {{ steps.one.output }}' })]
    const check = await all.orchestrator.checkFlow(define(...steps), USER)
    expect(check.problems.map(({ code, details }) => [code, details.from, details.to])).toEqual([
      ['DATA_SHARING_DENIED', 'c', 'a'],
      ['DATA_SHARING_DENIED', 'c', 'b'],
    ])
    expect(await rejection(run(all, ...steps))).toMatchObject({ code: 'DATA_SHARING_DENIED' })
    await allow(all, 'b')
    const allowed = await all.orchestrator.checkFlow(define(...steps), USER)
    expect(allowed.problems).toEqual([])
    expect(allowed.warnings.map(({ code, details }) => [code, details.to])).toEqual([['DATA_SHARING_DENIED', 'a']])
    await all.close()
  })

  test('asks the member that answered to repair its answer, with what that one may see', async () => {
    const outputSchema = { type: 'object', properties: { n: { type: 'number' } }, required: ['n'] } as const
    const { polyphony, provider } = await open({ a: ['written by a', down(), 'no json', '{"n": 1}'], b: [down(), down()] })
    const second: FlowStepInput = { id: 'two', model: 'pool/writers', action: 'refine', outputSchema, maxRetries: 1 }
    const { steps } = await run(polyphony, step('one', { model: 'a/x' }), second)
    // In the first round both fail, so that the request to b, which may not see the output of a, is prepared last.
    expect(steps[1]).toMatchObject({ provider: 'a', parsed: { n: 1 } })
    expect(steps[1]?.attempts.map((attempt) => attempt.provider)).toEqual(['a', 'b', 'b', 'a', 'a'])
    const textOf = (request: { readonly messages: readonly unknown[] } | undefined) => JSON.stringify(request?.messages)
    expect(textOf(provider('b').requests[0])).not.toContain('written by a')
    expect(textOf(provider('a').requests.at(-1))).toContain('written by a')
    expect(provider('a').requests.at(-1)?.messages).toHaveLength(3)
    expect(JSON.stringify(steps[1]?.origins)).toContain('"a"')
    await polyphony.close()
  })

  test('with tools asks the member that wrote a turn for the next one, through the pool', async () => {
    const functions = { look: { run: () => 'seen' } }
    const pools = {
      writers: { members: [{ model: 'a/x' }, { model: 'b/y' }], strategy: 'round_robin' as const, ejection: { failures: 1 } },
    }
    const { polyphony, provider, asked } = await open(
      { a: [looking('a'), looking('a'), down()], b: [looking('b'), 'done', 'two'] },
      { functions, pools },
    )
    await allow(polyphony, 'b')
    const { steps } = await run(polyphony, step('one', { tools: ['function/look'], maxRetries: 0 }))
    expect(steps[0]?.attempts.map((attempt) => attempt.provider).filter((by) => by !== 'function')).toEqual([
      'a',
      'a',
      'a',
      'b',
      'b',
    ])
    const turnsOf = (request: ModelRequest | undefined) => request?.messages.filter(({ role }) => role === 'assistant')
    expect(turnsOf(provider('a').requests[1])).toMatchObject([{ vendorTurn: { blocks: ['of a'] } }])
    // The other member gets text and calls without the blocks of the first, and its own with them.
    const [first, second, third] = turnsOf(provider('b').requests[1]) ?? []
    for (const turn of [first, second]) expect(turn).not.toHaveProperty('vendorTurn')
    expect(third).toMatchObject({ vendorTurn: { blocks: ['of b'] } })
    // The failure counted: the member is ejected, and the next step of the flow asks the other one.
    await run(polyphony, step('two'))
    expect(asked()[0]).toEqual(['a', 3])
    await polyphony.close()
  })

  test('reports what every member did if none answers', async () => {
    const { polyphony } = await open({ a: () => down(), b: () => new OrchestratorError('PROVIDER_AUTH', 'no') })
    const error = await rejection(run(polyphony, step('draft', { maxRetries: 0 })))
    expect(error).toMatchObject({
      code: 'PROVIDER_UNAVAILABLE',
      details: {
        stepId: 'draft',
        pool: 'writers',
        members: [
          { member: 'a/x', state: 'failed', code: 'PROVIDER_UNAVAILABLE' },
          { member: 'b/y', state: 'failed', code: 'PROVIDER_AUTH' },
        ],
      },
    })
    await polyphony.close()
  })

  test('does not ask a member that an operator has switched off', async () => {
    const { polyphony, asked } = await open({ a: () => 'a', b: () => 'b' })
    polyphony.providers.setActive('a', false)
    for (let flow = 0; flow < 3; flow++) await run(polyphony, step('draft'))
    expect(asked()).toEqual([
      ['a', 0],
      ['b', 3],
    ])
    polyphony.providers.setActive('b', false)
    expect(await rejection(run(polyphony, step('draft')))).toMatchObject({ code: 'PROVIDER_INACTIVE' })
    await polyphony.close()
  })
})

describe('checkFlow', () => {
  test('finds a pool that does not exist before anything is paid, with a suggestion', async () => {
    const { polyphony } = await open({ a: [], b: [] })
    const wrong = step('draft', { model: 'pool/writer' })
    const { problems } = await polyphony.orchestrator.checkFlow(define(wrong), USER)
    expect(problems).toMatchObject([
      { code: 'PROVIDER_NOT_CONFIGURED', path: 'steps[0].provider', details: { pool: 'writer', suggestion: 'writers' } },
    ])
    expect(await rejection(run(polyphony, wrong))).toMatchObject({
      code: 'PROVIDER_NOT_CONFIGURED',
      message: expect.stringContaining('did you mean "writers"'),
    })
    await polyphony.close()
  })

  test('gives the cost from the cheapest to the dearest member', async () => {
    const { polyphony } = await open({ a: [], b: [] })
    const { orchestrator } = polyphony
    const costOf = async (model: string) => (await orchestrator.checkFlow(define(step('draft', { model })), USER)).cost
    const [ofPool, ofA, ofB] = [await costOf('pool/writers'), await costOf('a/x'), await costOf('b/y')]
    expect(ofPool.lowUsd).toBe(ofA.lowUsd)
    expect(ofPool.highUsd).toBe(ofB.highUsd)
    expect(ofB.highUsd).toBeGreaterThan(ofA.highUsd)
    await polyphony.close()
  })
})

test('a flow whose pool has a simulated member is marked as simulated', async () => {
  const polyphony = await openTestPolyphony({
    providers: { s: createScriptedProvider({ id: 's', simulated: true, replies: () => 'simulated' }) },
    pools: { writers: { members: [{ model: 's/m' }] } },
  })
  const result = await run(polyphony, step('draft'))
  expect(result.steps[0]).toMatchObject({ provider: 's', simulated: true })
  await polyphony.close()
})

test('a process that dies during a call of a pool leaves the real member in the ledger, whatever the moment', async () => {
  const moments: readonly Moment[] = ['write', 'written', 'request', 'answer']
  const config: PolyphonyConfigInput = {
    prices: { 'scripted/m': { inputPerMillion: 1, outputPerMillion: 1 } },
    pools: { writers: { members: [{ model: 'scripted/m' }] } },
  }
  for (const moment of moments) {
    for (let nth = 1; nth <= 3; nth++) {
      const store = createMemoryStore()
      const setup = await openMortalProcess({ store, reply: () => 'fine', config, diesAt: () => false })
      const { id: threadId } = await setup.conversations.createThread(USER, {})
      const { id } = await setup.orchestrator.createFlow(threadId, USER, define(step('one'), step('two')))
      let seen = 0
      const diesAt = (at: Moment) => at === moment && ++seen === nth
      const dying = await openMortalProcess({ store, reply: () => 'fine', config, diesAt })
      const ended = dying.orchestrator.executeFlow(id, USER, { input: 'x' }).catch((error: unknown) => error)
      const end = await Promise.race([ended, dying.death])
      if (end === 'died') await store.owners.interruptOrphanedFlows({ staleMs: 0, isDead: () => true })
      const next = await openMortalProcess({ store, reply: () => 'fine', config, diesAt: () => false })
      const status = (await next.orchestrator.getFlowStatus(id)).status
      if (status !== 'COMPLETED') await next.orchestrator.executeFlow(id, USER, { input: 'x' })
      const results = await store.flows.stepResults(id, { samples: true })
      expect(results.map(({ stepId, status }) => [stepId, status])).toEqual([
        ['one', 'SUCCESS'],
        ['two', 'SUCCESS'],
      ])
      const attempts = results.flatMap((result) => result.attempts)
      expect(new Set(attempts.map(({ provider, model }) => `${provider}/${model}`))).toEqual(new Set(['scripted/m']))
      const sent = dying.sent.length + next.sent.length
      // Every request is in the ledger; the one that was lost is marked.
      expect(attempts.length, `${moment} ${nth}`).toBeGreaterThanOrEqual(sent)
      expect(attempts.filter(({ possiblyDoubleBilled }) => possiblyDoubleBilled).length).toBe(attempts.length - 2)
    }
  }
})

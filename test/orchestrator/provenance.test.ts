import { afterEach, describe, expect, test } from 'vitest'
import type { StepResult } from '../../src/domain/execution/step-result.ts'
import { originsOf, outputItem } from '../../src/orchestrator/provenance/result-origins.ts'
import { NO_PRIOR_STATE } from '../../src/orchestrator/runs/prior-state.ts'
import { createParser } from '../../src/polyphony.ts'
import { createScriptedProvider, type ScriptedProvider } from '../../src/providers/scripted.ts'
import { chain, step } from '../support/flows.ts'
import { type ScriptedFlow, scripted, USER } from '../support/scripted-flow.ts'
import { attempt, stepResult } from '../support/stored-data.ts'

let flow: ScriptedFlow
let other: ScriptedProvider
afterEach(() => flow.polyphony.close())

/** Providers `scripted`, which may see everything, and `other`, which may see the texts of other providers. */
async function open() {
  other = createScriptedProvider({ id: 'other', replies: () => 'answer of other' })
  const local = { ...createScriptedProvider({ id: 'local', replies: () => 'answer of local' }), inProcess: true }
  flow = await scripted(() => 'answer', { other, local })
  const { dataSharing, conversations } = flow.polyphony
  const all = { allowConversationHistory: true, allowCrossProviderContext: true, allowAttachments: true }
  await dataSharing.set(USER, 'scripted', all)
  await dataSharing.set(USER, 'other', { allowCrossProviderContext: true })
  await conversations.addMessage(flow.threadId, USER, { role: 'user', content: 'said earlier' })
  return flow
}

const SHARES_HISTORY = { shareConversationHistory: true } as const
const review = step('review', { model: 'other/m', prompt: 'Review {{ steps.draft.output }}' })

describe('an output that was made from the conversation', () => {
  test('does not reach a provider that may not see the conversation, and the error says why', async () => {
    await open()
    const definition = { ...chain(step('draft'), review), contextPolicy: SHARES_HISTORY }
    await expect(flow.run(definition)).rejects.toMatchObject({
      code: 'DATA_SHARING_DENIED',
      message: expect.stringContaining(
        '"draft" was made from conversation history, which other may not see (allowConversationHistory)',
      ),
      details: {
        stepId: 'review',
        piece: 'draft',
        from: 'scripted',
        to: 'other',
        rule: 'allowConversationHistory',
        origin: { kind: 'conversation_history' },
      },
    })
    expect(other.requests).toEqual([])
  })

  test('reaches it under direct provenance, and every decision says so', async () => {
    await open()
    const contextPolicy = { ...SHARES_HISTORY, provenance: 'direct' } as const
    const { steps } = await flow.run({ ...chain(step('draft'), review), contextPolicy })
    expect(steps.flatMap(({ sharing }) => sharing.map(({ provenance }) => provenance))).toEqual(['direct', 'direct', 'direct'])
    expect(steps[1]?.origins).toEqual([
      { kind: 'original_prompt' },
      { kind: 'step_output', from: 'scripted' },
      { kind: 'conversation_history' },
    ])
  })

  test('does not reach it through a saved answer in a later flow', async () => {
    await open()
    await flow.polyphony.dataSharing.set(USER, 'other', { allowConversationHistory: true, allowCrossProviderContext: true })
    const notes = [{ name: 'notes.txt', mediaType: 'text/plain', text: 'SECRET' }]
    await flow.polyphony.conversations.addMessage(flow.threadId, USER, { role: 'user', content: 'look', attachments: notes })
    await flow.run(chain(step('draft')), { input: undefined, saveMessages: true })
    await flow.run({ ...chain(step('late', { model: 'other/m' })), contextPolicy: SHARES_HISTORY })
    const sent = JSON.stringify(other.requests[0]?.messages)
    expect(sent).toContain('said earlier')
    expect(sent).not.toContain('answer')
  })

  test('reaches a provider in this process, and does not go on from there', async () => {
    await open()
    const inside = step('inside', { model: 'local/m', prompt: 'Read {{ steps.draft.output }}' })
    const late = step('late', { model: 'other/m', prompt: 'Read {{ steps.inside.output }}' })
    const definition = { ...chain(step('draft'), inside, late), contextPolicy: SHARES_HISTORY }
    await expect(flow.run(definition)).rejects.toMatchObject({
      details: { piece: 'inside', origin: { kind: 'conversation_history' } },
    })
    const complete = flow.updates.find((update) => update.type === 'step_complete' && update.stepId === 'inside')
    expect(complete?.data).toMatchObject({ sharing: [{ rule: 'in_process' }, { piece: 'draft', rule: 'in_process' }] })
  })
})

describe('metadata', () => {
  const reader = chain(step('a', { model: 'other/m', prompt: 'Note {{ metadata.note }}' }))

  test('that a template reads is required, and allowed as the conversation is', async () => {
    await open()
    const metadata = { note: 'PRIVATE' }
    await expect(flow.run(reader, { metadata })).rejects.toMatchObject({
      details: { piece: 'metadata', kind: 'metadata', to: 'other', rule: 'allowConversationHistory' },
    })
    expect(other.requests).toEqual([])
    await flow.polyphony.dataSharing.set(USER, 'other', { allowConversationHistory: true })
    expect((await flow.run(reader, { metadata })).steps[0]).toMatchObject({
      origins: [{ kind: 'original_prompt' }, { kind: 'metadata' }],
      sharing: [{ kind: 'metadata', allowed: true, rule: 'allowConversationHistory' }],
    })
  })

  test('needs nothing where no prompt reads it', async () => {
    await open()
    const { steps } = await flow.run(chain(step('a', { model: 'other/m' })), { metadata: { note: 'PRIVATE' } })
    expect(steps[0]).toMatchObject({ status: 'SUCCESS', sharing: [] })
  })

  test('does not hold the fields of a request, and its instructions count as the prompt', async () => {
    await open()
    const metadata = { openai_response: { instructions: 'Be brief.' } }
    const { steps } = await flow.run(
      chain(step('a', { model: 'other/m', prompt: 'As {{ metadata.role | default: "guide" }}' })),
      {
        metadata,
      },
    )
    expect(other.requests[0]?.system).toContain('Be brief.')
    expect(steps[0]?.origins).toEqual([{ kind: 'original_prompt' }])
  })
})

describe('the check before a run', () => {
  const check = async (definition: Parameters<ScriptedFlow['run']>[0]) => flow.polyphony.orchestrator.checkFlow(definition, USER)

  test('a denial that every run meets is a problem that names all missing rules', async () => {
    await open()
    const { problems } = await check(chain(step('draft', { prompt: 'Note {{ metadata.note }}' }), review))
    expect(problems).toMatchObject([
      {
        path: 'steps[1]',
        message: expect.stringContaining('"draft" was made from metadata, which other may not see (allowConversationHistory)'),
        details: { piece: 'draft', origin: { kind: 'metadata' }, allow: ['allowConversationHistory'] },
      },
    ])
    await flow.polyphony.dataSharing.remove(USER, 'other')
    const further = await check(chain(step('draft', { prompt: 'Note {{ metadata.note }}' }), review))
    expect(further.problems[0]?.details.allow).toEqual(['allowCrossProviderContext', 'allowConversationHistory'])
  })

  test('a denial that depends on the conversation is a warning', async () => {
    await open()
    const found = await check({ ...chain(step('draft'), review), contextPolicy: SHARES_HISTORY })
    expect(found.problems).toEqual([])
    expect(found.warnings.map(({ message }) => message)).toContainEqual(
      expect.stringContaining(
        'step "review" may fail: it needs the output of "draft" (scripted), but "draft" may be made from conversation history',
      ),
    )
  })

  test('a text that passes a provider in this process is followed', async () => {
    await open()
    await flow.polyphony.dataSharing.remove(USER, 'other')
    const inside = step('inside', { model: 'local/m', prompt: 'Read {{ steps.draft.output }}' })
    const late = step('late', { model: 'other/m', prompt: 'Read {{ steps.inside.output }}' })
    const { problems } = await check(chain(step('draft'), inside, late))
    expect(problems).toMatchObject([
      { details: { piece: 'inside', to: 'other', origin: { kind: 'step_output', from: 'scripted' } } },
    ])
  })
})

test('results without origins count as made from what their decisions allowed, through all hops', async () => {
  await open()
  const definition = createParser().parse(chain(step('a'), step('b'), step('c', { prompt: '{{ metadata.note }}' })))
  const old = (stepId: string, sharing: StepResult['sharing']): StepResult => ({
    ...stepResult('flow', stepId),
    path: stepId,
    origins: undefined,
    sharing,
  })
  const a = old('a', [
    { kind: 'conversation_history', piece: 'm1', from: 'other', to: 'scripted', allowed: true, rule: 'allowConversationHistory' },
    { kind: 'attachment', piece: 'x.txt', to: 'scripted', allowed: false, rule: 'allowAttachments' },
  ])
  const b = old('b', [{ kind: 'step_output', piece: 'a', from: a.provider, to: 'scripted', allowed: true, rule: 'own_output' }])
  const c = old('c', [])
  const run = {
    definition,
    options: { streaming: false, saveMessages: false, metadata: { note: 'x' } },
    prior: { ...NO_PRIOR_STATE, results: [a, b, c] },
  }
  expect(originsOf(run, b)).toEqual([
    { kind: 'step_output', from: a.provider },
    { kind: 'conversation_history', from: 'other' },
  ])
  expect(originsOf(run, c)).toEqual([{ kind: 'metadata' }])
})

test('samples are text of their provider alone, which has seen what they were made from, unless another one wrote some', async () => {
  await open()
  const origins = [{ kind: 'step_output', from: 'beta' } as const]
  const by = (...providers: readonly string[]) => {
    const attempts = providers.map((provider, index) => attempt(index + 1, { provider }))
    return stepResult('flow', 'a', { provider: 'alpha', attempts, samples: ['one', 'two'], origins })
  }
  const run = {
    definition: createParser().parse(chain(step('a'))),
    options: { streaming: false, saveMessages: false, metadata: {} },
    prior: NO_PRIOR_STATE,
  }
  expect(outputItem(run, by('alpha', 'alpha'), 'alpha')).toEqual({ from: 'alpha' })
  expect(outputItem(run, by('alpha', 'beta'), 'alpha')).toEqual({ from: 'beta', madeFrom: origins })
  expect(outputItem(run, by('alpha', 'alpha'), 'beta')).toEqual({ from: 'alpha', madeFrom: origins })
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ContextPolicy } from '../../src/domain/definition/flow-definition.ts'
import { CONTEXT_KINDS, type DataSharingPolicy, type Origin } from '../../src/domain/users/sharing.ts'
import type { ContextItem, SharedContextRequest } from '../../src/policies/policy.ts'
import { createSharingRules } from '../../src/policies/shared-context.ts'

const { decideSharing, shareContext } = createSharingRules({ isInProcess: (id) => id === 'function' })

const policyOf = (rules: Partial<DataSharingPolicy> = {}): DataSharingPolicy => ({
  userId: 'ann',
  providerKey: 'anthropic',
  allowConversationHistory: false,
  allowCrossProviderContext: false,
  allowAttachments: false,
  ...rules,
})
const EVERYTHING = policyOf({ allowConversationHistory: true, allowCrossProviderContext: true, allowAttachments: true })
const OPEN: ContextPolicy = {
  shareConversationHistory: true,
  shareStepOutputs: true,
  maxSharedTokens: 10_000,
  includeOriginalPrompt: true,
  preserveSystemPrompts: false,
}
/** A tokenizer for tests: four characters are one token. */
const countTokens = (text: string) => Math.ceil(text.length / 4)

const output = (name: string, text: string, overrides: Partial<ContextItem> = {}): ContextItem => ({
  kind: 'step_output',
  name,
  from: 'openai',
  text,
  required: false,
  ...overrides,
})
const history = (name: string, text: string, overrides: Partial<ContextItem> = {}): ContextItem => ({
  kind: 'conversation_history',
  name,
  text,
  required: false,
  ...overrides,
})
const request = (overrides: Partial<SharedContextRequest>): SharedContextRequest => ({
  userId: 'ann',
  stepId: 'critique',
  to: 'anthropic',
  policy: EVERYTHING,
  contextPolicy: OPEN,
  items: [],
  countTokens,
  ...overrides,
})
const limited = (maxSharedTokens: number, items: readonly ContextItem[], overrides: Partial<SharedContextRequest> = {}) =>
  shareContext(request({ contextPolicy: { ...OPEN, maxSharedTokens }, items, ...overrides }))
const tokensOf = (items: readonly ContextItem[]) => items.reduce((sum, { text }) => sum + countTokens(text), 0)

describe('one item', () => {
  const openai = { from: 'openai' }
  const anthropic = { from: 'anthropic' }
  test.each([
    ['original_prompt', {}, undefined, true, 'original_prompt'],
    ['original_prompt', {}, policyOf(), true, 'original_prompt'],
    ['step_output', anthropic, undefined, true, 'own_output'],
    ['step_output', anthropic, policyOf(), true, 'own_output'],
    ['step_output', openai, undefined, false, 'no_policy'],
    ['step_output', {}, undefined, false, 'no_policy'],
    ['step_output', openai, policyOf(), false, 'allowCrossProviderContext'],
    ['step_output', {}, policyOf(), false, 'allowCrossProviderContext'],
    ['step_output', openai, policyOf({ allowCrossProviderContext: true }), true, 'allowCrossProviderContext'],
    [
      'step_output',
      openai,
      policyOf({ allowConversationHistory: true, allowAttachments: true }),
      false,
      'allowCrossProviderContext',
    ],
    ['conversation_history', {}, undefined, false, 'no_policy'],
    ['conversation_history', {}, policyOf({ allowCrossProviderContext: true }), false, 'allowConversationHistory'],
    ['conversation_history', {}, policyOf({ allowConversationHistory: true }), true, 'allowConversationHistory'],
    ['conversation_history', anthropic, policyOf(), false, 'allowConversationHistory'],
    ['conversation_history', anthropic, policyOf({ allowConversationHistory: true }), true, 'allowConversationHistory'],
    ['conversation_history', openai, policyOf({ allowConversationHistory: true }), false, 'allowCrossProviderContext'],
    ['conversation_history', openai, EVERYTHING, true, 'allowConversationHistory'],
    ['attachment', {}, undefined, false, 'no_policy'],
    ['attachment', {}, policyOf({ allowConversationHistory: true, allowCrossProviderContext: true }), false, 'allowAttachments'],
    ['attachment', {}, policyOf({ allowAttachments: true }), true, 'allowAttachments'],
    ['step_output', openai, { ...EVERYTHING, providerKey: 'google' }, false, 'no_policy'],
    ['metadata', {}, undefined, false, 'no_policy'],
    ['metadata', {}, policyOf({ allowCrossProviderContext: true, allowAttachments: true }), false, 'allowConversationHistory'],
    ['metadata', {}, policyOf({ allowConversationHistory: true }), true, 'allowConversationHistory'],
    ['tool_result', openai, policyOf(), false, 'allowCrossProviderContext'],
    ['tool_result', openai, policyOf({ allowCrossProviderContext: true }), true, 'allowCrossProviderContext'],
    ['tool_result', anthropic, undefined, true, 'own_output'],
    ['tool_result', { from: 'function' }, undefined, true, 'in_process'],
    ['step_output', { from: 'function' }, undefined, true, 'in_process'],
    [
      'conversation_history',
      { from: 'function' },
      policyOf({ allowConversationHistory: true }),
      true,
      'allowConversationHistory',
    ],
  ] as const)('%s of %j under %j is allowed: %s by %s', (kind, from, policy, allowed, rule) => {
    expect(decideSharing({ kind, name: 'p', ...from }, 'anthropic', policy)).toEqual({
      kind,
      piece: 'p',
      ...from,
      to: 'anthropic',
      allowed,
      rule,
    })
  })
})

describe('what an item was made from', () => {
  const CROSS = policyOf({ allowCrossProviderContext: true })
  const draft = (madeFrom: readonly Origin[]) => ({ kind: 'step_output' as const, name: 'draft', from: 'openai', madeFrom })

  test('an output is denied by the first of its origins that the provider may not see, and the decision names it', () => {
    const madeFrom = [{ kind: 'original_prompt' }, { kind: 'conversation_history' }, { kind: 'attachment' }] as const
    expect(decideSharing(draft(madeFrom), 'anthropic', CROSS)).toEqual({
      kind: 'step_output',
      piece: 'draft',
      from: 'openai',
      to: 'anthropic',
      allowed: false,
      rule: 'allowConversationHistory',
      origin: { kind: 'conversation_history' },
    })
    const further = policyOf({ allowCrossProviderContext: true, allowConversationHistory: true })
    expect(decideSharing(draft(madeFrom), 'anthropic', further)).toMatchObject({
      allowed: false,
      rule: 'allowAttachments',
      origin: { kind: 'attachment' },
    })
    expect(decideSharing(draft(madeFrom), 'anthropic', EVERYTHING)).toMatchObject({
      allowed: true,
      rule: 'allowCrossProviderContext',
    })
  })

  test.each([
    [[{ kind: 'step_output', from: 'anthropic' }], true],
    [[{ kind: 'step_output', from: 'google' }], true],
    [[{ kind: 'tool_result', from: 'function' }], true],
    [[{ kind: 'tool_result', from: 'github' }], true],
    [[{ kind: 'metadata' }], false],
    [[{ kind: 'attachment' }], false],
    [[{ kind: 'conversation_history', from: 'anthropic' }], false],
  ] as const)('an output made from %j is allowed by allowCrossProviderContext alone: %s', (madeFrom, allowed) => {
    expect(decideSharing(draft(madeFrom), 'anthropic', CROSS).allowed).toBe(allowed)
  })

  test('an output of a function passes the rule in_process, and its arguments are decided about', () => {
    const answer = { kind: 'step_output' as const, name: 'price', from: 'function' }
    const made = (from: string) => ({ ...answer, madeFrom: [{ kind: 'step_output' as const, from }] })
    expect(decideSharing(made('anthropic'), 'anthropic', undefined)).toMatchObject({ allowed: true, rule: 'in_process' })
    expect(decideSharing(made('openai'), 'anthropic', undefined)).toMatchObject({
      allowed: false,
      rule: 'no_policy',
      origin: { kind: 'step_output', from: 'openai' },
    })
  })

  test('a provider in this process may see everything, and the decision says why', () => {
    for (const kind of CONTEXT_KINDS) {
      const piece = { kind, name: 'p', from: 'openai', madeFrom: [{ kind: 'attachment' as const }] }
      expect(decideSharing(piece, 'function', undefined)).toMatchObject({ allowed: true, rule: 'in_process' })
    }
  })

  test('under direct provenance only the writer of an output counts, and every decision says so', () => {
    const piece = draft([{ kind: 'attachment' }])
    expect(decideSharing(piece, 'anthropic', CROSS, 'direct')).toMatchObject({ allowed: true, provenance: 'direct' })
    expect(decideSharing(piece, 'anthropic', undefined, 'direct')).toMatchObject({ allowed: false, provenance: 'direct' })
    expect(decideSharing(piece, 'anthropic', CROSS, 'joined')).not.toHaveProperty('provenance')
  })

  test('the error of a required output names the origin that denied it', async () => {
    const item = output('draft', 'SECRET', { required: true, madeFrom: [{ kind: 'conversation_history' }] })
    await expect(shareContext(request({ policy: CROSS, items: [item] }))).rejects.toMatchObject({
      code: 'DATA_SHARING_DENIED',
      message:
        'Step "critique" needs step_output "draft" of openai, but "draft" was made from conversation history, which anthropic may not see (allowConversationHistory).',
      details: { piece: 'draft', from: 'openai', rule: 'allowConversationHistory', origin: { kind: 'conversation_history' } },
    })
  })
})

describe('the items of a step', () => {
  test('all items are decided about, in order, and only allowed ones are visible', async () => {
    const items = [
      { kind: 'original_prompt', name: 'original', text: 'question', required: true } as const,
      history('m1', 'of the user'),
      output('draft', 'of openai'),
      output('own', 'of anthropic', { from: 'anthropic' }),
    ]
    const shared = await shareContext(request({ policy: policyOf({ allowConversationHistory: true }), items }))
    expect(shared.visible).toEqual([items[0], items[1], items[3]])
    expect(shared.decisions.map(({ piece, allowed, rule }) => [piece, allowed, rule])).toEqual([
      ['original', true, 'original_prompt'],
      ['m1', true, 'allowConversationHistory'],
      ['draft', false, 'allowCrossProviderContext'],
      ['own', true, 'own_output'],
    ])
    expect(shared.notes).toEqual([])
  })

  test('required items that are forbidden stop the step, and the error names them without their text', async () => {
    const denied = shareContext(request({ policy: undefined, items: [output('draft', 'SECRET', { required: true })] }))
    await expect(denied).rejects.toMatchObject({
      code: 'DATA_SHARING_DENIED',
      details: { stepId: 'critique', piece: 'draft', kind: 'step_output', from: 'openai', to: 'anthropic', rule: 'no_policy' },
    })
    const error: unknown = await denied.catch((caught) => caught)
    expect(JSON.stringify(error)).not.toContain('SECRET')
  })

  test('tokens are counted only after all items were allowed', async () => {
    let counts = 0
    const items = [output('own', 'x'.repeat(100_000), { from: 'anthropic' }), output('draft', 'y', { required: true })]
    const denied = shareContext(request({ policy: undefined, items, countTokens: () => ++counts }))
    await expect(denied).rejects.toMatchObject({ code: 'DATA_SHARING_DENIED' })
    expect(counts).toBe(0)
  })

  test('items that the flow itself hides are withheld, whatever the user allows', async () => {
    const items = [history('m1', 'h'), output('draft', 'o'), output('own', 'o', { from: 'anthropic' })]
    const contextPolicy = { ...OPEN, shareConversationHistory: false, shareStepOutputs: false }
    const shared = await shareContext(request({ items, contextPolicy }))
    expect(shared.visible).toEqual([])
    expect(shared.decisions.map(({ rule }) => rule)).toEqual(['shareConversationHistory', 'shareStepOutputs', 'shareStepOutputs'])
  })

  test('items are not shared under the policy of another user', async () => {
    const shared = await shareContext(request({ policy: { ...EVERYTHING, userId: 'bob' }, items: [output('draft', 'o')] }))
    expect(shared.decisions.map(({ allowed, rule }) => [allowed, rule])).toEqual([[false, 'no_policy']])
  })
})

describe('the token limit', () => {
  test('no tokens are counted while the bytes fit', async () => {
    let counts = 0
    const items = [history('m1', 'x'.repeat(50)), output('draft', 'y'.repeat(50))]
    const shared = await limited(100, items, { countTokens: () => ++counts })
    expect(shared.visible).toEqual(items)
    expect(counts).toBe(0)
  })

  test("the token limit does not apply to the user's prompt and attachments", async () => {
    const items = (['original_prompt', 'attachment'] as const).map((kind) => ({
      kind,
      name: kind,
      text: 'x'.repeat(999),
      required: false,
    }))
    expect((await limited(10, items)).visible).toEqual(items)
  })

  test('the oldest history is left out first, and outputs stay whole', async () => {
    const items = [1, 2, 3].map((index) => history(`m${index}`, `${index}`.repeat(400)))
    const draft = output('draft', 'd'.repeat(800))
    const shared = await limited(410, [...items, draft])
    expect(shared.visible).toEqual([items[1], items[2], draft])
    expect(shared.decisions.map(({ allowed, rule }) => [allowed, rule])).toEqual([
      [false, 'maxSharedTokens'],
      [true, 'allowConversationHistory'],
      [true, 'allowConversationHistory'],
      [true, 'allowCrossProviderContext'],
    ])
    expect(shared.notes).toHaveLength(1)
    expect(shared.notes[0]).toContain('1 oldest of conversation_history')
  })

  test('no message older than one that did not fit is kept', async () => {
    const items = [history('m1', 'a'), history('m2', 'b'.repeat(4_000)), history('m3', 'c')]
    expect((await limited(100, items)).visible).toEqual([items[2]])
  })

  test('after the history the oldest output is shortened at its start', async () => {
    const [oldest, newest] = [output('oldest', `BEGIN${'a'.repeat(790)}END12`), output('newest', 'b'.repeat(400))]
    const shared = await limited(150, [history('m1', 'h'), oldest, newest])
    const [shortened, whole, ...rest] = shared.visible
    expect([whole, rest]).toEqual([newest, []])
    expect(shortened?.text.endsWith('END12')).toBe(true)
    expect(shortened?.text).not.toContain('BEGIN')
    expect(tokensOf(shared.visible)).toBeLessThanOrEqual(150)
    expect(tokensOf(shared.visible)).toBeGreaterThan(130)
    expect(shared.decisions.map(({ allowed }) => allowed)).toEqual([false, true, true])
    expect(shared.notes.join()).toContain('"oldest" lost its beginning')
  })

  test('the oldest output is left out where nothing of it fits, unless it is required', async () => {
    const newest = output('newest', 'b'.repeat(4_000))
    const offered = await limited(100, [output('oldest', 'a'.repeat(400)), newest])
    expect(offered.visible.map(({ name }) => name)).toEqual(['newest'])
    const required = await limited(100, [output('oldest', 'a'.repeat(400), { required: true }), newest])
    expect(required.visible.map(({ name }) => name)).toEqual(['oldest', 'newest'])
    expect(required.visible[0]?.text.length).toBeGreaterThan(0)
    expect(tokensOf(required.visible)).toBeLessThanOrEqual(100)
  })

  test('a required item is never withheld, not even under a limit of 0', async () => {
    const shared = await limited(0, [
      history('m1', 'h', { required: true }),
      output('draft', 'o', { required: true }),
      output('x', 'y'),
    ])
    expect(shared.visible.map(({ name, text }) => [name, text])).toEqual([
      ['m1', ''],
      ['draft', ''],
    ])
    expect(shared.decisions.map(({ allowed }) => allowed)).toEqual([true, true, false])
  })

  test('a cut never splits a surrogate pair, and its note never quotes the text', async () => {
    const shared = await limited(7, [output('draft', '😀'.repeat(100))])
    const [piece] = shared.visible
    expect(piece?.text).toMatch(/^(😀)+$/u)
    expect(shared.notes.join()).not.toContain('😀')
  })

  test.each([
    ['an estimate', (text: string) => Math.ceil(text.length / 3.5)],
    ['one token per byte', (text: string) => Buffer.byteLength(text)],
    ['a count that grows faster than the text', (text: string) => Math.ceil(text.length ** 1.2 / 40)],
    ['a dense beginning', (text: string) => Math.ceil(Math.max(0, text.length - 50_000) + text.length / 10)],
    ['a dense end', (text: string) => Math.min(text.length, 40_000) + Math.ceil(Math.max(0, text.length - 40_000) / 20)],
    ['a promise', async (text: string) => Math.ceil(text.length / 4)],
  ])('cuts 100 kB with few counts: %s', async (_title, count) => {
    let counts = 0
    const shared = await limited(2_000, [output('draft', 'x'.repeat(100_000))], {
      countTokens: (text) => {
        counts++
        return count(text)
      },
    })
    const kept = await count(shared.visible[0]?.text ?? '')
    expect(kept).toBeLessThanOrEqual(2_000)
    expect(kept).toBeGreaterThan(150)
    expect(counts).toBeLessThanOrEqual(5)
  })

  test('a token counter that returns nonsense does not break the limit', async () => {
    const shared = await limited(100, [output('draft', 'x'.repeat(1_000))], { countTokens: () => Number.NaN })
    expect(shared.visible[0]?.text.length).toBeLessThanOrEqual(100)
  })
})

describe('500 generated combinations', () => {
  const providers = ['openai', 'anthropic', 'google', 'local'] as const
  const generatedPiece = fc.record({
    kind: fc.constantFrom(...CONTEXT_KINDS),
    from: fc.option(fc.constantFrom(...providers), { nil: undefined }),
    madeFrom: fc.array(
      fc.record({ kind: fc.constantFrom(...CONTEXT_KINDS), from: fc.option(fc.constantFrom(...providers), { nil: undefined }) }),
      { maxLength: 3 },
    ),
    required: fc.integer({ min: 0, max: 9 }).map((roll) => roll === 0),
    filler: fc.string({ unit: 'binary', maxLength: 60 }),
    repeat: fc.nat(20),
  })
  const generatedPolicy = fc.option(
    fc.record({
      userId: fc.constantFrom('ann', 'ann', 'ann', 'bob'),
      providerKey: fc.constantFrom('anthropic', 'anthropic', 'anthropic', 'google'),
      allowConversationHistory: fc.boolean(),
      allowCrossProviderContext: fc.boolean(),
      allowAttachments: fc.boolean(),
    }),
    { nil: undefined },
  )
  const contextPolicy = fc.record({
    shareConversationHistory: fc.boolean(),
    shareStepOutputs: fc.boolean(),
    maxSharedTokens: fc.oneof(fc.nat(300), fc.constant(10_000)),
    includeOriginalPrompt: fc.boolean(),
    preserveSystemPrompts: fc.boolean(),
    provenance: fc.constantFrom('joined', 'direct', undefined),
  })

  test('500 generated combinations never show a forbidden item, and decide about each item once', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(generatedPiece, { maxLength: 12 }),
        generatedPolicy,
        contextPolicy,
        async (drafts, policy, flowPolicy) => {
          const items: ContextItem[] = drafts.map(({ kind, from, madeFrom, required, filler, repeat }, index) => {
            const canary = `<canary-${index}>`
            return {
              kind,
              name: `p${index}`,
              ...(from ? { from } : {}),
              madeFrom,
              required,
              text: `${canary}${filler.repeat(repeat)}${canary}`,
            }
          })
          const granted = policy?.userId === 'ann' && policy.providerKey === 'anthropic' ? policy : undefined
          const mayPass = (item: ContextItem): boolean => {
            const hops = flowPolicy.provenance === 'direct' ? [] : (item.madeFrom ?? [])
            const isHidden =
              (item.kind === 'step_output' && !flowPolicy.shareStepOutputs) ||
              (item.kind === 'conversation_history' && !flowPolicy.shareConversationHistory)
            return !isHidden && [item, ...hops].every(maySee)
          }
          const maySee = ({ kind, from }: Origin): boolean => {
            const isOwn = from === 'anthropic'
            const isOfAnotherModel = from !== undefined && !isOwn
            const crossing = !isOfAnotherModel || granted?.allowCrossProviderContext === true
            return {
              original_prompt: true,
              step_output: isOwn || granted?.allowCrossProviderContext === true,
              tool_result: isOwn || granted?.allowCrossProviderContext === true,
              conversation_history: granted?.allowConversationHistory === true && crossing,
              metadata: granted?.allowConversationHistory === true && crossing,
              attachment: granted?.allowAttachments === true && crossing,
            }[kind]
          }
          const forbidden = items.filter((piece) => !mayPass(piece))
          const asked = shareContext(
            request({ policy, contextPolicy: flowPolicy, items, countTokens: (text) => Math.ceil(text.length / 3) }),
          )
          if (forbidden.some((piece) => piece.required)) {
            await expect(asked).rejects.toMatchObject({ code: 'DATA_SHARING_DENIED' })
            return
          }
          const shared = await asked
          const seen = JSON.stringify([shared.visible, shared.notes])
          for (const piece of forbidden) expect(seen).not.toContain(`<canary-${items.indexOf(piece)}>`)
          expect(shared.decisions.map(({ piece }) => piece)).toEqual(items.map(({ name }) => name))
          for (const [index, { allowed }] of shared.decisions.entries()) {
            expect(shared.visible.some(({ name }) => name === `p${index}`)).toBe(allowed)
          }
          const bounded = shared.visible.filter(({ kind }) => kind === 'step_output' || kind === 'conversation_history')
          const tokens = bounded.reduce((sum, { text }) => sum + Math.ceil(text.length / 3), 0)
          expect(tokens).toBeLessThanOrEqual(flowPolicy.maxSharedTokens)
          for (const { name, text } of shared.visible) {
            const whole = items.find((candidate) => candidate.name === name)?.text ?? ''
            expect(whole.endsWith(text)).toBe(true)
          }
          for (const piece of items) {
            if (piece.required) expect(shared.visible.map((visible) => visible.name)).toContain(piece.name)
          }
        },
      ),
      { numRuns: 500 },
    )
  })
})

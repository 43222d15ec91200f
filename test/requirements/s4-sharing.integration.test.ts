// Who may do what, and what which provider may see (REQUIREMENTS S4-74 to S4-78, S4-111 to S4-122, SPEC section 4).
//
// S4-74: the conversation is shared only if the context policy of the flow allows it
// S4-75: shareStepOutputs: false hides outputs of other steps from prompts but not from conditions
// S4-76: shared context is cut at maxSharedTokens, oldest history first, with a note
// S4-77: prompts include the original prompt unless the context policy excludes it
// S4-78: system messages of the thread are passed on only with preserveSystemPrompts
// S4-111: creating and running need write, viewing needs read, deleting needs delete
// S4-112: creating and running need write, viewing needs read, deleting needs delete
// S4-113: creating and running need write, viewing needs read, deleting needs delete
// S4-114: creating and running need write, viewing needs read, deleting needs delete
// S4-115: a flow inherits the rights of its thread, even after they are revoked
// S4-116: there is one sharing policy per user and provider
// S4-117: the conversation is shared only if the context policy of the flow allows it
// S4-118: a step that requires a forbidden output fails before the call
// S4-119: attachments are sent only if the user allows them
// S4-120: a step that requires a forbidden output fails before the call
// S4-121: a step that requires a forbidden output fails before the call
// S4-122: without a policy a provider sees the prompt and its own outputs only
// S4-T8: a forbidden output that is only offered is withheld, and the decision is recorded
// S4-T9: shared context is cut at maxSharedTokens, oldest history first, with a note

import type { FlowDefinitionInput, ThreadRight } from 'polyphony'
import { expect, test } from 'vitest'
import { chain } from '../support/flows.ts'
import { describeInMemory } from './services.ts'

describeInMemory('sharing', (services) => {
  const sharedHistory = (model: ReturnType<typeof services.model>): FlowDefinitionInput => ({
    ...chain(model.step('a')),
    contextPolicy: { shareConversationHistory: true },
  })

  test('creating and running need write, viewing needs read, deleting needs delete', async () => {
    const owner = await services.person()
    const { orchestrator, permissions } = services.polyphony
    const model = services.model(() => 'ok')
    const definition = chain(model.step('a'))
    const flow = await orchestrator.createFlow(owner.threadId, owner.userId, definition)
    const attempts = (userId: string) => ({
      getFlow: () => orchestrator.getFlow(flow.id, userId),
      getFlowStatus: () => orchestrator.getFlowStatus(flow.id, userId),
      listFlows: () => orchestrator.listFlows(owner.threadId, userId),
      createFlow: () => orchestrator.createFlow(owner.threadId, userId, definition),
      executeFlow: () => orchestrator.executeFlow(flow.id, userId, { input: 'x' }),
      executeStep: () => orchestrator.executeStep(flow.id, 'a', userId, 'x'),
      cancelFlow: () => orchestrator.cancelFlow(flow.id, userId),
      rerunFlow: () => orchestrator.rerunFlow(flow.id, userId),
      deleteFlow: () => orchestrator.deleteFlow(flow.id, userId),
    })
    const codes = async (userId: string) => {
      const found: Record<string, string> = {}
      for (const [name, attempt] of Object.entries(attempts(userId))) {
        found[name] = await attempt().then(
          () => 'ok',
          (error) => error.code,
        )
      }
      return found
    }
    const member = async (...rights: ThreadRight[]) => {
      const { userId } = await services.person()
      await permissions.grant(owner.threadId, owner.userId, userId, rights)
      return userId
    }
    const { listFlows, createFlow, ...onFlow } = await codes((await services.person()).userId)
    expect([listFlows, createFlow]).toEqual(['THREAD_NOT_FOUND', 'THREAD_NOT_FOUND'])
    expect(new Set(Object.values(onFlow))).toEqual(new Set(['FLOW_NOT_FOUND']))
    const denied = 'PERMISSION_DENIED'
    expect(await codes(await member('read'))).toEqual({
      getFlow: 'ok',
      getFlowStatus: 'ok',
      listFlows: 'ok',
      createFlow: denied,
      executeFlow: denied,
      executeStep: denied,
      cancelFlow: denied,
      rerunFlow: denied,
      deleteFlow: denied,
    })
    const writer = await codes(await member('read', 'write'))
    expect(writer).toMatchObject({ getFlow: 'ok', createFlow: 'ok', executeFlow: 'ok', rerunFlow: 'ok', deleteFlow: denied })
    expect(await codes(await member('read', 'delete'))).toMatchObject({ createFlow: denied, deleteFlow: 'ok' })
  })

  test('a flow inherits the rights of its thread, even after they are revoked', async () => {
    const owner = await services.person()
    const guest = await services.person()
    const { orchestrator, permissions, conversations } = services.polyphony
    const flow = await orchestrator.createFlow(owner.threadId, owner.userId, chain(services.model([]).step('a')))
    await permissions.grant(owner.threadId, owner.userId, guest.userId, ['read'])
    expect(await orchestrator.getFlow(flow.id, guest.userId)).toMatchObject({ id: flow.id })
    expect(await conversations.getMessages(owner.threadId, guest.userId)).toEqual([])
    const listed = await permissions.list(owner.threadId, owner.userId)
    expect(listed.map(({ userId, rights }) => [userId, [...rights].sort()])).toEqual(
      expect.arrayContaining([
        [owner.userId, ['delete', 'read', 'write']],
        [guest.userId, ['read']],
      ]),
    )
    await expect(permissions.grant(owner.threadId, guest.userId, 'another', ['write'])).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
    })
    await permissions.revoke(owner.threadId, owner.userId, guest.userId)
    await expect(orchestrator.getFlow(flow.id, guest.userId)).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
  })

  test('there is one sharing policy per user and provider', async () => {
    const { userId } = await services.person()
    const { dataSharing } = services.polyphony
    expect(await dataSharing.get(userId, 'alpha')).toBeUndefined()
    await dataSharing.set(userId, 'alpha', { allowConversationHistory: true })
    expect(await dataSharing.get(userId, 'alpha')).toEqual({
      userId,
      providerKey: 'alpha',
      allowConversationHistory: true,
      allowCrossProviderContext: false,
      allowAttachments: false,
    })
    expect(await dataSharing.get(userId, 'beta')).toBeUndefined()
    expect(await dataSharing.list(userId)).toHaveLength(1)
    await dataSharing.remove(userId, 'alpha')
    expect(await dataSharing.get(userId, 'alpha')).toBeUndefined()
  })

  test('the conversation is shared only if the context policy of the flow allows it', async () => {
    const whose = await services.person()
    const { conversations, dataSharing } = services.polyphony
    await conversations.addMessage(whose.threadId, whose.userId, { role: 'user', content: 'CANARY of the thread' })
    const model = services.model(() => 'ok')
    const withheld = await services.run(sharedHistory(model), {}, whose)
    expect(withheld.result.steps[0]?.withheld).toMatchObject([{ kind: 'conversation_history', to: 'alpha', allowed: false }])
    await dataSharing.set(whose.userId, 'alpha', { allowConversationHistory: true })
    await services.run(chain(model.step('a')), {}, whose)
    await services.run(sharedHistory(model), {}, whose)
    expect([0, 1, 2].map((index) => model.sent(index).includes('CANARY'))).toEqual([false, false, true])
  })

  test('shareStepOutputs: false hides outputs of other steps from prompts but not from conditions', async () => {
    const model = services.model(['CANARY', 'two', 'three'])
    const { result } = await services.run({
      ...chain(
        model.step('a'),
        model.step('b', { condition: 'steps.a.output.contains("CANARY")' }),
        model.step('c', { inputFrom: 'all' }),
      ),
      contextPolicy: { shareStepOutputs: false },
    })
    expect(result.steps.map(({ status }) => status)).toEqual(['SUCCESS', 'SUCCESS', 'SUCCESS'])
    expect(JSON.stringify(model.requests)).not.toContain('CANARY')
  })

  test('prompts include the original prompt unless the context policy excludes it', async () => {
    const model = services.model(() => 'ok')
    const definition = chain(model.step('a', { prompt: 'first' }), model.step('b', { prompt: 'second', inputFrom: 'previous' }))
    await services.run(definition, { input: 'CANARY of the user' })
    await services.run({ ...definition, contextPolicy: { includeOriginalPrompt: false } }, { input: 'CANARY of the user' })
    expect(model.sent(1)).toContain('CANARY')
    expect(model.sent(3)).not.toContain('CANARY')
  })

  test('system messages of the thread are passed on only with preserveSystemPrompts', async () => {
    const whose = await services.person()
    const { conversations, dataSharing } = services.polyphony
    await dataSharing.set(whose.userId, 'alpha', { allowConversationHistory: true })
    await conversations.addMessage(whose.threadId, whose.userId, { role: 'system', content: 'CANARY of the system' })
    await conversations.addMessage(whose.threadId, whose.userId, { role: 'user', content: 'hello' })
    const model = services.model(() => 'ok')
    for (const preserveSystemPrompts of [undefined, false, true]) {
      const contextPolicy = { shareConversationHistory: true, preserveSystemPrompts }
      await services.run({ ...chain(model.step('a')), contextPolicy }, {}, whose)
    }
    expect([0, 1, 2].map((index) => model.sent(index).includes('CANARY'))).toEqual([false, false, true])
  })

  test('shared context is cut at maxSharedTokens, oldest history first, with a note', async () => {
    const whose = await services.person()
    const { conversations, dataSharing } = services.polyphony
    await dataSharing.set(whose.userId, 'alpha', { allowConversationHistory: true })
    for (const content of [`OLDEST ${'word '.repeat(300)}`, 'NEWEST']) {
      await conversations.addMessage(whose.threadId, whose.userId, { role: 'user', content })
    }
    const model = services.model(['OUTPUT', 'ok', `BEGIN ${'word '.repeat(300)} END`, 'ok'])
    const definition = chain(model.step('a'), model.step('b', { inputFrom: 'a' }))
    const contextPolicy = { shareConversationHistory: true, maxSharedTokens: 40 }
    const { result } = await services.run({ ...definition, contextPolicy }, {}, whose)
    for (const text of ['OUTPUT', 'NEWEST']) expect(model.sent(1)).toContain(text)
    expect(model.sent(1)).not.toContain('OLDEST')
    const cut = result.steps[1]
    expect([...(cut?.notes ?? []), JSON.stringify(cut?.withheld)].join()).toMatch(/maxSharedTokens/)
    await services.run({ ...definition, contextPolicy }, {}, whose)
    expect(model.sent(3)).toContain('END')
    expect(model.sent(3)).not.toContain('BEGIN')
  })

  test('without a policy a provider sees the prompt and its own outputs only', async () => {
    const alpha = services.model(['CANARY of alpha', 'third'], 'alpha')
    const beta = services.model(['second'], 'beta')
    const definition = chain(
      alpha.step('a'),
      beta.step('b', { inputFrom: 'all' }),
      alpha.step('c', { prompt: 'again {{ steps.a.output }}' }),
    )
    const { result } = await services.run(definition)
    expect(result.status).toBe('COMPLETED')
    expect(JSON.stringify(beta.requests)).not.toContain('CANARY')
    expect(alpha.sent(1)).toContain('CANARY')
  })

  test.each([
    ['inputFrom', { inputFrom: 'a' }],
    ['its template', { prompt: '{{ steps.a.output }}' }],
    [
      'its function',
      { prompt: (context: { previousStepOutputs: Readonly<Record<string, string>> }) => `${context.previousStepOutputs.a}` },
    ],
  ])('a step that requires a forbidden output fails before the call', async (_, needs) => {
    const whose = await services.person()
    const alpha = services.model(() => 'CANARY', 'alpha')
    const beta = services.model(() => 'ok', 'beta')
    const definition = chain(alpha.step('a'), beta.step('b', needs))
    const { dataSharing } = services.polyphony
    for (const rules of [undefined, { allowConversationHistory: true, allowAttachments: true }]) {
      if (rules) await dataSharing.set(whose.userId, 'beta', rules)
      await expect(services.run(definition, {}, whose)).rejects.toMatchObject({
        code: 'DATA_SHARING_DENIED',
        details: { stepId: 'b', piece: 'a', from: 'alpha', to: 'beta', rule: expect.any(String) },
      })
    }
    expect(beta.requests).toHaveLength(0)
    await dataSharing.set(whose.userId, 'beta', { allowCrossProviderContext: true })
    expect((await services.run(definition, {}, whose)).result.finalOutput).toBe('ok')
    expect(beta.sent(0)).toContain('CANARY')
  })

  test('a forbidden output that is only offered is withheld, and the decision is recorded', async () => {
    const alpha = services.model(['CANARY'], 'alpha')
    const beta = services.model(['ok'], 'beta')
    const { result, updates, flow } = await services.run(chain(alpha.step('a'), beta.step('b', { inputFrom: 'all' })))
    const kept = { kind: 'step_output', piece: 'a', from: 'alpha', to: 'beta', allowed: false }
    expect(result.steps[1]?.withheld).toMatchObject([kept])
    expect(updates.filter(({ type }) => type === 'context_withheld')).toMatchObject([{ stepId: 'b', data: kept }])
    const { stepResults } = await services.polyphony.orchestrator.getFlow(flow.id, flow.userId)
    expect(stepResults[1]?.withheld).toMatchObject([kept])
    expect(beta.sent(0)).not.toContain('CANARY')
  })

  test('attachments are sent only if the user allows them', async () => {
    const whose = await services.person()
    const { conversations, dataSharing } = services.polyphony
    const attachments = [{ name: 'plan.txt', mediaType: 'text/plain', text: 'CANARY of the attachment' }]
    await conversations.addMessage(whose.threadId, whose.userId, { role: 'user', content: 'see the file', attachments })
    const model = services.model(() => 'ok')
    for (const allowAttachments of [false, true]) {
      await dataSharing.set(whose.userId, 'alpha', { allowAttachments })
      const { result } = await services.run(chain(model.step('a', { prompt: 'original' })), { input: undefined }, whose)
      expect(result.steps[0]?.sharing).toMatchObject([{ kind: 'attachment', piece: 'plan.txt', allowed: allowAttachments }])
    }
    expect([0, 1].map((index) => model.sent(index).includes('CANARY'))).toEqual([false, true])
  })
})

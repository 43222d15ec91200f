import type { FastifyBaseLogger } from 'fastify'
import { describe, expect, test } from 'vitest'
import { createScriptedProvider, type ScriptedReply } from '../../../src/providers/scripted.ts'
import { runServer } from '../running-server.ts'
import { connect, createHeldProvider, REVISIONS, TWO_STEPS } from './mcp-client.ts'

const answering = (...replies: readonly ScriptedReply[]) => ({
  simulator: false,
  providers: { scripted: createScriptedProvider({ replies }) },
})

describe.each(REVISIONS)('the official client that speaks $revision', ({ revision, mode }) => {
  test('finds every tool described for a model, with schemas and hints', async () => {
    const { url } = await runServer()
    const { client } = await connect(url, { mode })
    expect(client.getNegotiatedProtocolVersion()).toBe(revision)
    expect(client.getServerVersion()).toMatchObject({ name: 'polyphony' })
    expect(client.getInstructions()).toContain('follow_flow')
    const { tools } = await client.listTools()
    expect(tools.map(({ name }) => name).sort()).toEqual([
      'answer_waiting',
      'cancel_flow',
      'check_flow',
      'create_flow',
      'describe_template',
      'follow_flow',
      'get_flow',
      'get_usage',
      'list_flows',
      'list_providers',
      'list_templates',
      'list_waiting',
      'rerun_flow',
      'start_flow',
    ])
    for (const { title, description, inputSchema, outputSchema, annotations } of tools) {
      expect(title).toMatch(/\w/)
      expect(description?.length).toBeGreaterThan(60)
      expect(inputSchema).toMatchObject({ type: 'object' })
      expect(outputSchema).toMatchObject({ type: 'object' })
      expect(annotations).toMatchObject({ readOnlyHint: expect.any(Boolean), openWorldHint: expect.any(Boolean) })
    }
    const hintsOf = (wanted: string) => tools.find(({ name }) => name === wanted)?.annotations
    expect(hintsOf('follow_flow')).toMatchObject({ readOnlyHint: true })
    expect(hintsOf('start_flow')).toMatchObject({ readOnlyHint: false, openWorldHint: true, idempotentHint: false })
    expect(hintsOf('cancel_flow')).toMatchObject({ readOnlyHint: false, destructiveHint: true, idempotentHint: true })
    // Models pay for every list they read.
    expect(JSON.stringify(tools).length).toBeLessThan(31_000)
  })

  test('finds a template, checks it and runs it to its answer', async () => {
    const { url, send } = await runServer()
    await send('PUT', '/api/v1/data-sharing/anthropic', { body: { allowCrossProviderContext: true } })
    const { call } = await connect(url, { mode })

    const templates = await call('list_templates')
    expect(templates.text).toMatch(/^critique: /m)
    expect(templates.value).toMatchObject({ items: expect.arrayContaining([expect.objectContaining({ name: 'critique' })]) })
    const described = await call('describe_template', { template: 'critique', parameters: { rounds: 2 } })
    expect(described.value).toMatchObject({ name: 'critique', definition: { type: 'critique', critique: { rounds: 2 } } })
    expect(described.text).toContain('- rounds (integer)')
    expect((await call('list_providers')).value).toMatchObject({
      items: expect.arrayContaining([expect.objectContaining({ id: 'anthropic', simulated: true })]),
    })
    const checked = await call('check_flow', { template: 'critique' })
    expect(checked.value).toMatchObject({ ok: true, problems: [], calls: { min: 2, max: 3 } })

    const started = await call('start_flow', { template: 'critique', input: 'Why is the sky blue?' })
    expect(started.value).toMatchObject({ name: 'critique', ended: false, status: 'RUNNING' })
    const followed = await call('follow_flow', { flowId: started.value.flowId })
    expect(followed.value).toMatchObject({ status: 'COMPLETED', ended: true, progress: 100, simulated: true })
    expect(followed.text).toContain(String(followed.value.finalOutput))
    expect(followed.text).toContain('simulated')
  })

  test('a flow is read with notes and sources of its steps, and with quotations only together with the outputs', async () => {
    const sources = [{ kind: 'citation', url: 'https://example.org/a', title: 'A page', text: 'quoted words' } as const]
    const { url } = await runServer(answering({ text: 'a draft [1]', finishReason: 'length', sources }, 'an answer'))
    const { call } = await connect(url, { mode })
    const { value } = await call('create_flow', { definition: TWO_STEPS })
    await call('start_flow', { flowId: value.flowId, input: 'the question', waitMs: 10_000 })
    const brief = await call('get_flow', { flowId: value.flowId })
    expect(brief.text).toContain('Source: A page https://example.org/a')
    expect(brief.text).toMatch(/Note: the answer was cut/)
    expect(JSON.stringify(brief)).not.toContain('quoted words')
    const whole = await call('get_flow', { flowId: value.flowId, stepOutputs: true })
    expect(whole.value).toMatchObject({ steps: [{ sources }, { output: 'an answer' }] })
  })

  test('a client creates a flow from its own definition, starts, reads and reruns it, and lists both flows', async () => {
    const { url } = await runServer(answering('a draft', 'an answer', 'another answer'))
    const { call } = await connect(url, { mode })

    const created = await call('create_flow', { definition: TWO_STEPS })
    expect(created.value).toMatchObject({ status: 'PENDING', ended: false, totalSteps: 2 })
    const { flowId, threadId } = created.value
    const done = await call('start_flow', { flowId, input: 'the question', waitMs: 10_000 })
    expect(done.value).toMatchObject({ flowId, status: 'COMPLETED', finalOutput: 'an answer', threadId })

    const brief = await call('get_flow', { flowId })
    expect(brief.value).toMatchObject({ input: 'the question', steps: [{ stepId: 'draft' }, { stepId: 'polish' }] })
    expect(brief.text).not.toContain('a draft')
    const whole = await call('get_flow', { flowId, stepOutputs: true })
    expect(whole.value).toMatchObject({ steps: [{ output: 'a draft' }, { output: 'an answer' }] })
    expect(whole.text).toContain('a draft')

    const anew = await call('rerun_flow', { flowId, fromStep: 'polish' })
    expect(anew.value).toMatchObject({ status: 'PENDING', parentFlowId: flowId, threadId })
    const again = await call('start_flow', { flowId: anew.value.flowId, waitMs: 10_000 })
    expect(again.value).toMatchObject({ status: 'COMPLETED', finalOutput: 'another answer' })

    const listed = await call('list_flows', { threadId })
    expect(listed.value).toMatchObject({ items: [{ flowId: anew.value.flowId }, { flowId, status: 'COMPLETED' }] })
    expect(listed.text).toContain(String(flowId))
    const failed = await call('list_flows', { threadId, status: 'FAILED' })
    expect(failed.value).toEqual({ items: [] })
    // In another conversation, and a page later.
    const other = (await call('create_flow', { definition: TWO_STEPS })).value
    const page = await call('list_flows', { limit: 2 })
    expect(page.value).toMatchObject({ items: [{ flowId: other.flowId }, { flowId: anew.value.flowId }] })
    const next = await call('list_flows', { limit: 2, cursor: page.value.nextCursor })
    expect(next.value).toEqual({ items: [expect.objectContaining({ flowId })] })
    expect(page.text).toContain(String(page.value.nextCursor))

    const used = await call('get_usage', { groupBy: ['flow'] })
    expect(used.value).toMatchObject({ totals: { calls: 3 }, truncated: false, rows: [{ calls: 2, flowId }, { calls: 1 }] })
    expect(used.text).toContain('In all: 3 calls')
    expect((await call('get_usage', { flowId: anew.value.flowId })).value).toMatchObject({ totals: { calls: 1 } })
  })

  test('a client receives rising progress of the flow with the names of the steps', async () => {
    const held = createHeldProvider()
    const { url } = await runServer({ simulator: false, providers: { scripted: held.provider } })
    const { call } = await connect(url, { mode })
    const told: { progress: number; total?: number; message?: string }[] = []
    const running = call(
      'start_flow',
      { definition: TWO_STEPS, input: 'the question', waitMs: 10_000 },
      { onprogress: (one) => told.push(one) },
    )
    await expect.poll(() => told.map(({ message }) => message)).toContain('Step "draft" started')
    await held.answer('a draft')
    await expect.poll(() => told.map(({ message }) => message)).toContain('Step "polish" started')
    await held.answer('an answer')
    const done = await running
    expect(done.value).toMatchObject({ status: 'COMPLETED' })
    expect(told.length).toBeGreaterThanOrEqual(5)
    for (const [index, { progress, total }] of told.entries()) {
      expect(total).toBe(100)
      expect(progress).toBeGreaterThan(told[index - 1]?.progress ?? -1)
    }
    expect(told.map(({ message }) => message)).toEqual(expect.arrayContaining(['Step "draft" ended', 'Step "polish" ended']))
    expect(told.at(-1)).toMatchObject({ progress: 100, message: 'The flow is COMPLETED' })
  })

  test('a client receives no progress from before its call', async () => {
    const held = createHeldProvider()
    const { url } = await runServer({ simulator: false, providers: { scripted: held.provider } })
    const { call } = await connect(url, { mode })
    const { flowId } = (await call('start_flow', { definition: TWO_STEPS, input: 'the question' })).value
    await held.answer('a draft')
    await held.asked()
    const told: { progress: number; message?: string }[] = []
    const following = call('follow_flow', { flowId }, { onprogress: (one) => told.push(one) })
    await expect.poll(() => told.length).toBeGreaterThan(0)
    expect(told[0]).toMatchObject({ progress: 50, message: 'The flow is RUNNING' })
    await held.answer('an answer')
    expect((await following).value).toMatchObject({ finalOutput: 'an answer' })
    expect(told.map(({ message }) => message)).not.toContain('Step "draft" started')
  })

  test('cancels a flow and starts it again where it was', async () => {
    const held = createHeldProvider()
    const { url } = await runServer({ simulator: false, providers: { scripted: held.provider } })
    const { call } = await connect(url, { mode })
    const { flowId } = (await call('start_flow', { definition: TWO_STEPS, input: 'the question' })).value
    await held.answer('a draft')
    await held.asked()
    const cancelled = await call('cancel_flow', { flowId })
    expect(cancelled).toMatchObject({ isError: false, value: { status: 'CANCELLED', ended: true, completedSteps: 1 } })
    expect((await call('cancel_flow', { flowId })).value).toMatchObject({ status: 'CANCELLED' })
    await held.answer('nobody reads this')

    const goesOn = call('start_flow', { flowId, waitMs: 10_000 })
    await held.answer('an answer')
    expect((await goesOn).value).toMatchObject({ status: 'COMPLETED', finalOutput: 'an answer' })
    expect(held.provider.requests).toHaveLength(3)
  })

  test('a failed flow is returned as an answer with a remedy', async () => {
    const { url } = await runServer(answering('a draft'))
    const { call } = await connect(url, { mode })
    const failed = await call('start_flow', { definition: TWO_STEPS, input: 'the question', waitMs: 10_000 })
    expect(failed).toMatchObject({ isError: false, value: { status: 'FAILED', ended: true, failedSteps: ['polish'] } })
    expect(failed.value).toMatchObject({ error: { code: 'PROVIDER_REJECTED' } })
    expect(failed.text).toContain('PROVIDER_REJECTED: ')
  })
})

describe('errors', () => {
  test.each([
    ['get_flow', { flowId: 'nothing' }, 'FLOW_NOT_FOUND', 'list_flows'],
    ['follow_flow', { flowId: 'nothing' }, 'FLOW_NOT_FOUND', 'list_flows'],
    ['describe_template', { template: 'critqiue' }, 'TEMPLATE_NOT_FOUND', 'list_templates'],
    ['describe_template', { template: 'critique', parameters: { rounds: 'many' } }, 'INPUT_INVALID', ''],
    ['start_flow', { definition: TWO_STEPS }, 'FLOW_INPUT_MISSING', 'start_flow'],
    ['start_flow', {}, 'INPUT_INVALID', ''],
    ['start_flow', { template: 'critique', definition: TWO_STEPS }, 'INPUT_INVALID', ''],
    ['start_flow', { definition: TWO_STEPS, parameters: {} }, 'INPUT_INVALID', ''],
    ['create_flow', { definition: { name: 'x', type: 'sequential', steps: [] } }, 'FLOW_INVALID', 'describe_template'],
    ['create_flow', { definition: TWO_STEPS, threadId: 'nothing' }, 'THREAD_NOT_FOUND', ''],
    ['check_flow', {}, 'INPUT_INVALID', ''],
    ['list_flows', { threadId: 'nothing' }, 'THREAD_NOT_FOUND', ''],
    ['rerun_flow', { flowId: 'nothing' }, 'FLOW_NOT_FOUND', 'list_flows'],
    ['cancel_flow', { flowId: 'nothing' }, 'FLOW_NOT_FOUND', 'list_flows'],
    ['cancel_flow', { flowId: 1 }, 'INPUT_INVALID', ''],
    ['list_flows', { cursor: 'nothing' }, 'INPUT_INVALID', ''],
    ['get_usage', { from: 'yesterday' }, 'INPUT_INVALID', ''],
    ['get_usage', { flowId: 'nothing' }, 'FLOW_NOT_FOUND', ''],
  ])('%s of %j is the error of a tool: %s', async (name, given, code, remedy) => {
    const { url } = await runServer(answering())
    const { call } = await connect(url)
    const answer = await call(name, given)
    expect(answer).toMatchObject({ isError: true, code })
    const [first, ...rest] = answer.text.split('\n')
    expect(first).toMatch(new RegExp(`^${code}: .`))
    expect(rest.join('\n')).toContain(remedy)
    expect(answer.text).not.toMatch(/\n\s+at /)
  })

  test('a run that missing sharing or a missing provider would stop half-way is refused before any call', async () => {
    const { url, polyphony } = await runServer()
    const { call } = await connect(url)
    const refused = await call('start_flow', { template: 'critique', input: 'x' })
    expect(refused).toMatchObject({ isError: true, code: 'DATA_SHARING_DENIED' })
    expect(refused.text).toContain('step "critique" needs the output of "draft" (openai)')
    expect(refused.text).toContain('Only the user can allow it')
    const steps = [...TWO_STEPS.steps, { id: 'last', model: 'nobody/m', action: 'refine', inputFrom: 'polish' }]
    expect(await call('start_flow', { definition: { ...TWO_STEPS, steps }, input: 'x' })).toMatchObject({
      isError: true,
      code: 'PROVIDER_NOT_CONFIGURED',
    })
    expect(await polyphony.conversations.listThreads('local')).toEqual([])
    expect((await call('get_usage', { groupBy: [] })).value).toMatchObject({ totals: { simulatedCalls: 0 } })

    await polyphony.dataSharing.set('local', 'anthropic', { allowCrossProviderContext: true })
    expect((await call('start_flow', { template: 'critique', input: 'x', waitMs: 10_000 })).value).toMatchObject({
      status: 'COMPLETED',
    })
  })

  test('limits of the tool call replace those of the definition', async () => {
    const definition = { ...TWO_STEPS, limits: { maxCostUsd: 1e-9 } }
    const prices = { 'scripted/m': { inputPerMillion: 1, outputPerMillion: 1 } }
    const { url } = await runServer({ ...answering('a draft', 'an answer'), prices })
    const { call } = await connect(url)
    expect(await call('start_flow', { definition, input: 'x' })).toMatchObject({ isError: true, code: 'LIMIT_EXCEEDED' })
    const higher = await call('start_flow', { definition, input: 'x', limits: { maxCostUsd: 10 }, waitMs: 10_000 })
    expect(higher.value).toMatchObject({ status: 'COMPLETED' })
  })

  test('a call that could not start leaves no thread and no flow behind', async () => {
    const { url, polyphony } = await runServer(answering())
    const { call } = await connect(url)
    for (const given of [
      { definition: TWO_STEPS },
      { definition: { ...TWO_STEPS, steps: [] }, input: 'x' },
      { template: 'nothing', input: 'x' },
    ]) {
      expect(await call('start_flow', given)).toMatchObject({ isError: true })
    }
    expect(await polyphony.conversations.listThreads('local')).toEqual([])

    const { id: threadId } = await polyphony.conversations.createThread('local')
    expect(await call('start_flow', { definition: TWO_STEPS, threadId })).toMatchObject({ code: 'FLOW_INPUT_MISSING' })
    expect(await polyphony.orchestrator.listFlows(threadId, 'local')).toEqual([])
  })

  test('an internal error reveals nothing to the client, and the log contains it', async () => {
    const lines: unknown[] = []
    const note = (facts: unknown) => lines.push(facts)
    const nothing = () => {}
    const levels = { fatal: note, error: note, warn: nothing, info: nothing, debug: nothing, trace: nothing, silent: nothing }
    const logger: FastifyBaseLogger = { level: 'error', ...levels, child: () => logger }
    const { url, polyphony } = await runServer({}, { logger })
    const { call } = await connect(url)
    polyphony.orchestrator.getFlowStatus = () => Promise.reject(new TypeError('the secret of the house'))
    const answer = await call('get_flow', { flowId: 'any' })
    expect(answer).toMatchObject({ isError: true, code: 'INTERNAL' })
    expect(JSON.stringify(answer)).not.toContain('secret')
    expect(lines).toEqual([{ err: expect.objectContaining({ message: 'the secret of the house' }) }])
  })
})

// What happens around one step, and what is told of it (REQUIREMENTS S4-59 to S4-61, S4-98 to S4-108, SPEC sections 6 and 9).
//
// S4-59: a step is retried only if retryOnFailure allows it
// S4-60: a step is retried at most maxRetries times, and the retries are counted
// S4-61: a step ends at its timeout without a retry
// S4-98: updates are numbered and have type, step and data
// S4-99: updates are numbered and have type, step and data
// S4-100: updates are numbered and have type, step and data
// S4-101: updates are numbered and have type, step and data
// S4-102: an error update arrives before executeFlow rejects
// S4-103: updates are numbered and have type, step and data
// S4-104: an error update arrives before executeFlow rejects
// S4-106: a step is retried at most maxRetries times, and the retries are counted
// S4-107: a step ends at its timeout without a retry
// S4-108: a flow ends at its timeout, together with a waiting retry

import { type FlowUpdate, OrchestratorError } from 'polyphony'
import { expect, test } from 'vitest'
import { rejection } from '../support/caught.ts'
import { chain, until } from '../support/flows.ts'
import { describeOnEveryDatabase } from './services.ts'

const unavailable = () => new OrchestratorError('PROVIDER_UNAVAILABLE', 'busy')
const usage = { inputTokens: 4, outputTokens: 1, totalTokens: 5, source: 'reported' } as const

describeOnEveryDatabase('a run', (services) => {
  test('a step is retried at most maxRetries times, and the retries are counted', async () => {
    const model = services.model([unavailable(), unavailable(), { text: 'third', usage }])
    const { result, updates } = await services.run(chain(model.step('a', { retryOnFailure: true, maxRetries: 2 })))
    expect(result.steps[0]).toMatchObject({ output: 'third', retryCount: 2, metadata: { retryCount: 2 } })
    expect(result.steps[0]?.attempts).toMatchObject([
      { number: 1, error: { code: 'PROVIDER_UNAVAILABLE' } },
      { number: 2, error: { code: 'PROVIDER_UNAVAILABLE' } },
      { number: 3, usage },
    ])
    expect(updates.filter(({ type }) => type === 'step_retry')).toHaveLength(2)
    const poor = services.model(() => unavailable())
    const failed = services.run(chain(poor.step('a', { retryOnFailure: true, maxRetries: 3 })))
    await expect(failed).rejects.toMatchObject({ code: 'PROVIDER_UNAVAILABLE', details: { stepId: 'a', attempt: 4 } })
    expect(poor.requests).toHaveLength(4)
  })

  test('a step is retried only if retryOnFailure allows it', async () => {
    const model = services.model(() => unavailable())
    await rejection(services.run(chain(model.step('a', { retryOnFailure: false, maxRetries: 5 }))))
    expect(model.requests).toHaveLength(1)
    await rejection(services.run(chain(model.step('a', { maxRetries: 0 }))))
    expect(model.requests).toHaveLength(2)
  })

  test.each(['PROVIDER_AUTH', 'PROVIDER_REJECTED', 'PROVIDER_QUOTA_EXHAUSTED', 'CONTENT_FILTERED'] as const)(
    'a step is never retried after %s',
    async (code) => {
      const model = services.model(() => new OrchestratorError(code, 'no'))
      const failed = services.run(chain(model.step('a', { retryOnFailure: true, maxRetries: 5 })))
      await expect(failed).rejects.toMatchObject({ code, retryable: false })
      expect(model.requests).toHaveLength(1)
    },
  )

  test('a step uses its fallback and records which provider answered', async () => {
    const first = services.model([new OrchestratorError('PROVIDER_AUTH', 'no')], 'alpha')
    const second = services.model(['rescued'], 'beta')
    const { result } = await services.run(chain(first.step('a', { fallbacks: [second.target], prompt: 'original' })))
    expect(result.steps[0]).toMatchObject({
      output: 'rescued',
      provider: 'beta',
      model: second.target.model,
      attempts: [{ provider: 'alpha', error: { code: 'PROVIDER_AUTH' } }, { provider: 'beta' }],
    })
  })

  test('a step ends at its timeout without a retry', async () => {
    const model = services.model(() => ({ text: '', hang: true }))
    const failed = services.run(chain(model.step('a', { timeout: 25, retryOnFailure: true, maxRetries: 3 })))
    await expect(failed).rejects.toMatchObject({ code: 'STEP_TIMEOUT', details: { stepId: 'a' } })
    expect(model.requests).toHaveLength(1)
  })

  test('a silent stream ends at its idleTimeout', async () => {
    const model = services.model([{ text: 'begun', hang: true }])
    const error = await rejection(services.run(chain(model.step('a', { idleTimeout: 25, maxRetries: 0 }))))
    expect(error).toMatchObject({ code: expect.stringMatching(/^(STEP_TIMEOUT|PROVIDER_UNAVAILABLE)$/) })
    expect(model.requests).toHaveLength(1)
  })

  test('a flow ends at its timeout, together with a waiting retry', async () => {
    const hanging = services.model(['one', { text: '', hang: true }])
    const slow = services.run(chain(hanging.step('a'), hanging.step('b')), { timeout: { flow: 40 } })
    await expect(slow).rejects.toMatchObject({ code: 'FLOW_TIMEOUT' })
    const { vendor } = services
    vendor.answer({ status: 429, headers: { 'retry-after': '20' }, body: { error: { message: 'slow down' } } })
    const before = vendor.requests.length
    const limited = chain({ id: 'a', model: 'openai/gpt-6-sol', action: 'generate', prompt: 'x' })
    await expect(services.run(limited, { timeout: { flow: 3_000 } })).rejects.toMatchObject({ code: 'FLOW_TIMEOUT' })
    expect(vendor.requests).toHaveLength(before + 1)
  })

  test('any error of a custom provider becomes an OrchestratorError', async () => {
    const error = await rejection(services.run(chain(services.model([new Error('boom')]).step('a'))))
    expect(OrchestratorError.is(error)).toBe(true)
    const inPrompt = services.model([]).step('a', {
      prompt: () => {
        throw new Error('in the prompt')
      },
    })
    await expect(services.run(chain(inPrompt))).rejects.toMatchObject({ code: 'STEP_FAILED', details: { stepId: 'a' } })
  })

  test('updates are numbered and have type, step and data', async () => {
    const model = services.model([{ text: 'one two', chunks: ['one ', 'two'] }])
    const steps = [model.step('a'), model.step('b', { condition: 'false' })]
    const { updates, flow, result } = await services.run(chain(...steps))
    expect(updates.map(({ type, stepId }) => [type, stepId])).toEqual([
      ['flow_start', undefined],
      ['step_start', 'a'],
      ['step_progress', 'a'],
      ['step_progress', 'a'],
      ['step_complete', 'a'],
      ['step_skipped', 'b'],
      ['flow_complete', undefined],
    ])
    expect(updates.map(({ seq }) => seq)).toEqual([...updates].map(({ seq }) => seq).sort((one, other) => one - other))
    expect(new Set(updates.map(({ seq }) => seq)).size).toBe(updates.length)
    for (const update of updates) {
      expect(update).toMatchObject({ flowId: flow.id, data: expect.any(Object) })
      expect(update.timestamp).toBeInstanceOf(Date)
    }
    const data = updates.map((update) => update.data)
    expect(data[1]).toMatchObject({ provider: 'alpha', model: model.target.model, action: 'generate' })
    expect([data[2], data[3]]).toEqual([{ delta: 'one ' }, { delta: 'two' }])
    expect(data[4]).toMatchObject({ stepId: 'a', status: 'SUCCESS', output: 'one two' })
    expect(data[6]).toMatchObject({ flowId: flow.id, status: 'COMPLETED', finalOutput: result.finalOutput })
  })

  test('an error update arrives before executeFlow rejects', async () => {
    const model = services.model([new OrchestratorError('PROVIDER_REJECTED', 'no')])
    const seen: FlowUpdate[] = []
    let told: number | undefined
    const run = services.run(chain(model.step('a')), { onUpdate: (update) => seen.push(update) })
    await run.catch(() => {
      told = seen.filter(({ type }) => type === 'error').length
    })
    expect(told).toBe(1)
    expect(seen.at(-1)).toMatchObject({ type: 'error', stepId: 'a', data: { code: 'PROVIDER_REJECTED', retryable: false } })
  })

  test('a client that reconnects misses no update and gets none twice', async () => {
    const model = services.model([
      { text: 'abc', chunks: ['a', 'b', 'c'], delayMs: 4 },
      { text: 'def', chunks: ['d', 'e', 'f'], delayMs: 4 },
    ])
    const { orchestrator } = services.polyphony
    const { userId, threadId } = await services.person()
    const flow = await orchestrator.createFlow(threadId, userId, chain(model.step('a'), model.step('b')))
    await orchestrator.startFlow(flow.id, userId, { input: 'x', streaming: true })
    const live: FlowUpdate[] = []
    for await (const update of orchestrator.streamFlow(flow.id, userId)) {
      live.push(update)
      if (live.length === 3) break
    }
    const afterSeq = live.at(-1)?.seq ?? 0
    for await (const update of orchestrator.streamFlow(flow.id, userId, { afterSeq })) live.push(update)
    const late: FlowUpdate[] = []
    for await (const update of orchestrator.streamFlow(flow.id, userId)) late.push(update)
    expect(live.map(({ seq }) => seq)).toEqual(live.map((_, index) => index + 1))
    expect(late.map(({ seq, type, stepId }) => [seq, type, stepId])).toEqual(
      live.map(({ seq, type, stepId }) => [seq, type, stepId]),
    )
    const text = late.flatMap((update) => (update.type === 'step_progress' ? [update.data.delta] : [])).join('')
    expect(text).toBe('abcdef')
    expect(late.at(-1)).toMatchObject({ type: 'flow_complete', data: { finalOutput: 'def' } })
    expect(late.every(({ timestamp }) => timestamp instanceof Date)).toBe(true)
  })

  test('leaving a stream never cancels the flow, and users without rights cannot stream it', async () => {
    const model = services.model([{ text: 'done', delayMs: 10 }])
    const { orchestrator } = services.polyphony
    const { userId, threadId } = await services.person()
    const flow = await orchestrator.createFlow(threadId, userId, chain(model.step('a')))
    await orchestrator.startFlow(flow.id, userId, { input: 'x' })
    for await (const _ of orchestrator.streamFlow(flow.id, userId)) break
    const { userId: stranger } = await services.person()
    await expect(orchestrator.streamFlow(flow.id, stranger).next()).rejects.toMatchObject({ code: 'FLOW_NOT_FOUND' })
    for await (const _ of orchestrator.streamFlow(flow.id, userId));
    expect(await orchestrator.getFlowStatus(flow.id, userId)).toMatchObject({ status: 'COMPLETED' })
  })

  test('a cancelled run ends its updates with flow_cancelled', async () => {
    const model = services.model([{ text: '', hang: true }])
    const { orchestrator } = services.polyphony
    const { userId, threadId } = await services.person()
    const flow = await orchestrator.createFlow(threadId, userId, chain(model.step('a')))
    const seen: FlowUpdate[] = []
    const run = orchestrator.executeFlow(flow.id, userId, { input: 'x', onUpdate: (update) => seen.push(update) })
    const outcome = rejection(run)
    await until(() => model.requests.length === 1)
    await orchestrator.cancelFlow(flow.id, userId)
    expect(await outcome).toMatchObject({ code: 'FLOW_CANCELLED' })
    expect(seen.at(-1)).toMatchObject({ type: 'flow_cancelled', data: { reason: expect.any(String) } })
    const { stepResults } = await orchestrator.getFlow(flow.id, userId)
    expect(stepResults).toMatchObject([{ stepId: 'a', status: 'CANCELLED', attempts: [{ aborted: true }] }])
  })
})

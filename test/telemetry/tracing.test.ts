import { SpanKind, trace } from '@opentelemetry/api'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createCritiqueFlow } from '../../templates/index.ts'
import { chain, until } from '../support/flows.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { counted, failure, modelAStep, openServices, type Services, scriptedProvider, USER } from './services.ts'
import { eventAttributes, isError, only, registerSdk, type SpanReader } from './spans.ts'

let spans: SpanReader
let services: Services | undefined

beforeAll(() => {
  spans = registerSdk()
})
beforeEach(() => spans.reset())
afterEach(async () => {
  await services?.polyphony.close()
  services = undefined
})
afterAll(() => spans.close())

describe('the span of a call', () => {
  test('is one CLIENT span with the attribute names of the conventions', async () => {
    const scripted = scriptedProvider('scripted', [counted('done', { model: 'model-a-2026', finishReason: 'length' })], {
      vendor: 'google',
    })
    services = await openServices({ scripted })
    const { flowId } = await services.run(
      chain(modelAStep('draft', { settings: { temperature: 0.2, maxTokens: 64, topP: 0.9 } })),
    )
    const call = only(spans.calls())
    expect(call.name).toBe('chat model-a')
    expect(call.kind).toBe(SpanKind.CLIENT)
    expect(call.attributes).toEqual({
      'gen_ai.operation.name': 'chat',
      'gen_ai.provider.name': 'gcp.gemini',
      'gen_ai.conversation.id': services.threadId,
      'gen_ai.request.model': 'model-a',
      'gen_ai.request.temperature': 0.2,
      'gen_ai.request.max_tokens': 64,
      'gen_ai.request.top_p': 0.9,
      'gen_ai.response.model': 'model-a-2026',
      'gen_ai.response.finish_reasons': ['length'],
      'gen_ai.usage.input_tokens': 100,
      'gen_ai.usage.cache_read.input_tokens': 40,
      'gen_ai.usage.output_tokens': 20,
      'polyphony.usage.source': 'reported',
      'polyphony.provider.id': 'scripted',
      'polyphony.flow.id': flowId,
      'polyphony.step.id': 'draft',
      'polyphony.step.iteration': 1,
      'polyphony.step.action': 'generate',
      'polyphony.attempts': 1,
      'polyphony.unpriced': true,
    })
    expect(isError(call)).toBe(false)
  })

  test('covers retries and a fallback, and names the provider that answered', async () => {
    const scripted = scriptedProvider('scripted', () => failure('PROVIDER_UNAVAILABLE'))
    const second = scriptedProvider('second', [counted('saved', { providerCostUsd: 0.25 })], { vendor: 'mistral' })
    services = await openServices({ scripted, second })
    await services.run(chain(modelAStep('draft', { maxRetries: 2, fallbacks: [{ model: 'second/model-b' }] })))
    const call = only(spans.calls())
    expect(call.name).toBe('chat model-a')
    expect(call.attributes).toMatchObject({
      'gen_ai.request.model': 'model-a',
      'gen_ai.response.model': 'model-b',
      'gen_ai.provider.name': 'mistral_ai',
      'polyphony.provider.id': 'second',
      'polyphony.attempts': 4,
      'polyphony.cost_usd': 0.25,
    })
    expect(call.attributes).not.toHaveProperty('error.type')
    expect(isError(call)).toBe(false)
    const attempts = eventAttributes(call)
    expect(
      attempts.map((event) => [event['polyphony.provider.id'], event['polyphony.attempt.number'], event['error.type']]),
    ).toEqual([
      ['scripted', 1, 'PROVIDER_UNAVAILABLE'],
      ['scripted', 2, 'PROVIDER_UNAVAILABLE'],
      ['scripted', 3, 'PROVIDER_UNAVAILABLE'],
      ['second', 4, undefined],
    ])
  })

  test('contains the error code of a failure, as does the span of the flow', async () => {
    services = await openServices({ scripted: scriptedProvider('scripted', [failure('PROVIDER_AUTH')]) })
    await expect(services.run(chain(modelAStep('draft')))).rejects.toMatchObject({ code: 'PROVIDER_AUTH' })
    const call = only(spans.calls())
    const flow = only(spans.flows())
    for (const span of [call, flow]) {
      expect(isError(span)).toBe(true)
      expect(span.attributes['error.type']).toBe('PROVIDER_AUTH')
    }
    expect(call.attributes['gen_ai.response.finish_reasons']).toEqual(['error'])
    expect(flow.attributes['polyphony.flow.status']).toBe('FAILED')
    expect(spans.text()).not.toContain('a message of')
  })

  test('ends with the cancel of its flow, with the usage billed until then', async () => {
    const scripted = scriptedProvider('scripted', [{ text: '', chunks: ['half an answer'], hang: true }])
    services = await openServices({ scripted })
    const abort = new AbortController()
    let delivered = ''
    const running = services.run(chain(modelAStep('draft')), {
      streaming: true,
      signal: abort.signal,
      onUpdate: (update) => {
        if (update.type === 'step_progress') delivered += update.data.delta
      },
    })
    await until(() => delivered !== '')
    abort.abort()
    await expect(running).rejects.toMatchObject({ code: 'FLOW_CANCELLED' })
    const call = only(spans.calls())
    expect(call.attributes).toMatchObject({
      'error.type': 'FLOW_CANCELLED',
      'gen_ai.request.stream': true,
      'gen_ai.response.finish_reasons': ['error'],
      'polyphony.usage.source': 'estimated',
    })
    expect(call.attributes['gen_ai.usage.output_tokens']).toBeGreaterThan(0)
    expect(call.attributes['gen_ai.response.time_to_first_chunk']).toBeGreaterThanOrEqual(0)
    expect(only(eventAttributes(call))).toMatchObject({ 'polyphony.attempt.aborted': true })
    expect(only(spans.flows()).attributes).toMatchObject({ 'polyphony.flow.status': 'CANCELLED', 'error.type': 'FLOW_CANCELLED' })
  })

  test('exists for each sample, each iteration of a loop and each single executed step', async () => {
    services = await openServices({ scripted: scriptedProvider('scripted', () => counted('yes')) })
    const { flowId } = await services.run(chain(modelAStep('vote', { samples: 3 })))
    expect(spans.calls().map(({ attributes }) => attributes['polyphony.step.sample'])).toEqual([1, 2, 3])
    spans.reset()
    await services.polyphony.orchestrator.executeStep(flowId, 'vote', USER)
    expect(spans.calls()).toHaveLength(3)
    const flow = only(spans.flows())
    expect(flow.attributes).toMatchObject({ 'polyphony.step.id': 'vote', 'polyphony.flow.resumed': true })
    expect(spans.calls().every(({ parentSpanContext }) => parentSpanContext?.spanId === flow.spanContext().spanId)).toBe(true)
  })
})

describe('the span of a flow', () => {
  test('is an INTERNAL span over all its calls, below the span that was active at its start', async () => {
    services = await openServices({ scripted: scriptedProvider('scripted', () => counted('ok', { providerCostUsd: 0.5 })) })
    const flowId = await services.create(chain(modelAStep('a'), modelAStep('b')))
    const tracer = trace.getTracer('backend')
    const { orchestrator, telemetry } = services.polyphony
    await tracer.startActiveSpan('POST /execute', async (request) => {
      await telemetry.requestContext.run({ requestId: 'request-7' }, () => orchestrator.startFlow(flowId, USER, { input: 'x' }))
      request.end()
    })
    await until(() => spans.flows().length === 1)
    const flow = only(spans.flows())
    const request = only(spans.all().filter(({ name }) => name === 'POST /execute'))
    expect(flow.name).toBe('invoke_workflow chain')
    expect(flow.kind).toBe(SpanKind.INTERNAL)
    expect(flow.parentSpanContext?.spanId).toBe(request.spanContext().spanId)
    expect(flow.attributes).toEqual({
      'gen_ai.operation.name': 'invoke_workflow',
      'gen_ai.agent.name': 'chain',
      'gen_ai.conversation.id': services.threadId,
      'polyphony.request.id': 'request-7',
      'polyphony.flow.id': flowId,
      'polyphony.flow.type': 'sequential',
      'polyphony.flow.status': 'COMPLETED',
      'polyphony.flow.tokens': 240,
      'polyphony.cost_usd': 1,
    })
    for (const call of spans.calls()) {
      expect(call.parentSpanContext?.spanId).toBe(flow.spanContext().spanId)
      expect(call.spanContext().traceId).toBe(request.spanContext().traceId)
    }
  })

  test('contains only its own calls while another flow runs', async () => {
    const scripted = scriptedProvider('scripted', () => ({ text: 'ok', delayMs: 2 }))
    services = await openServices({ scripted })
    const results = await Promise.all([
      services.run(chain(modelAStep('a'), modelAStep('b'))),
      services.run(chain(modelAStep('a'), modelAStep('b'))),
    ])
    expect(spans.calls()).toHaveLength(4)
    for (const { flowId } of results) {
      const flow = only(spans.flows().filter(({ attributes }) => attributes['polyphony.flow.id'] === flowId))
      const calls = spans.calls().filter(({ attributes }) => attributes['polyphony.flow.id'] === flowId)
      expect(calls).toHaveLength(2)
      for (const call of calls) expect(call.parentSpanContext?.spanId).toBe(flow.spanContext().spanId)
    }
    const traces = new Set(spans.flows().map((flow) => flow.spanContext().traceId))
    expect(traces.size).toBe(2)
  })

  test('is the parent of its calls even if no async context is kept', async () => {
    await spans.close()
    spans = registerSdk({ contextManager: null })
    services = await openServices({ scripted: scriptedProvider('scripted', () => ({ text: 'ok', delayMs: 2 })) })
    await Promise.all([
      services.run(chain(modelAStep('a'), modelAStep('b'))),
      services.run(chain(modelAStep('a'), modelAStep('b'))),
    ])
    expect(spans.flows()).toHaveLength(2)
    for (const call of spans.calls()) {
      const flow = spans
        .flows()
        .find(({ attributes }) => attributes['polyphony.flow.id'] === call.attributes['polyphony.flow.id'])
      expect(call.parentSpanContext?.spanId).toBe(flow?.spanContext().spanId)
    }
    await spans.close()
    spans = registerSdk()
  })

  test('is a new span when the flow is resumed', async () => {
    const replies = [counted('one'), failure('PROVIDER_AUTH'), counted('two')]
    services = await openServices({ scripted: scriptedProvider('scripted', replies) })
    const flowId = await services.create(chain(modelAStep('a'), modelAStep('b')))
    await expect(services.execute(flowId)).rejects.toMatchObject({ code: 'PROVIDER_AUTH' })
    spans.reset()
    await services.execute(flowId)
    expect(only(spans.flows()).attributes).toMatchObject({ 'polyphony.flow.resumed': true, 'polyphony.flow.tokens': 240 })
    expect(only(spans.calls()).attributes['polyphony.step.id']).toBe('b')
  })
})

describe('instrumentation of other libraries', () => {
  test('creates no spans of the SDK or of fetch inside a call, so that the vendor gets no traceparent', async () => {
    const recorded: boolean[] = []
    const scripted = scriptedProvider('scripted', async () => {
      await Promise.resolve()
      const span = trace.getTracer('instrumented-fetch').startSpan('POST')
      recorded.push(span.isRecording())
      span.end()
      return counted('ok')
    })
    services = await openServices({ scripted })
    await services.run(chain(modelAStep('a')))
    expect(recorded).toEqual([false])
    expect(spans.all()).toHaveLength(2)
  })

  test('creates spans for the update callbacks of the caller below the span of the flow', async () => {
    services = await openServices({ scripted: scriptedProvider('scripted', [counted('ok')]) })
    const updates: string[] = []
    await services.run(chain(modelAStep('a')), {
      streaming: true,
      onUpdate: ({ type }) => {
        updates.push(type)
        trace.getTracer('backend').startSpan(type).end()
      },
    })
    const flow = only(spans.flows())
    const own = spans.all().filter(({ name }) => updates.includes(name))
    expect(updates).toContain('step_progress')
    expect(own.map(({ name }) => name)).toEqual(updates)
    for (const span of own) expect(span.parentSpanContext?.spanId).toBe(flow.spanContext().spanId)
  })
})

test('labels spans of simulated calls as simulated', async () => {
  const polyphony = await openTestPolyphony({ simulator: true })
  try {
    const { id: threadId } = await polyphony.conversations.createThread(USER, {})
    for (const provider of ['openai', 'anthropic', 'google']) {
      await polyphony.dataSharing.set(USER, provider, { allowCrossProviderContext: true })
    }
    const { id } = await polyphony.orchestrator.createFlow(threadId, USER, createCritiqueFlow())
    const { steps } = await polyphony.orchestrator.executeFlow(id, USER, {
      input: 'Explain in five sentences why the sky is blue.',
    })
    const attempts = steps.flatMap((result) => result.attempts)
    expect(attempts.length).toBeGreaterThan(steps.length)
    expect(spans.calls()).toHaveLength(steps.length)
    expect(spans.calls().flatMap(eventAttributes)).toHaveLength(attempts.length)
    for (const { attributes } of [...spans.calls(), ...spans.flows()]) {
      expect(attributes['polyphony.simulated']).toBe(true)
      expect(attributes).not.toHaveProperty('polyphony.unpriced')
    }
    const providers = new Set(spans.calls().map(({ attributes }) => attributes['gen_ai.provider.name']))
    expect([...providers].every((name) => ['openai', 'anthropic', 'gcp.gemini'].includes(String(name)))).toBe(true)
  } finally {
    await polyphony.close()
  }
})

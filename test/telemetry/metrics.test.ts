import { register } from 'prom-client'
import { afterEach, describe, expect, test } from 'vitest'
import type { Attempt } from '../../src/domain/execution/step-result.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import type { Metrics } from '../../src/telemetry/telemetry.ts'
import { chain, until } from '../support/flows.ts'
import { labelValues, parseExposition, sumOf } from './exposition.ts'
import { ATTEMPT, CALL, CALL_ENDING, FLOW, FLOW_ENDING } from './facts.ts'
import { counted, failure, modelAStep, openServices, type Services, scriptedProvider, USER } from './services.ts'

let services: Services | undefined
afterEach(async () => {
  await services?.polyphony.close()
  services = undefined
})

const read = async (metrics: Metrics) => parseExposition(await metrics.text())

describe('metrics of flows and calls', () => {
  test('add up to the ledger, with unpriced and simulated attempts separate', async () => {
    const usage = {
      inputTokens: 1_000,
      cachedInputTokens: 300,
      cacheWriteTokens: 200,
      outputTokens: 70,
      reasoningTokens: 30,
      totalTokens: 1_070,
    }
    const replies = (index: number) =>
      [failure('PROVIDER_RATE_LIMITED'), counted('ok', { providerCostUsd: 0.125 }), failure('PROVIDER_UNAVAILABLE')][index % 3] ??
      'none'
    services = await openServices({
      scripted: scriptedProvider('scripted', (_, index) => replies(index)),
      unpriced: scriptedProvider('unpriced', () => counted('no price', { usage: { ...usage, source: 'reported' } })),
      pretended: scriptedProvider('pretended', () => counted('not real'), { simulated: true }),
    })
    const metrics = await services.polyphony.telemetry.metrics()
    const flows = [
      chain(modelAStep('a', { maxRetries: 2 }), modelAStep('b', { maxRetries: 2 })),
      chain(modelAStep('a', { model: 'unpriced/m' }), modelAStep('b', { model: 'pretended/m' })),
      chain(modelAStep('a', { maxRetries: 1, fallbacks: [{ model: 'unpriced/m' }] })),
      chain(modelAStep('a', { model: 'unpriced/m', samples: 3 })),
    ]
    const ledger: Attempt[] = []
    let outcomes = 0
    for (const definition of flows) {
      const flowId = await services.create(definition)
      const { steps } = await services.execute(flowId)
      ledger.push(...steps.flatMap(({ attempts }) => attempts))
      outcomes += steps.reduce((sum, { samples }) => sum + (samples?.length ?? 1), 0)
    }
    const samples = await read(metrics)
    const sum = (of: readonly Attempt[], figure: (attempt: Attempt) => number | undefined) =>
      of.reduce((total, attempt) => total + (figure(attempt) ?? 0), 0)

    expect(ledger.length).toBeGreaterThan(outcomes)
    for (const provider of ['scripted', 'unpriced', 'pretended']) {
      const own = ledger.filter((attempt) => attempt.provider === provider)
      expect(own.length).toBeGreaterThan(0)
      expect(sumOf(samples, 'polyphony_attempts_total', { provider })).toBe(own.length)
      expect(sumOf(samples, 'polyphony_cost_usd_total', { provider })).toBe(sum(own, ({ cost }) => cost))
      const kinds = {
        input: sum(own, (attempt) => attempt.usage?.inputTokens),
        cached: sum(own, (attempt) => attempt.usage?.cachedInputTokens),
        cache_write: sum(own, (attempt) => attempt.usage?.cacheWriteTokens),
        output: sum(own, (attempt) => attempt.usage?.outputTokens),
        reasoning: sum(own, (attempt) => attempt.usage?.reasoningTokens),
      }
      for (const [kind, tokens] of Object.entries(kinds)) {
        expect(sumOf(samples, 'polyphony_tokens_total', { provider, kind }), `${provider} ${kind}`).toBe(tokens)
      }
    }
    expect(sumOf(samples, 'polyphony_cost_usd_total')).toBeGreaterThan(0)
    expect(sumOf(samples, 'polyphony_calls_total')).toBe(outcomes)
    expect(sumOf(samples, 'polyphony_calls_total', { outcome: 'ok' })).toBe(outcomes)
    expect(sumOf(samples, 'polyphony_call_duration_seconds_count')).toBe(outcomes)
    expect(sumOf(samples, 'polyphony_retries_total')).toBe(ledger.length - outcomes)
    expect(sumOf(samples, 'polyphony_unpriced_attempts_total', { provider: 'unpriced' })).toBe(5)
    expect(sumOf(samples, 'polyphony_unpriced_attempts_total')).toBe(5)
    expect(sumOf(samples, 'polyphony_attempts_total', { simulated: 'true' })).toBe(1)
    expect(sumOf(samples, 'polyphony_tokens_total', { simulated: 'true', provider: 'pretended', kind: 'input' })).toBe(100)
    expect(sumOf(samples, 'polyphony_tokens_total', { simulated: 'false', provider: 'pretended' })).toBe(0)
  })

  test('count events that were dropped', async () => {
    services = await openServices({ scripted: scriptedProvider('scripted', []) })
    const { events, telemetry } = services.polyphony
    const metrics = await telemetry.metrics()
    expect(sumOf(await read(metrics), 'polyphony_events_dropped_total')).toBe(0)
    events.on({}, () => new Promise(() => {}), { maxQueue: 10 })
    await Promise.all(Array.from({ length: 30 }, () => events.publish({ type: 'a', source: 'test', data: null })))
    await until(() => events.stats().dropped === 20)
    for (let scrape = 0; scrape < 2; scrape++) expect(sumOf(await read(metrics), 'polyphony_events_dropped_total')).toBe(20)
  })

  test('count flows by type and status, and the running ones', async () => {
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const replies = [counted('ok'), failure('PROVIDER_AUTH')]
    const scripted = scriptedProvider('scripted', async (_, index) => {
      if (index < 2) return replies[index] ?? 'none'
      await held
      return 'late'
    })
    services = await openServices({ scripted })
    const metrics = await services.polyphony.telemetry.metrics()
    await services.run(chain(modelAStep('a')))
    await expect(services.run({ ...chain(modelAStep('a')), type: 'parallel' })).rejects.toMatchObject({ code: 'PROVIDER_AUTH' })
    const abort = new AbortController()
    const running = [services.run(chain(modelAStep('a'))), services.run(chain(modelAStep('a')), { signal: abort.signal })]
    await until(() => scripted.requests.length === 4)
    expect(sumOf(await read(metrics), 'polyphony_running_flows')).toBe(2)
    abort.abort()
    release()
    await Promise.allSettled(running)
    const samples = await read(metrics)
    const flows = samples.filter(({ name }) => name === 'polyphony_flows_total')
    expect(flows.map(({ labels, value }) => [labels.type, labels.status, labels.simulated, value]).sort()).toEqual([
      ['parallel', 'FAILED', 'false', 1],
      ['sequential', 'CANCELLED', 'false', 1],
      ['sequential', 'COMPLETED', 'false', 2],
    ])
    expect(sumOf(samples, 'polyphony_running_flows')).toBe(0)
    expect(sumOf(samples, 'polyphony_flow_duration_seconds_count')).toBe(4)
    expect(sumOf(samples, 'polyphony_calls_total', { outcome: 'PROVIDER_AUTH' })).toBe(1)
    expect(sumOf(samples, 'polyphony_calls_total', { outcome: 'FLOW_CANCELLED' })).toBe(1)
  })

  test('distinguish a flow left to other processes from a failed one', async () => {
    const scripted = scriptedProvider('scripted', [{ text: '', hang: true }])
    services = await openServices({ scripted })
    const metrics = await services.polyphony.telemetry.metrics()
    const running = services.run(chain(modelAStep('a')))
    await until(() => scripted.requests.length === 1)
    const refused = expect(running).rejects.toMatchObject({ code: 'FLOW_INTERRUPTED' })
    await services.polyphony.close({ handOver: true })
    await refused
    const samples = await read(metrics)
    expect(sumOf(samples, 'polyphony_flows_total', { status: 'INTERRUPTED' })).toBe(1)
    expect(sumOf(samples, 'polyphony_flows_total')).toBe(1)
    expect(sumOf(samples, 'polyphony_running_flows')).toBe(0)
  })

  test('count the call of a single executed step, but no flow', async () => {
    services = await openServices({ scripted: scriptedProvider('scripted', () => counted('ok')) })
    const { orchestrator, telemetry } = services.polyphony
    const { flowId } = await services.run(chain(modelAStep('a')))
    const metrics = await telemetry.metrics()
    await orchestrator.executeStep(flowId, 'a', USER)
    const samples = await read(metrics)
    expect(sumOf(samples, 'polyphony_calls_total')).toBe(1)
    expect(sumOf(samples, 'polyphony_flows_total')).toBe(0)
    expect(sumOf(samples, 'polyphony_running_flows')).toBe(0)
  })
})

describe('labels of metrics are bounded', () => {
  test('500 models, flows, threads and failures add no time series', async () => {
    const scripted = scriptedProvider('scripted', () => counted('ok'))
    services = await openServices({ scripted })
    const metrics = await services.polyphony.telemetry.metrics()
    const { flowId } = await services.run(chain(modelAStep('a')))
    const before = await read(metrics)
    for (let index = 0; index < 500; index++) {
      await services.run({ ...chain(modelAStep('a', { model: `scripted/model-x${index}` })), name: `flow-x${index}` })
    }
    const text = await metrics.text()
    const after = parseExposition(text)
    expect(sumOf(after, 'polyphony_calls_total')).toBe(501)
    const shapes = (samples: typeof after) =>
      samples.filter(({ name }) => name.startsWith('polyphony_')).map(({ name, labels }) => JSON.stringify([name, labels]))
    expect(shapes(after)).toEqual(shapes(before))
    const free = ['model-x', 'flow-x', 'model-a', USER, services.threadId, flowId]
    expect(free.filter((word) => text.includes(word))).toEqual([])
  })

  test('providers that are not configured, strange flow types, methods, statuses and addresses become "other"', async () => {
    const { metrics, observer } = createMetrics({ providerIds: ['openai'], flowTypes: ['sequential'], droppedEvents: () => 0 })
    for (let index = 0; index < 500; index++) {
      const provider = `made-up-${index}`
      // As a definition of a later version could have it.
      const flow = await observer.flowStarted({ ...FLOW, ...JSON.parse(`{"flowType":"type-${index}"}`) })
      const call = flow.callStarted?.({ ...CALL, provider })
      call?.attempted({ ...ATTEMPT, provider })
      call?.ended({ ...CALL_ENDING, answer: { provider, model: `m-${index}`, finishReason: 'stop' } })
      flow.ended(FLOW_ENDING)
      metrics.httpRequest({ method: `M${index}`, status: index * 7, seconds: 0.1 })
      metrics.httpRequest({ method: 'GET', route: `/api/v1/flows/flow_${index}`, status: 200, seconds: 0.1 })
    }
    const samples = await read(metrics)
    expect(labelValues(samples, 'provider')).toEqual(['other'])
    expect(labelValues(samples, 'type')).toEqual(['other'])
    expect(labelValues(samples, 'method')).toEqual(['GET', 'other'])
    expect(labelValues(samples, 'status_class')).toEqual(['1xx', '2xx', '3xx', '4xx', '5xx', 'other'])
    expect(labelValues(samples, 'route')).toHaveLength(301)
    expect(labelValues(samples, 'route')).toContain('other')
    expect(sumOf(samples, 'polyphony_http_request_duration_seconds_count')).toBe(1_000)
    expect(sumOf(samples, 'polyphony_calls_total', { provider: 'other' })).toBe(500)
  })
})

describe('the registry', () => {
  test('is separate for each Polyphony and from the global one', async () => {
    services = await openServices({ scripted: scriptedProvider('scripted', () => 'ok') })
    const other = await openServices({ scripted: scriptedProvider('scripted', () => 'ok') })
    try {
      const [mine, theirs] = [await services.polyphony.telemetry.metrics(), await other.polyphony.telemetry.metrics()]
      await services.run(chain(modelAStep('a')))
      expect(await services.polyphony.telemetry.metrics()).toBe(mine)
      expect(sumOf(await read(mine), 'polyphony_flows_total')).toBe(1)
      expect(sumOf(await read(theirs), 'polyphony_flows_total')).toBe(0)
      expect(register.getMetricsAsArray()).toEqual([])
    } finally {
      await other.polyphony.close()
    }
  })

  test('contains requests, sockets, subscriptions and figures of the process', async () => {
    const { metrics } = createMetrics({ providerIds: [], flowTypes: [], droppedEvents: () => 0 })
    metrics.httpRequest({ method: 'POST', route: '/api/v1/flows/:flowId/execute', status: 202, seconds: 0.03 })
    metrics.openSockets(7)
    metrics.openSockets(5)
    metrics.subscriptions(9)
    const samples = await read(metrics)
    const labels = { method: 'POST', route: '/api/v1/flows/:flowId/execute', status_class: '2xx' }
    expect(sumOf(samples, 'polyphony_http_request_duration_seconds_count', labels)).toBe(1)
    expect(sumOf(samples, 'polyphony_http_request_duration_seconds_sum', labels)).toBeCloseTo(0.03)
    expect(sumOf(samples, 'polyphony_open_sockets')).toBe(5)
    expect(sumOf(samples, 'polyphony_subscriptions')).toBe(9)
    expect(sumOf(samples, 'process_cpu_seconds_total')).toBeGreaterThan(0)
    expect(metrics.contentType).toBe('text/plain; version=0.0.4; charset=utf-8')
  })
})

import { expect, test } from 'vitest'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { MAX_SERVICES } from '../../src/telemetry/service-metrics.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { labelValues, parseExposition, sumOf } from './exposition.ts'
import { ATTEMPT, CALL, CALL_ENDING, FLOW, figuresOf } from './facts.ts'

test('show the state, restarts, failed probes and calls of every service as they are at the scrape', async () => {
  let services = [figuresOf('one', { restarts: 2, inFlight: 3, failedProbes: 4, answeredCalls: 5, unansweredCalls: 6 })]
  const { metrics } = createMetrics({ providerIds: [], flowTypes: [], droppedEvents: () => 0, services: () => services })
  const read = async () => parseExposition(await metrics.text())
  for (let scrape = 0; scrape < 2; scrape++) {
    const samples = await read()
    const service = 'one'
    expect(sumOf(samples, 'polyphony_service_state', { service, state: 'running' })).toBe(1)
    expect(sumOf(samples, 'polyphony_service_state', { service })).toBe(1)
    expect(sumOf(samples, 'polyphony_service_restarts_total', { service })).toBe(2)
    expect(sumOf(samples, 'polyphony_service_calls_in_flight', { service })).toBe(3)
    expect(sumOf(samples, 'polyphony_service_failed_probes_total', { service })).toBe(4)
    expect(sumOf(samples, 'polyphony_service_calls_total', { service, outcome: 'answered' })).toBe(5)
    expect(sumOf(samples, 'polyphony_service_calls_total', { service, outcome: 'unanswered' })).toBe(6)
  }
  services = [figuresOf('two', { state: 'failed' })]
  const later = await read()
  expect(labelValues(later, 'service')).toEqual(['two'])
  expect(sumOf(later, 'polyphony_service_state', { service: 'two', state: 'failed' })).toBe(1)
})

test('have a bounded number of labels, however many programs register themselves', async () => {
  const services = Array.from({ length: 300 }, (_, index) => figuresOf(`s${index}`, { answeredCalls: 1 }))
  const { metrics, observer } = createMetrics({
    providerIds: ['openai'],
    flowTypes: [],
    droppedEvents: () => 0,
    services: () => services,
    isService: (id) => id.startsWith('s'),
  })
  for (const provider of ['openai', 'stranger', ...services.map(({ id }) => id)]) {
    const call = (await observer.flowStarted(FLOW)).callStarted?.({ ...CALL, provider })
    call?.attempted({ ...ATTEMPT, provider })
    call?.ended({ ...CALL_ENDING, answer: { provider, model: 'm', finishReason: 'stop' } })
  }
  const samples = parseExposition(await metrics.text())
  expect(labelValues(samples, 'service')).toHaveLength(MAX_SERVICES + 1)
  expect(sumOf(samples, 'polyphony_service_state', { service: 'other', state: 'running' })).toBe(300 - MAX_SERVICES)
  expect(sumOf(samples, 'polyphony_service_calls_total', { outcome: 'answered' })).toBe(300)
  expect(labelValues(samples, 'provider')).toHaveLength(MAX_SERVICES + 2)
  expect(sumOf(samples, 'polyphony_attempts_total', { provider: 's0' })).toBe(1)
  // The services beyond the bound, and the stranger.
  expect(sumOf(samples, 'polyphony_attempts_total', { provider: 'other' })).toBe(300 - MAX_SERVICES + 1)
})

test('of an instance show the services that were registered after its start', async () => {
  const polyphony = await openTestPolyphony()
  try {
    const metrics = await polyphony.telemetry.metrics()
    const read = async () => parseExposition(await metrics.text())
    expect(labelValues(await read(), 'service')).toEqual([])
    await polyphony.services.register({ id: 'one', type: 'agent', handlers: { onMessage: () => 'hello' } })
    await polyphony.services.register({
      id: 'broken',
      type: 'agent',
      handlers: { onMessage: () => Promise.reject(new Error('no')) },
    })
    for (const id of ['one', 'broken']) {
      await polyphony.services.start(id)
      await polyphony.services.call(id, { prompt: 'x' }).catch(() => undefined)
    }
    const samples = await read()
    expect(sumOf(samples, 'polyphony_service_state', { service: 'one', state: 'running' })).toBe(1)
    expect(sumOf(samples, 'polyphony_service_calls_total', { service: 'one', outcome: 'answered' })).toBe(1)
    expect(sumOf(samples, 'polyphony_service_calls_total', { service: 'broken', outcome: 'unanswered' })).toBe(1)
  } finally {
    await polyphony.close()
  }
})

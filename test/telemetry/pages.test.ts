import { describe, expect, test } from 'vitest'
import { GEN_AI, GENERAL, POLYPHONY } from '../../src/telemetry/gen-ai-names.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { codeIn, readMarkdown, tableOf } from '../support/markdown.ts'
import { parseExposition } from './exposition.ts'
import { ATTEMPT, CALL, CALL_ENDING, FLOW, FLOW_ENDING, figuresOf } from './facts.ts'

const page = readMarkdown('docs/observability.md').replaceAll(/^```.*?^```/gms, '')

describe('the documentation of observability', () => {
  test('names every attribute of our spans and no other', () => {
    const names: readonly string[] = [...Object.values(GEN_AI), ...Object.values(GENERAL), ...Object.values(POLYPHONY)]
    const inTable = tableOf(page, 'Attribute').flatMap(([attributes = '']) => codeIn(attributes))
    expect(inTable.filter((name) => !names.includes(name))).toEqual([])
    expect(names.filter((name) => !codeIn(page).includes(name))).toEqual([])
  })

  test('names every metric with its labels', async () => {
    const { metrics, observer } = createMetrics({
      providerIds: ['openai'],
      flowTypes: ['sequential'],
      droppedEvents: () => 0,
      services: () => [figuresOf('writer')],
    })
    const flow = await observer.flowStarted(FLOW)
    const call = flow.callStarted?.(CALL)
    call?.attempted({ ...ATTEMPT, usage: { inputTokens: 1, source: 'reported' } })
    call?.attempted({ ...ATTEMPT, number: 2, cost: 1 })
    call?.ended(CALL_ENDING)
    flow.ended(FLOW_ENDING)
    metrics.httpRequest({ method: 'GET', status: 200, seconds: 1 })
    const found = new Map(
      parseExposition(await metrics.text())
        .filter(({ name }) => name.startsWith('polyphony_'))
        .map(({ name, labels: { le: _, ...labels } }) => [
          name.replace(/_(bucket|sum|count)$/, ''),
          Object.keys(labels).toSorted(),
        ]),
    )
    const documented = tableOf(page, 'Metric').map(([metric = '', labels = '']) => [codeIn(metric)[0], codeIn(labels).toSorted()])
    expect(Object.fromEntries(documented)).toEqual(Object.fromEntries(found))
  })
})

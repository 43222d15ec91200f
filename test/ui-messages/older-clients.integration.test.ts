import { expect, test } from 'vitest'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import { toUIMessageStreamResponse } from '../../src/ui-messages/ui-message-response.ts'
import { HAS_CLIENTS, runWithClients } from '../support/clients.ts'

const common = { flowId: 'f', stepId: 'a', path: 'a', iteration: 1, timestamp: new Date(0) }
const call = { turn: 1, callId: 'c', tool: 'function/price' }

/** A flow with a part of every kind. */
async function* updates(): AsyncGenerator<FlowUpdate> {
  const start = { name: 'n', flowType: 'sequential', totalSteps: 1, resumed: false, simulated: false }
  const run = { provider: 'p', model: 'm', action: 'generate', stepIndex: 0, sharing: [] }
  yield { ...common, seq: 1, type: 'flow_start', data: start }
  yield { ...common, seq: 2, type: 'step_start', data: run }
  yield { ...common, seq: 3, type: 'step_progress', data: { delta: 'Hm.', kind: 'reasoning' } }
  yield { ...common, seq: 4, type: 'tool_call', data: { ...call, arguments: { sku: 'x' } } }
  yield { ...common, seq: 5, type: 'tool_result', data: { ...call, output: '5', isError: false, executionTime: 1 } }
  yield { ...common, seq: 6, type: 'step_progress', data: { delta: 'It costs' } }
  yield { ...common, seq: 7, type: 'step_start', data: run }
  yield { ...common, seq: 8, type: 'step_progress', data: { delta: 'It costs 5.' } }
  yield {
    ...common,
    seq: 9,
    type: 'flow_complete',
    data: {
      flowId: 'f',
      status: 'COMPLETED',
      finalOutput: 'It costs 5.',
      steps: [],
      totalCost: 0,
      totalTokens: 0,
      usage: { source: 'unknown' },
      unpricedSteps: 0,
      totalExecutionTime: 1,
      simulated: false,
    },
  }
}

test.skipIf(!HAS_CLIENTS)('versions 5 and 6 of the AI SDK read the stream as well', async () => {
  const response = toUIMessageStreamResponse(updates(), { answerSteps: [{ stepId: 'a', iteration: 1 }] })
  const seen = await runWithClients('test/ui-messages/older-clients-program.mjs', { input: await response.text() })
  const message = {
    id: 'f',
    metadata: { flowId: 'f', status: 'COMPLETED', costUsd: null },
    parts: [
      { type: 'data-flow', data: { status: 'COMPLETED' } },
      { type: 'step-start' },
      { type: 'data-step', data: { status: 'RUNNING' } },
      { type: 'reasoning', text: 'Hm.', state: 'done' },
      { type: 'dynamic-tool', toolName: 'function/price', state: 'output-available', output: '5' },
      { type: 'text', text: 'It costs', providerMetadata: { polyphony: { void: true } } },
      { type: 'text', text: 'It costs 5.', state: 'done' },
    ],
  }
  expect(seen).toMatchObject([message, message])
})

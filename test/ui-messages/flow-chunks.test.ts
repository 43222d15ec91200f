import type { UIMessageChunk } from 'ai'
import { expect, expectTypeOf, test } from 'vitest'
import type { FlowUpdate, FlowUpdateData, FlowUpdateType } from '../../src/domain/execution/flow-update.ts'
import { createFlowChunks, type FlowChunkOptions } from '../../src/ui-messages/flow-chunks.ts'
import type { FlowDataParts, FlowMessageMetadata, FlowUIMessageChunk } from '../../src/ui-messages/ui-message.ts'

type Given = { [Type in FlowUpdateType]: readonly [Type, FlowUpdateData[Type], string?] }[FlowUpdateType]

/** The chunks of these updates; the third value names their step. */
function chunksOf(given: readonly Given[], options: FlowChunkOptions = {}): readonly FlowUIMessageChunk[] {
  const { read, end } = createFlowChunks({ answerSteps: [{ stepId: 'a', iteration: 1 }], ...options })
  const updates = given.map(([type, data, stepId], index) => ({
    seq: index + 1,
    flowId: 'f',
    ...(stepId !== undefined && { stepId, path: stepId, iteration: 1 }),
    type,
    data,
    timestamp: new Date(0),
  })) as readonly FlowUpdate[]
  return [...updates.flatMap((update) => read(update)), ...end()]
}
const typesOf = (chunks: readonly FlowUIMessageChunk[]) => chunks.map(({ type }) => type)
const textsOf = (chunks: readonly FlowUIMessageChunk[]) =>
  chunks.filter(({ type }) => type.startsWith('text-')).map(({ type, ...rest }) => ({ type, ...rest }))

const START: Given = ['flow_start', { name: 'n', flowType: 'sequential', totalSteps: 1, resumed: false, simulated: false }]
const begins = (stepId: string): Given => [
  'step_start',
  { provider: 'p', model: 'm', action: 'generate', stepIndex: 0, sharing: [] },
  stepId,
]
const says = (delta: string, stepId = 'a'): Given => ['step_progress', { delta }, stepId]
const thinks = (delta: string, stepId = 'a'): Given => ['step_progress', { delta, kind: 'reasoning' }, stepId]
const repeats = (restart: boolean, stepId = 'a'): Given => [
  'step_retry',
  {
    attempt: 1,
    delayMs: 0,
    error: { code: 'PROVIDER_UNAVAILABLE', message: 'away', retryable: true, details: {} },
    provider: 'p',
    model: 'm',
    restart,
  },
  stepId,
]
const answers = (finalOutput: string): Given => [
  'flow_complete',
  {
    flowId: 'f',
    status: 'COMPLETED',
    finalOutput,
    steps: [],
    totalCost: 0,
    totalTokens: 0,
    usage: { source: 'unknown' },
    unpricedSteps: 0,
    totalExecutionTime: 0,
    simulated: false,
  },
]
const waits = (kind: 'approve' | 'wait'): Given => [
  'flow_paused',
  { reason: 'waits', waits: [{ path: 'a', iteration: 1, kind, hash: 'h', since: '2026-01-01T00:00:00Z', assignees: ['eve'] }] },
]
const VOID = { polyphony: { void: true } }

test('the chunks are those of the AI SDK', () => {
  expectTypeOf<FlowUIMessageChunk>().toExtend<UIMessageChunk<FlowMessageMetadata, FlowDataParts>>()
})

test('text of a step that begins again is marked as void, and the new text follows as a part of its own', () => {
  const chunks = chunksOf([START, begins('a'), says('first'), begins('a'), says('sec'), says('ond'), answers('second')])
  expect(textsOf(chunks)).toEqual([
    { type: 'text-start', id: 'answer:3' },
    { type: 'text-delta', id: 'answer:3', delta: 'first' },
    { type: 'text-end', id: 'answer:3', providerMetadata: VOID },
    { type: 'text-start', id: 'answer:5' },
    { type: 'text-delta', id: 'answer:5', delta: 'sec' },
    { type: 'text-delta', id: 'answer:5', delta: 'ond' },
    { type: 'text-end', id: 'answer:5' },
  ])
})

test('a repetition voids reasoning too where the answer restarts, and nothing where it continues', () => {
  const ends = (restart: boolean) =>
    chunksOf([START, begins('a'), thinks('hm'), says('x'), repeats(restart), says('y'), answers(restart ? 'y' : 'xy')])
      .filter(({ type }) => type.endsWith('-end'))
      .map((chunk) => ('providerMetadata' in chunk ? `${chunk.type} void` : chunk.type))
  expect(ends(true)).toEqual(['text-end void', 'reasoning-end void', 'text-end'])
  expect(ends(false)).toEqual(['text-end', 'reasoning-end'])
})

test('an answer that does not begin with the streamed text is sent whole', () => {
  expect(textsOf(chunksOf([START, begins('a'), says('other'), answers('the answer')])).slice(2)).toEqual([
    { type: 'text-end', id: 'answer:3', providerMetadata: VOID },
    { type: 'text-start', id: 'answer:4' },
    { type: 'text-delta', id: 'answer:4', delta: 'the answer' },
    { type: 'text-end', id: 'answer:4' },
  ])
})

test('steps that run together share a step of the AI SDK, which would end the parts of the others', () => {
  const chunks = chunksOf([START, begins('b'), thinks('1', 'b'), begins('c'), thinks('2', 'c'), thinks('3', 'b'), answers('x')])
  expect(typesOf(chunks).filter((type) => type.endsWith('-step') && type !== 'data-step')).toEqual(['start-step', 'finish-step'])
  expect(chunks.filter(({ type }) => type === 'reasoning-start')).toHaveLength(2)
})

test('a flow that failed and was executed again has one message, whose end is the last one', () => {
  const error: Given = ['error', { code: 'STEP_FAILED', message: 'no', retryable: false, details: {} }]
  const types = typesOf(chunksOf([START, begins('a'), error, START, begins('a'), says('x'), answers('x')]))
  expect(types.filter((type) => ['start', 'error', 'finish'].includes(type))).toEqual(['start', 'finish'])
})

test('a flow that waits says for what, not who may answer, and its message ends without an error', () => {
  const chunks = chunksOf([START, waits('approve')])
  expect(chunks.findLast(({ type }) => type === 'data-flow')).toEqual({
    type: 'data-flow',
    id: 'f',
    data: {
      flowId: 'f',
      name: 'n',
      flowType: 'sequential',
      totalSteps: 1,
      simulated: false,
      status: 'PAUSED',
      waits: [{ path: 'a', iteration: 1, kind: 'approve', hash: 'h' }],
    },
  })
  expect(chunks.at(-1)).toMatchObject({ type: 'finish', messageMetadata: { flowId: 'f', status: 'PAUSED' } })
  const after = chunksOf([START, waits('approve'), begins('a')]).filter(({ type }) => type === 'data-flow')
  expect(after.at(-1)).toMatchObject({ data: { status: 'FAILED' } })
})

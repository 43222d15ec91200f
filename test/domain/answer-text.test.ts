import { expect, test } from 'vitest'
import { createAnswerText } from '../../src/domain/answers/answer-text.ts'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'

const of = (stepId: string, iteration = 1) => ({ seq: 1, flowId: 'f', stepId, path: stepId, iteration, timestamp: new Date(0) })
const says = (stepId: string, delta: string, iteration?: number): FlowUpdate => ({
  ...of(stepId, iteration),
  type: 'step_progress',
  data: { delta },
})
const starts = (stepId: string): FlowUpdate => ({
  ...of(stepId),
  type: 'step_start',
  data: { provider: 'p', model: 'm', action: 'generate', stepIndex: 0, sharing: [] },
})

test('only text of the run that writes the answer is streamed', () => {
  const text = createAnswerText([{ stepId: 'refine', iteration: 2 }])
  expect(text.chunkOf(says('draft', 'a'))).toBeUndefined()
  expect(text.chunkOf(says('refine', 'b', 1))).toBeUndefined()
  expect(text.chunkOf(says('refine', 'c', 2))).toBe('c')
  expect(text.restOf('c and more')).toBe(' and more')
})

test('if the answering step is known only at the end, the rest is the whole answer', () => {
  const text = createAnswerText([])
  expect(text.chunkOf(says('draft', 'a'))).toBeUndefined()
  expect(text.restOf('the answer')).toBe('the answer')
})

test('text of a restarted step is not streamed twice, and an answer that differs from the streamed text is an error', () => {
  const text = createAnswerText([{ stepId: 'a', iteration: 1 }])
  expect(text.chunkOf(starts('a'))).toBeUndefined()
  expect(text.chunkOf(says('a', 'first words'))).toBe('first words')
  expect(text.chunkOf(starts('a'))).toBeUndefined()
  expect(text.chunkOf(says('a', 'first words'))).toBeUndefined()
  expect(text.restOf('first words, and others')).toBe(', and others')
  expect(() => text.restOf('other words')).toThrow(expect.objectContaining({ code: 'PROVIDER_BAD_REPLY' }))
})

test('text that turned out to be reasoning is void as well, a repetition before any text is not', () => {
  const repeats = (restart: boolean): FlowUpdate => ({
    ...of('a'),
    type: 'step_retry',
    data: {
      attempt: 1,
      delayMs: 0,
      error: { code: 'PROVIDER_BAD_REPLY', message: 'm', retryable: true, details: {} },
      provider: 'p',
      model: 'm',
      restart,
    },
  })
  const text = createAnswerText([{ stepId: 'a', iteration: 1 }])
  expect(text.isVoidedBy(repeats(true))).toBe(false)
  text.chunkOf(says('a', 'hm'))
  expect([text.isVoidedBy(repeats(false)), text.isVoidedBy(repeats(true))]).toEqual([false, true])
  text.chunkOf(repeats(true))
  expect(text.chunkOf(says('a', 'the answer'))).toBeUndefined()
})

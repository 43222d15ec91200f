import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import type { CallResponse } from '../../src/calls/call.ts'
import type { FlowStep } from '../../src/domain/definition/flow-definition.ts'
import { UNKNOWN_USAGE } from '../../src/domain/execution/usage.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { answerReader, type Repair } from '../../src/orchestrator/steps/answers/answer-reader.ts'

const response = (text: string, more: Partial<CallResponse> = {}): CallResponse => ({
  text,
  provider: 'p',
  model: 'm',
  requestedModel: 'm',
  simulated: false,
  finishReason: 'stop',
  usage: UNKNOWN_USAGE,
  notes: [],
  ...more,
})

const evaluateStep = (more: Partial<FlowStep> = {}): FlowStep => ({
  id: 'a',
  provider: 'p',
  model: 'm',
  action: 'evaluate',
  fallbacks: [],
  ...more,
})

const NO_REPAIR: Repair = () => {
  throw new Error('a repair call was made')
}
const repairedBy =
  (text: string): Repair =>
  (_text, _problem) =>
    Promise.resolve(response(text))
const failing: Repair = () => Promise.reject(new OrchestratorError('PROVIDER_UNAVAILABLE', 'gone'))

test('a step without a schema and a verdict has no reader', () => {
  expect(answerReader(evaluateStep(), undefined)).toBeUndefined()
})

describe('a requested verdict', () => {
  const read = (text: string, repair: Repair) => answerReader(evaluateStep(), 'ask')?.read(response(text), repair)

  test('is read from JSON without a repair', async () => {
    expect(await read('{"score":0.5,"approved":false}', NO_REPAIR)).toMatchObject({ value: { score: 0.5 }, notes: [] })
  })

  test('is read from the repaired answer, with a note', async () => {
    expect(await read('Fine.', repairedBy('{"score":1}'))).toMatchObject({
      value: { score: 1 },
      notes: ['verdict read after one repair call'],
    })
  })

  test('is missing, with a note, if the repair fails', async () => {
    expect(await read('Fine.', failing)).toEqual({ notes: ['no verdict: it contains no verdict'] })
  })
})

test('a verdict that was not requested is read if the answer contains one, without a repair', async () => {
  const reader = answerReader(evaluateStep(), 'read')
  expect(reader?.request).toBeUndefined()
  expect(await reader?.read(response('No numbers.'), NO_REPAIR)).toEqual({ value: undefined, notes: [] })
})

describe('an answer with an output schema', () => {
  const outputSchema = z.object({ name: z.string() })

  test('fails with OUTPUT_INVALID where it cannot be read even after one repair', async () => {
    const reader = answerReader(evaluateStep({ outputSchema }), undefined)
    await expect(reader?.read(response('no'), repairedBy('still no'))).rejects.toMatchObject({ code: 'OUTPUT_INVALID' })
  })

  test('is not repaired if it was cut, and fails with the code of the cut', async () => {
    const cut = response('{"name":', { finishReason: 'content_filter', cut: 'the answer was cut by a filter' })
    const reader = answerReader(evaluateStep({ outputSchema }), undefined)
    await expect(reader?.read(cut, NO_REPAIR)).rejects.toMatchObject({ code: 'CONTENT_FILTERED' })
  })

  test('of a reviewer that cannot be read gives no verdict and is not a failure', async () => {
    const reader = answerReader(evaluateStep({ outputSchema }), 'ask')
    expect(await reader?.read(response('no'), repairedBy('no'))).toMatchObject({ notes: [expect.stringContaining('no verdict')] })
  })
})

import { describe, expect, test } from 'vitest'
import { attemptLedger } from '../../src/calls/attempt-ledger.ts'
import type { CallResponse } from '../../src/calls/call.ts'
import { cutNote, unusable } from '../../src/calls/usable-answer.ts'
import { callFactsOf } from '../../src/domain/execution/call-facts.ts'
import { callAnswer, manualClock, prepared, tryContext } from '../support/calls.ts'

const check = (answer: Partial<CallResponse>, context = tryContext()) => unusable(callAnswer(answer), prepared(), context)

describe('an answer without text is an error', () => {
  test.each([
    ['nothing', { text: '' }, 'PROVIDER_BAD_REPLY', 'an empty answer'],
    ['white space', { text: ' \n\t' }, 'PROVIDER_BAD_REPLY', 'only white space'],
    ['characters of no width', { text: '\ufeff\u200b\u2060' }, 'PROVIDER_BAD_REPLY', 'only white space'],
    ['reasoning', { text: '', reasoningText: 'hm' }, 'PROVIDER_BAD_REPLY', 'only reasoning'],
    [
      'a tool call',
      { text: '', toolCalls: [{ name: 'f', arguments: '{}' }], finishReason: 'tool_calls' },
      'PROVIDER_BAD_REPLY',
      'only a tool call',
    ],
    ['an unknown end', { text: '', finishReason: 'other' }, 'PROVIDER_BAD_REPLY', 'finish reason other'],
    ['a filter', { text: '', finishReason: 'content_filter' }, 'CONTENT_FILTERED', 'filtered'],
    ['a refusal', { text: '', finishReason: 'refusal', refusal: 'no' }, 'CONTENT_FILTERED', 'refused'],
    ['a refusal beside text', { text: 'Well', refusal: 'no' }, 'CONTENT_FILTERED', 'refused'],
    ['the limit of the provider', { text: '', finishReason: 'length' }, 'OUTPUT_INVALID', "the provider's own limit"],
  ] as const)('an answer without text is an error: %s', (_, answer, code, message) => {
    const error = check(answer)
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) })
    expect(error?.retryable).toBe(code === 'PROVIDER_BAD_REPLY')
    expect(callFactsOf(error).answer).toMatchObject(answer)
  })

  test('the error of a reached output token limit names the limit, its value and the reasoning tokens', () => {
    const answer = callAnswer({
      text: '',
      finishReason: 'length',
      usage: { inputTokens: 9, outputTokens: 50, reasoningTokens: 50, totalTokens: 59, source: 'reported' },
    })
    const request = prepared({ settings: { maxTokens: 50 } })
    expect(unusable(answer, request, tryContext())).toMatchObject({
      message: expect.stringMatching(/settings\.maxTokens 50 .*50 of 50 tokens by reasoning/),
      details: { bound: 'maxTokens', max: 50 },
    })
    expect(unusable(answer, request, { ...tryContext(), engineMaxTokens: 4_096 })).toMatchObject({
      message: expect.stringContaining('4096 output tokens that a step without settings.maxTokens gets'),
      details: { bound: 'limits', max: 4_096 },
    })
  })

  test('an answer with a short text is usable', () => {
    expect(check({ text: '0' })).toBeUndefined()
    expect(check({ text: '.', toolCalls: [{ name: 'f', arguments: '{}' }] })).toBeUndefined()
    expect(check({ text: '\ufeffa' })).toBeUndefined()
  })
})

describe('a cut answer', () => {
  test.each([
    ['length', 'was cut', 'OUTPUT_INVALID'],
    ['content_filter', 'was cut by a filter', 'CONTENT_FILTERED'],
    ['other', 'may be cut', 'PROVIDER_BAD_REPLY'],
  ] as const)(
    'that ended with %s is passed on with a note, or fails where the call wants it complete',
    (finishReason, note, code) => {
      const cut = cutNote(callAnswer({ finishReason }), prepared(), {})
      expect(cut).toContain(note)
      expect(check({ text: 'half', finishReason, cut })).toBeUndefined()
      expect(check({ text: 'half', finishReason, cut }, { ...tryContext(), complete: true })).toMatchObject({ code })
    },
  )

  test('a complete answer has no note', () => {
    expect(cutNote(callAnswer({ finishReason: 'stop' }), prepared(), {})).toBeUndefined()
  })
})

describe('the ledger row of an unusable answer', () => {
  const layer = attemptLedger({ price: () => ({ costUsd: 1, source: 'prices', estimated: false }) }, manualClock())

  test('holds the usage, the cost and the error', async () => {
    const context = tryContext()
    await expect(layer(async () => callAnswer({ text: '' }))(prepared(), context)).rejects.toMatchObject({
      code: 'PROVIDER_BAD_REPLY',
    })
    expect(context.attempts).toMatchObject([{ cost: 1, usage: callAnswer().usage, error: { code: 'PROVIDER_BAD_REPLY' } }])
  })

  test('white space is delivered with the first visible character or not at all', async () => {
    const chunks: string[] = []
    const context = tryContext({ onDelta: (text) => chunks.push(text) })
    const blank = layer(async (_, { onDelta }) => {
      onDelta?.(' ')
      onDelta?.('\n')
      return callAnswer({ text: ' \n' })
    })
    await expect(blank(prepared(), context)).rejects.toMatchObject({ code: 'PROVIDER_BAD_REPLY' })
    expect([chunks, context.progress.textDelivered]).toEqual([[], false])
    const streamed = layer(async (_, { onDelta }) => {
      for (const chunk of [' ', 'a', ' ', 'b']) onDelta?.(chunk)
      return callAnswer({ text: ' a b' })
    })
    await streamed(prepared(), context)
    expect(chunks).toEqual([' a', ' ', 'b'])
  })
})

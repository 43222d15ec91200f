import { describe, expect, test } from 'vitest'
import type { ModelRequest } from '../../src/domain/execution/model-call.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'

const request: ModelRequest = { model: 'tiny', messages: [{ role: 'user', content: 'hello' }], settings: {} }
const signal = new AbortController().signal

describe('createScriptedProvider', () => {
  test('answers in the order of its list and records the requests', async () => {
    const provider = createScriptedProvider({ replies: ['one', { text: 'two', model: 'tiny-2', finishReason: 'length' }] })
    expect(await provider.generate(request, { signal })).toEqual({
      text: 'one',
      model: 'tiny',
      finishReason: 'stop',
      usage: { source: 'unknown' },
      notes: [],
    })
    expect(await provider.generate(request, { signal })).toMatchObject({ text: 'two', model: 'tiny-2', finishReason: 'length' })
    expect(provider.requests).toEqual([request, request])
  })

  test('rejects with PROVIDER_REJECTED once its list is used up', async () => {
    const provider = createScriptedProvider({ id: 'mine', replies: [] })
    await expect(provider.generate(request, { signal })).rejects.toMatchObject({
      code: 'PROVIDER_REJECTED',
      details: { provider: 'mine', request: 1 },
    })
  })

  test('calls tools, with and without text, and finishes with these calls', async () => {
    const toolCalls = [{ id: 'call_1', name: 'clock', arguments: '{}' }]
    const provider = createScriptedProvider({ replies: [{ toolCalls }, { text: 'I look.', toolCalls }, 'noon'] })
    expect(await provider.generate(request, { signal })).toMatchObject({ text: '', toolCalls, finishReason: 'tool_calls' })
    const chunks: string[] = []
    const second = await provider.generate(request, { signal, onDelta: (text) => chunks.push(text) })
    expect(second).toMatchObject({ text: 'I look.', toolCalls, finishReason: 'tool_calls' })
    expect(chunks).toEqual(['I look.'])
    expect(await provider.generate(request, { signal })).toMatchObject({ text: 'noon', finishReason: 'stop' })
  })

  test('computes an answer from the request', async () => {
    const provider = createScriptedProvider({ replies: ({ messages }, index) => `${index}:${messages[0]?.content}` })
    expect(await provider.generate(request, { signal })).toMatchObject({ text: '0:hello' })
  })

  test('rejects with the error of the script', async () => {
    const error = new OrchestratorError('PROVIDER_RATE_LIMITED', 'slow down')
    await expect(createScriptedProvider({ replies: [error] }).generate(request, { signal })).rejects.toBe(error)
  })

  test('streams its chunks in order, or the whole text as one chunk', async () => {
    const provider = createScriptedProvider({ replies: [{ text: 'abc', chunks: ['a', 'bc'], delayMs: 1 }, 'whole'] })
    const chunks: string[] = []
    await provider.generate(request, { signal, onDelta: (text) => chunks.push(text) })
    await provider.generate(request, { signal, onDelta: (text) => chunks.push(text) })
    expect(chunks).toEqual(['a', 'bc', 'whole'])
  })

  test('delivers its chunks and then hangs until it is aborted, rejecting with the reason', async () => {
    const provider = createScriptedProvider({ replies: [{ text: 'ab', chunks: ['a', 'b'], hang: true }] })
    const controller = new AbortController()
    const reason = new Error('enough')
    const onDelta = (text: string) => text === 'b' && controller.abort(reason)
    await expect(provider.generate(request, { signal: controller.signal, onDelta })).rejects.toBe(reason)
  })

  test('stops waiting between chunks when it is aborted', async () => {
    const provider = createScriptedProvider({ replies: [{ text: 'late', delayMs: 60_000 }] })
    const controller = new AbortController()
    const answer = provider.generate(request, { signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(answer).rejects.toThrow('enough')
  })
})

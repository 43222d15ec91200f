import { AsyncLocalStorage } from 'node:async_hooks'
import { expect, test } from 'vitest'
import { createCall } from '../../src/calls/create-call.ts'
import type { CallEnding, CallObservation } from '../../src/domain/execution/observation.ts'
import type { Attempt } from '../../src/domain/execution/step-result.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { callPorts } from '../support/call-ports.ts'
import { answer, callContext, manualClock, prepared, requestTo } from '../support/calls.ts'

/** An observation that records attempts and endings. */
function recorder(more: Partial<CallObservation> = {}) {
  const attempts: Attempt[] = []
  const endings: CallEnding[] = []
  const observation: CallObservation = {
    attempted: (attempt) => attempts.push(attempt),
    ended: (ending) => endings.push(ending),
    ...more,
  }
  return { attempts, endings, observation }
}

const unavailable = () => new OrchestratorError('PROVIDER_UNAVAILABLE', 'away')

test('an observer receives the start of a call, each attempt and the end once', async () => {
  const clock = manualClock(() => 0)
  const asked: object[] = []
  const { attempts, endings, observation } = recorder()
  let sent = 0
  const attempt = async () => {
    await clock.pass(7)
    if (++sent < 3) throw unavailable()
    return answer('the whole answer')
  }
  const context = callContext({
    observe: (call) => {
      asked.push(call)
      return observation
    },
  })
  const response = await createCall(callPorts({ attempt, clock }))(requestTo('alpha', 'beta', 'gamma'), context)
  expect(response.provider).toBe('gamma')
  expect(asked).toEqual([{ provider: 'alpha', model: 'model-a', streamed: false }])
  expect(attempts.map(({ number, provider, error }) => [number, provider, error?.code])).toEqual([
    [1, 'alpha', 'PROVIDER_UNAVAILABLE'],
    [2, 'beta', 'PROVIDER_UNAVAILABLE'],
    [3, 'gamma', undefined],
  ])
  expect(context.attempts).toEqual(attempts)
  expect(endings).toEqual([
    {
      durationMs: 21,
      firstChunkMs: undefined,
      attempts: 3,
      usage: answer().usage,
      costUsd: 0.5,
      unpriced: false,
      simulated: false,
      answer: { provider: 'gamma', model: 'model-a', finishReason: 'stop' },
      aborted: false,
    },
  ])
})

test('an observer receives the error code of a failed call, and whether it was aborted', async () => {
  const failed = recorder()
  const failing = createCall(callPorts({ attempt: async () => Promise.reject(unavailable()) }))
  await expect(failing(requestTo(), callContext({ observe: () => failed.observation }))).rejects.toThrow('away')
  expect(failed.endings).toMatchObject([{ errorCode: 'PROVIDER_UNAVAILABLE', aborted: false, attempts: 1 }])

  const aborted = recorder()
  const abort = new AbortController()
  const hanging = createCall(callPorts({ attempt: () => new Promise(() => {}) }))
  const running = hanging(requestTo(), callContext({ signal: abort.signal, observe: () => aborted.observation }))
  abort.abort(new OrchestratorError('FLOW_CANCELLED', 'enough'))
  await expect(running).rejects.toThrow('enough')
  expect(aborted.endings).toMatchObject([{ errorCode: 'FLOW_CANCELLED', aborted: true, attempts: 1 }])
})

test('a call that is aborted before it starts is not observed', async () => {
  let asked = 0
  const observe = () => {
    asked++
    return recorder().observation
  }
  const signal = AbortSignal.abort(new OrchestratorError('FLOW_CANCELLED', 'enough'))
  await expect(createCall(callPorts())(requestTo(), callContext({ signal, observe }))).rejects.toThrow('enough')
  expect(asked).toBe(0)
})

test('prompts and answers are passed only to observers of content', async () => {
  const received: string[] = []
  const reader = recorder({
    content: {
      asked: ({ system, messages }) => received.push(`${system} ${messages[0]?.content}`),
      answered: ({ text }) => received.push(text),
    },
  })
  await createCall(callPorts())(requestTo(), callContext({ observe: () => reader.observation }))
  expect(received).toEqual(['You are brief. Hello there', 'hello'])

  const blind = recorder()
  await createCall(callPorts())(requestTo(), callContext({ observe: () => blind.observation }))
  expect(JSON.stringify([blind.attempts, blind.endings])).not.toMatch(/hello/i)
})

test('the work of a call runs in the async context of its observer, and its callbacks in that of the caller', async () => {
  const asyncContext = new AsyncLocalStorage<string>()
  const seen: Record<string, string | undefined> = {}
  const note = (what: string) => {
    seen[what] ??= asyncContext.getStore()
  }
  const { observation } = recorder({ within: (work) => asyncContext.run('call', work) })
  let attempts = 0
  const call = createCall(
    callPorts({
      attempt: async (_, { onDelta }) => {
        await Promise.resolve()
        note('attempt')
        onDelta?.('chunk')
        if (++attempts === 1) throw unavailable()
        return answer()
      },
      retry: { baseDelayMs: 0 },
    }),
  )
  const context = callContext({
    maxRetries: 1,
    restartAfterFirstToken: true,
    onDelta: () => note('chunk'),
    onRetry: () => note('retry'),
    onAttempt: () => note('row'),
    observe: () => observation,
  })
  const request = {
    targets: [{ provider: 'alpha', model: 'model-a' }],
    prepare: async () => {
      note('prepare')
      return prepared()
    },
  }
  const clockless = asyncContext.run('caller', () => call(request, context))
  await expect(clockless).resolves.toMatchObject({ text: 'hello' })
  expect(seen).toEqual({ prepare: 'caller', attempt: 'call', chunk: 'caller', retry: 'caller', row: 'caller' })
})

test('the time to the first chunk of a streamed answer starts with the call', async () => {
  const clock = manualClock()
  const { endings, observation } = recorder()
  const attempt: Parameters<typeof callPorts>[0] = {
    clock,
    attempt: async (_, { onDelta }) => {
      await clock.pass(30)
      onDelta?.('a')
      await clock.pass(40)
      onDelta?.('b')
      return answer('ab')
    },
  }
  await createCall(callPorts(attempt))(requestTo(), callContext({ onDelta: () => {}, observe: () => observation }))
  expect(endings).toMatchObject([{ firstChunkMs: 30, durationMs: 70 }])
})

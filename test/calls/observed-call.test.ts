import { AsyncLocalStorage } from 'node:async_hooks'
import { expect, test } from 'vitest'
import { createCall } from '../../src/calls/create-call.ts'
import type { CallEnding, CallObservation } from '../../src/domain/execution/observation.ts'
import type { Attempt } from '../../src/domain/execution/step-result.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { callPorts } from '../support/call-ports.ts'
import { answer, callContext, manualClock, prepared, requestTo } from '../support/calls.ts'

/** An observation that keeps what it is told. */
function keeper(more: Partial<CallObservation> = {}) {
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

test('a call is told once as it starts, with each try and with its end', async () => {
  const clock = manualClock(() => 0)
  const asked: object[] = []
  const { attempts, endings, observation } = keeper()
  let tries = 0
  const attempt = async () => {
    await clock.pass(7)
    if (++tries < 3) throw unavailable()
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

test('a call that fails is told with its code, and one that is aborted as such', async () => {
  const failed = keeper()
  const failing = createCall(callPorts({ attempt: async () => Promise.reject(unavailable()) }))
  await expect(failing(requestTo(), callContext({ observe: () => failed.observation }))).rejects.toThrow('away')
  expect(failed.endings).toMatchObject([{ errorCode: 'PROVIDER_UNAVAILABLE', aborted: false, attempts: 1 }])

  const aborted = keeper()
  const abort = new AbortController()
  const hanging = createCall(callPorts({ attempt: () => new Promise(() => {}) }))
  const running = hanging(requestTo(), callContext({ signal: abort.signal, observe: () => aborted.observation }))
  abort.abort(new OrchestratorError('FLOW_CANCELLED', 'enough'))
  await expect(running).rejects.toThrow('enough')
  expect(aborted.endings).toMatchObject([{ errorCode: 'FLOW_CANCELLED', aborted: true, attempts: 1 }])
})

test('a call that is aborted before it starts is told to nobody', async () => {
  let asked = 0
  const observe = () => {
    asked++
    return keeper().observation
  }
  const signal = AbortSignal.abort(new OrchestratorError('FLOW_CANCELLED', 'enough'))
  await expect(createCall(callPorts())(requestTo(), callContext({ signal, observe }))).rejects.toThrow('enough')
  expect(asked).toBe(0)
})

test('prompts and answers are handed out only where they are asked for', async () => {
  const told: string[] = []
  const reader = keeper({
    content: {
      asked: ({ system, messages }) => told.push(`${system} ${messages[0]?.content}`),
      answered: ({ text }) => told.push(text),
    },
  })
  await createCall(callPorts())(requestTo(), callContext({ observe: () => reader.observation }))
  expect(told).toEqual(['You are brief. Hello there', 'hello'])

  const blind = keeper()
  await createCall(callPorts())(requestTo(), callContext({ observe: () => blind.observation }))
  expect(JSON.stringify([blind.attempts, blind.endings])).not.toMatch(/hello/i)
})

test('the work of a call happens inside what surrounds it, and its caller is told outside of it', async () => {
  const place = new AsyncLocalStorage<string>()
  const seen: Record<string, string | undefined> = {}
  const note = (what: string) => {
    seen[what] ??= place.getStore()
  }
  const { observation } = keeper({ within: (work) => place.run('call', work) })
  let tries = 0
  const call = createCall(
    callPorts({
      attempt: async (_, { onDelta }) => {
        await Promise.resolve()
        note('attempt')
        onDelta?.('piece')
        if (++tries === 1) throw unavailable()
        return answer()
      },
      retry: { baseDelayMs: 0 },
    }),
  )
  const context = callContext({
    maxRetries: 1,
    restartAfterFirstToken: true,
    onDelta: () => note('piece'),
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
  const clockless = place.run('caller', () => call(request, context))
  await expect(clockless).resolves.toMatchObject({ text: 'hello' })
  expect(seen).toEqual({ prepare: 'caller', attempt: 'call', piece: 'caller', retry: 'caller', row: 'caller' })
})

test('the first piece of a streamed answer is timed from the start of the call', async () => {
  const clock = manualClock()
  const { endings, observation } = keeper()
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

import { getEventListeners, setMaxListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import type { Budget, CallContext, CallRequest } from '../../src/calls/call.ts'
import { type CallDeps, createCall } from '../../src/calls/create-call.ts'
import { createBudget } from '../../src/calls/limits.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { callPorts } from '../support/call-ports.ts'
import { answer, callContext, manualClock, prepared, requestTo, settled } from '../support/calls.ts'

const never = () => new Promise<never>(() => {})
const unavailable = () => Promise.reject(new OrchestratorError('PROVIDER_UNAVAILABLE', 'down'))

const fullBudget = (): Budget => {
  const budget = createBudget({ maxTokens: 5_000 })
  if (!budget) throw new Error('expected a budget')
  budget.reserve({ tokens: 4_000, costUsd: 0 })
  return budget
}

interface Phase {
  readonly deps?: () => Partial<CallDeps>
  readonly context?: () => Partial<CallContext>
  readonly request?: CallRequest
  /** Number of calls that must be running first, so that the tested call has to wait. */
  readonly before?: number
}

const PHASES: Readonly<Record<string, Phase>> = {
  prepare: { request: { ...requestTo(), prepare: never } },
  'prepare of a fallback': {
    deps: () => ({ attempt: unavailable }),
    request: { ...requestTo('alpha', 'beta'), prepare: (target) => (target.provider === 'alpha' ? prepared(target) : never()) },
  },
  'count of tokens': {
    context: () => ({ budget: createBudget({ maxTokens: 5_000 }) }),
    request: { ...requestTo(), prepare: (target) => prepared({ ...target, countInputTokens: never }) },
  },
  'worst case price': { deps: () => ({ worstCaseUsd: never }), context: () => ({ budget: createBudget({ maxCostUsd: 5 }) }) },
  'wait for the budget': { context: () => ({ budget: fullBudget() }) },
  'wait for a slot': { deps: () => ({ ratesOf: () => ({ maxConcurrency: 1 }), attempt: never }), before: 1 },
  'wait for the rate': { deps: () => ({ ratesOf: () => ({ requestsPerMinute: 1 }) }), before: 1 },
  'attempt that ignores its signal': { deps: () => ({ attempt: never }) },
  'attempt that obeys its signal': {
    deps: () => ({
      attempt: (_, { signal }) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true })),
    }),
  },
  'streamed attempt with all timeouts': {
    deps: () => ({ attempt: never }),
    context: () => ({ timeoutMs: 60_000, firstChunkTimeoutMs: 60_000, idleTimeoutMs: 60_000, onDelta: () => {} }),
  },
  'wait for a retry': { deps: () => ({ attempt: unavailable }), context: () => ({ maxRetries: 5 }) },
  'price of the answer': { deps: () => ({ price: never }) },
}

describe('a cancelled call', () => {
  test.each(Object.entries(PHASES))(
    'ends a call at once during: %s',
    async (_, { deps, context, request = requestTo(), before = 0 }) => {
      const clock = manualClock()
      const call = createCall(callPorts({ clock, ...deps?.() }))
      // Loaded at first use, which takes longer than a turn of the loop.
      await import('limiter')
      const warmUp = new AbortController()
      for (let time = 0; time < before; time++) void call(requestTo(), callContext({ signal: warmUp.signal })).catch(() => {})
      await settled()

      const controller = new AbortController()
      const reason = new OrchestratorError('FLOW_CANCELLED', 'enough')
      let outcome: unknown = 'pending'
      call(request, callContext({ ...context?.(), signal: controller.signal })).then(
        (value) => {
          outcome = value
        },
        (error: unknown) => {
          outcome = error
        },
      )
      await settled()
      expect(outcome).toBe('pending')
      controller.abort(reason)
      await clock.pass(50)
      expect(outcome).toBe(reason)
      expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0)
      warmUp.abort()
      await settled()
      expect(clock.pending).toBe(0)
    },
  )

  test('sends nothing if the cancel comes before the call', async () => {
    let asked = 0
    const call = createCall(
      callPorts({
        attempt: async () => {
          asked += 1
          return answer()
        },
      }),
    )
    await expect(call(requestTo(), callContext({ signal: AbortSignal.abort('stop') }))).rejects.toBe('stop')
    expect(asked).toBe(0)
  })

  test('aborts the signal of the provider', async () => {
    const controller = new AbortController()
    let seen: AbortSignal | undefined
    const attempt: CallDeps['attempt'] = (_, { signal }) => {
      seen = signal
      return never()
    }
    const outcome = createCall(callPorts({ attempt }))(
      requestTo(),
      callContext({ signal: controller.signal, timeoutMs: 60_000, idleTimeoutMs: 60_000, onDelta: () => {} }),
    ).catch(() => {})
    await settled()
    controller.abort('stop')
    await outcome
    expect(seen?.reason).toBe('stop')
  })

  test('drops text of a provider that continues after the abort', async () => {
    const controller = new AbortController()
    const chunks: string[] = []
    let send = (_text: string) => {}
    const attempt: CallDeps['attempt'] = (_, { onDelta }) => {
      send = (text) => onDelta?.(text)
      return never()
    }
    const context = callContext({ signal: controller.signal, onDelta: (text) => chunks.push(text) })
    const outcome = createCall(callPorts({ attempt }))(requestTo(), context).catch(() => {})
    await settled()
    send('before')
    controller.abort('stop')
    await outcome
    send('after')
    expect(chunks).toEqual(['before'])
    expect(context.attempts).toMatchObject([{ aborted: true, usage: { source: 'estimated', outputTokens: 2 } }])
  })
})

test('10,000 calls on one signal leave no listener behind', async () => {
  const { signal } = new AbortController()
  // In a flow every call has a signal of its own; Node would warn of 200 calls that share one.
  setMaxListeners(Number.POSITIVE_INFINITY, signal)
  const clock = manualClock(() => 0)
  let attempts = 0
  const attempt: CallDeps['attempt'] = async () => {
    attempts += 1
    if (attempts % 3 === 0) throw new OrchestratorError('PROVIDER_AUTH', 'no')
    return answer()
  }
  const call = createCall(callPorts({ attempt, clock, ratesOf: () => ({ maxConcurrency: 100 }) }))
  const settings = { signal, maxRetries: 1, timeoutMs: 1_000, firstChunkTimeoutMs: 100, idleTimeoutMs: 100, onDelta: () => {} }
  for (let batch = 0; batch < 50; batch++) {
    await Promise.allSettled(Array.from({ length: 200 }, () => call(requestTo(), callContext(settings))))
  }
  expect(attempts).toBe(10_000)
  expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  expect(clock.pending).toBe(0)
})

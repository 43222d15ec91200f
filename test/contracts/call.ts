import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import type { AttemptCall, AttemptContext, CallLayer } from '../../src/calls/call.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { callAnswer, prepared, settled, tryContext } from '../support/calls.ts'

export interface CallLayerSubject {
  readonly name: string
  /** A fresh layer, with nothing shared with former ones. */
  readonly create: () => CallLayer
  /** Switches on what the layer does, so that it does not just step aside. */
  readonly context?: () => Partial<AttemptContext>
}

const never = () => new Promise<never>(() => {})

/** The contract of `AttemptCall` and `CallLayer` (src/calls/call.ts), which every layer must meet. */
export function describeCallLayer({ name, create, context = () => ({}) }: CallLayerSubject): void {
  const run = (next: AttemptCall, more: Partial<AttemptContext> = {}) =>
    create()(next)(prepared(), tryContext({ ...context(), ...more }))

  describe(`${name}, as a layer around an attempt`, () => {
    test('returns the answer unchanged', async () => {
      const response = callAnswer({ notes: ['a note'], providerCostUsd: 0.1 })
      expect(await run(async () => response)).toBe(response)
    })

    test('passes on an error that it does not handle', async () => {
      const error = new OrchestratorError('PROVIDER_REJECTED', 'no such model')
      await expect(run(() => Promise.reject(error))).rejects.toBe(error)
    })

    test('sends one request for one answer', async () => {
      let asked = 0
      await run(async () => {
        asked += 1
        return callAnswer()
      })
      expect(asked).toBe(1)
    })

    test('passes the request and the context on', async () => {
      const request = prepared({ settings: { maxTokens: 5 } })
      const given = tryContext({ ...context(), onRetry: () => {} })
      let seen: Parameters<AttemptCall> | undefined
      await create()(async (...all) => {
        seen = all
        return callAnswer()
      })(request, given)
      expect(seen?.[0]).toEqual(request)
      expect(seen?.[1]).toMatchObject({ maxRetries: given.maxRetries, restartAfterFirstToken: false, onRetry: given.onRetry })
      expect(seen?.[1].progress).toBe(given.progress)
    })

    test('delivers every chunk of text once and in order', async () => {
      const chunks: string[] = []
      await run(
        async (_, { onDelta }) => {
          for (const text of ['one ', 'two ', 'three']) onDelta?.(text)
          return callAnswer()
        },
        { onDelta: (text) => chunks.push(text) },
      )
      expect(chunks).toEqual(['one ', 'two ', 'three'])
    })

    test('reports every ledger row once', async () => {
      const rows: number[] = []
      const given = { onAttempt: () => rows.push(1) }
      await run(async () => callAnswer(), given)
      const own = rows.length
      await run(async (_, { onAttempt }) => {
        onAttempt({
          number: 1,
          provider: 'alpha',
          model: 'model-a',
          startedAt: new Date(0),
          executionTime: 1,
          aborted: false,
          simulated: false,
        })
        return callAnswer()
      }, given)
      expect(rows.length - own).toBe(own + 1)
    })

    test('passes the abort of its caller to the wrapped attempt', async () => {
      const controller = new AbortController()
      const reason = new OrchestratorError('FLOW_CANCELLED', 'enough')
      let seen: unknown
      const outcome = run(
        (_, { signal }) =>
          new Promise((_resolve, reject) => {
            signal.addEventListener('abort', () => {
              seen = signal.reason
              reject(signal.reason)
            })
          }),
        { signal: controller.signal },
      )
      const rejected = expect(outcome).rejects.toBe(reason)
      await settled()
      controller.abort(reason)
      await rejected
      expect(seen).toBe(reason)
    })

    test.each([
      ['answer', async () => callAnswer()],
      ['failure', () => Promise.reject(new OrchestratorError('PROVIDER_AUTH', 'bad key'))],
    ])('leaves no listener on the signal after an %s', async (_, next) => {
      const { signal } = new AbortController()
      await run(next, { signal }).catch(() => {})
      expect(getEventListeners(signal, 'abort')).toHaveLength(0)
    })

    test('leaves no listener on the signal after an abort', async () => {
      const controller = new AbortController()
      const { signal } = controller
      const outcome = run((_, context) => obedient(context.signal), { signal })
      const rejected = expect(outcome).rejects.toBe('stop')
      await settled()
      controller.abort('stop')
      await rejected
      expect(getEventListeners(signal, 'abort')).toHaveLength(0)
    })
  })
}

/** Work that never ends by itself and obeys its signal. */
const obedient = (signal: AbortSignal): Promise<never> =>
  Promise.race([
    never(),
    new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true })),
  ])

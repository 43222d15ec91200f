import { describe, expect, test } from 'vitest'
import { attemptLedger, type LedgerDeps } from '../../src/calls/attempt-ledger.ts'
import type { AttemptCall } from '../../src/calls/call.ts'
import { withCallFacts } from '../../src/domain/execution/call-facts.ts'
import type { Usage } from '../../src/domain/execution/usage.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { describeCallLayer } from '../contracts/call.ts'
import { callAnswer, manualClock, prepared, settled, tryContext } from '../support/calls.ts'

const price: LedgerDeps['price'] = (_provider, { model }) => ({
  costUsd: model === 'model-a' ? 1 : 2,
  source: 'prices',
  pricesDate: '2026-11-01',
  estimated: false,
})

describeCallLayer({ name: 'attempt ledger', create: () => attemptLedger({ price }, manualClock()) })

async function rowOf(next: AttemptCall, deps: Partial<LedgerDeps> = {}, onDelta?: (text: string) => void) {
  const context = tryContext({ ...(onDelta && { onDelta }) })
  await attemptLedger({ price, ...deps }, manualClock())(next)(prepared(), context).catch(() => {})
  expect(context.attempts).toHaveLength(1)
  return context.attempts[0]
}

const failing =
  (error: OrchestratorError): AttemptCall =>
  () =>
    Promise.reject(error)
const REPORTED: Usage = { inputTokens: 7, outputTokens: 1, totalTokens: 8, source: 'reported' }

describe('the attempt ledger', () => {
  test('looks up the price by requested model, answering model and tier', async () => {
    const asked: unknown[] = []
    const asking: LedgerDeps['price'] = (provider, answer) => {
      asked.push({ provider, ...answer })
      return undefined
    }
    await rowOf(async () => callAnswer({ model: 'model-b', serviceTier: 'flex' }), { price: asking })
    const usage = REPORTED
    await rowOf(failing(withCallFacts(new OrchestratorError('PROVIDER_BAD_REPLY', 'no'), { usage, generated: true })), {
      price: asking,
    })
    expect(asked).toEqual([
      { provider: 'alpha', requestedModel: 'model-a', model: 'model-b', serviceTier: 'flex' },
      { provider: 'alpha', requestedModel: 'model-a', model: 'model-a', serviceTier: undefined },
    ])
  })

  test('prices the model that answered, not the requested one', async () => {
    expect(await rowOf(async () => callAnswer({ model: 'model-b' }))).toMatchObject({
      model: 'model-b',
      cost: 2,
      costSource: 'prices',
    })
  })

  test('prefers the cost stated by the provider', async () => {
    const row = await rowOf(async () => callAnswer({ providerCostUsd: 0.125 }))
    expect(row).toMatchObject({ cost: 0.125, costSource: 'provider' })
    expect(row?.pricesDate).toBeUndefined()
  })

  test('leaves the cost undefined if the price is unknown or its lookup fails', async () => {
    expect((await rowOf(async () => callAnswer(), { price: () => undefined }))?.cost).toBeUndefined()
    expect((await rowOf(async () => callAnswer(), { price: () => Promise.reject(new Error('no list')) }))?.cost).toBeUndefined()
    const broken = () => {
      throw new Error('no list')
    }
    expect((await rowOf(async () => callAnswer(), { price: broken }))?.cost).toBeUndefined()
  })

  test('records no usage for a rejected request', async () => {
    const refusal = withCallFacts(new OrchestratorError('PROVIDER_UNAVAILABLE', 'busy'), { status: 503, generated: false })
    const row = await rowOf(failing(refusal))
    expect(row).toMatchObject({ model: 'model-a', aborted: false, error: { code: 'PROVIDER_UNAVAILABLE' } })
    expect([row?.usage, row?.cost]).toEqual([undefined, undefined])
  })

  test('keeps the usage and the model that were reported before a failure', async () => {
    const cut = withCallFacts(new OrchestratorError('PROVIDER_STREAM_CUT', 'cut'), {
      usage: REPORTED,
      model: 'model-b',
      generated: true,
    })
    expect(await rowOf(failing(cut))).toMatchObject({ model: 'model-b', usage: REPORTED, cost: 2 })
  })

  test('estimates the usage of a stream that broke off', async () => {
    const cut = withCallFacts(new OrchestratorError('PROVIDER_STREAM_CUT', 'cut'), { usage: REPORTED, generated: true })
    const next: AttemptCall = (_, { onDelta }) => {
      onDelta?.('x'.repeat(40))
      return Promise.reject(cut)
    }
    const row = await rowOf(next, {}, () => {})
    expect(row).toMatchObject({ usage: { inputTokens: 7, outputTokens: 10, totalTokens: 17, source: 'estimated' }, cost: 1 })
  })

  test('records the usage of a broken answer as unknown, not as none', async () => {
    const row = await rowOf(failing(new OrchestratorError('PROVIDER_BAD_REPLY', 'garbage')))
    expect(row?.usage).toEqual({ source: 'unknown' })
  })

  test('marks an attempt that a stream timeout ended as aborted', async () => {
    const silent = new OrchestratorError('PROVIDER_UNAVAILABLE', 'silent', { details: { timeout: 'idle' } })
    expect(await rowOf(failing(silent))).toMatchObject({ aborted: true, usage: { source: 'unknown' } })
  })

  test('marks a failed attempt at a simulated provider as simulated', async () => {
    expect(await rowOf(failing(new OrchestratorError('PROVIDER_AUTH', 'no')), { isSimulated: () => true })).toMatchObject({
      simulated: true,
    })
  })

  test('numbers the attempts of a call from 1', async () => {
    const context = tryContext()
    const call = attemptLedger({ price }, manualClock())(async () => callAnswer())
    for (let time = 0; time < 3; time++) await call(prepared(), context)
    expect(context.attempts.map(({ number }) => number)).toEqual([1, 2, 3])
  })

  test('records an attempt before the call settles, and does not delay an aborted call for its price', async () => {
    const clock = manualClock()
    const controller = new AbortController()
    const context = tryContext({ signal: controller.signal, onDelta: () => {} })
    const call = attemptLedger(
      { price: () => new Promise(() => {}) },
      clock,
    )((_, { onDelta }) => {
      onDelta?.('text')
      return new Promise((_resolve, reject) =>
        controller.signal.addEventListener('abort', () => reject(controller.signal.reason)),
      )
    })(prepared(), context)
    const outcome = expect(call).rejects.toBe('stop')
    await settled()
    controller.abort('stop')
    await clock.pass(50)
    await outcome
    expect(context.attempts).toMatchObject([{ aborted: true, usage: { source: 'estimated', outputTokens: 1 } }])
    expect(clock.pending).toBe(0)
  })

  test('does not read call facts from the reason of an abort, which other calls share', async () => {
    const controller = new AbortController()
    const reason = withCallFacts(new OrchestratorError('FLOW_CANCELLED', 'stop'), { usage: REPORTED, generated: true })
    const context = tryContext({ signal: controller.signal })
    const call = attemptLedger(
      { price },
      manualClock(),
    )(() => {
      controller.abort(reason)
      return Promise.reject(reason)
    })
    await expect(call(prepared(), context)).rejects.toBe(reason)
    expect(context.attempts[0]?.usage).toEqual({ source: 'unknown' })
  })

  test('rejects with the reason of an abort that comes while a failed attempt is priced', async () => {
    const controller = new AbortController()
    const context = tryContext({ signal: controller.signal })
    const cut = withCallFacts(new OrchestratorError('PROVIDER_STREAM_CUT', 'cut'), { usage: REPORTED, generated: true })
    const call = attemptLedger({ price: () => new Promise(() => {}) }, manualClock())(failing(cut))(prepared(), context)
    await settled()
    controller.abort('stop')
    await expect(call).rejects.toBe('stop')
    expect(context.attempts).toMatchObject([{ error: { code: 'PROVIDER_STREAM_CUT' }, aborted: false }])
  })

  test('sends nothing for a call that is already aborted', async () => {
    const context = tryContext({ signal: AbortSignal.abort('stop') })
    await expect(attemptLedger({ price }, manualClock())(async () => callAnswer())(prepared(), context)).rejects.toBe('stop')
    expect(context.attempts).toHaveLength(0)
  })
})

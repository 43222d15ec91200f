import { describe, expect, test } from 'vitest'
import type { AttemptContext, CallRequest, CallResponse, PreparedRequest } from '../../src/calls/call.ts'
import { fallback } from '../../src/calls/fallback.ts'
import type { Target } from '../../src/domain/definition/flow-definition.ts'
import type { ErrorCode } from '../../src/errors/error-codes.ts'
import { ERROR_CODES } from '../../src/errors/error-codes.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { callAnswer, manualClock, prepared, requestTo, tryContext } from '../support/calls.ts'

/** Calls the targets. A provider with an error code in the script rejects, every other one answers. */
function ask(
  failures: Readonly<Record<string, ErrorCode>>,
  request: CallRequest = requestTo('alpha', 'beta', 'gamma'),
  context: AttemptContext = tryContext(),
) {
  const asked: string[] = []
  const call = fallback(async ({ provider }: PreparedRequest): Promise<CallResponse> => {
    asked.push(provider)
    const code = failures[provider]
    if (code) throw new OrchestratorError(code, `${provider} failed`)
    return callAnswer({ provider })
  }, manualClock())
  return { asked, outcome: call(request, context).catch((error: unknown) => error) }
}

const preparing = (prepare: (target: Target) => PreparedRequest | Promise<PreparedRequest>): CallRequest => ({
  ...requestTo('alpha', 'beta', 'gamma'),
  prepare,
})

const denied = new OrchestratorError('DATA_SHARING_DENIED', 'not allowed')

const isErrorCode = (code: string): code is ErrorCode => code in ERROR_CODES
// PROVIDER_NOT_FOUND is the answer of the HTTP API to an id that is not configured: no call ends with it.
const CODES = Object.keys(ERROR_CODES)
  .filter(isErrorCode)
  .filter((code) => code !== 'PROVIDER_NOT_FOUND')

describe('fallbacks', () => {
  test('are not called if the first target answers', async () => {
    const { asked, outcome } = ask({})
    expect(await outcome).toMatchObject({ provider: 'alpha', notes: [] })
    expect(asked).toEqual(['alpha'])
  })

  test.each(CODES)('are called after %s only if another provider may succeed', async (code) => {
    const { asked, outcome } = ask({ alpha: code })
    const result = await outcome
    const others = ['CONTENT_FILTERED', 'OUTPUT_INVALID', 'SERVICE_NOT_RUNNING']
    const falls = code.startsWith('PROVIDER_') || others.includes(code)
    expect(asked).toEqual(falls ? ['alpha', 'beta'] : ['alpha'])
    expect(result).toMatchObject(falls ? { provider: 'beta' } : { code })
  })

  test('reject with the error of the last target', async () => {
    const { asked, outcome } = ask({ alpha: 'PROVIDER_AUTH', beta: 'PROVIDER_UNAVAILABLE', gamma: 'PROVIDER_REJECTED' })
    expect(await outcome).toMatchObject({ code: 'PROVIDER_REJECTED' })
    expect(asked).toEqual(['alpha', 'beta', 'gamma'])
  })

  test('are not called after delivered text', async () => {
    const context = tryContext({ progress: { attempts: 1, textDelivered: true, targetsLeft: 0 } })
    const { asked, outcome } = ask({ alpha: 'PROVIDER_STREAM_CUT' }, requestTo('alpha', 'beta'), context)
    expect(await outcome).toMatchObject({ code: 'PROVIDER_STREAM_CUT' })
    expect(asked).toEqual(['alpha'])
  })

  test('are called after delivered text if a restart is allowed, with one notice that the text is void', async () => {
    const context = tryContext({ restartAfterFirstToken: true, progress: { attempts: 1, textDelivered: true, targetsLeft: 0 } })
    const { outcome } = ask({ alpha: 'PROVIDER_STREAM_CUT', beta: 'PROVIDER_AUTH' }, requestTo('alpha', 'beta', 'gamma'), context)
    expect(await outcome).toMatchObject({ provider: 'gamma' })
    expect(context.retries.map(({ provider, restart, delayMs }) => [provider, restart, delayMs])).toEqual([
      ['beta', true, 0],
      ['gamma', false, 0],
    ])
  })

  test('prepare the request again for each target', async () => {
    const targets: string[] = []
    const request = preparing(async ({ provider }) => {
      targets.push(provider)
      return prepared({ provider })
    })
    await ask({ alpha: 'PROVIDER_AUTH' }, request).outcome
    expect(targets).toEqual(['alpha', 'beta'])
  })

  test('skip a target that may not see the context of the step', async () => {
    const request = preparing(({ provider }) => {
      if (provider === 'beta') throw denied
      return prepared({ provider })
    })
    const { asked, outcome } = ask({ alpha: 'PROVIDER_AUTH' }, request)
    expect(await outcome).toMatchObject({
      provider: 'gamma',
      notes: ['alpha/model-a failed with PROVIDER_AUTH; fell back', 'beta/model-a was skipped: DATA_SHARING_DENIED'],
    })
    expect(asked).toEqual(['alpha', 'gamma'])
  })

  test('keep the error of the last attempt if all remaining targets are skipped', async () => {
    const request = preparing(async ({ provider }) => {
      if (provider !== 'alpha') throw denied
      return prepared({ provider })
    })
    expect(await ask({ alpha: 'PROVIDER_AUTH' }, request).outcome).toMatchObject({ code: 'PROVIDER_AUTH' })
  })

  test('do not replace a first target that may not see the context', async () => {
    const request = preparing(({ provider }) => {
      if (provider === 'alpha') throw denied
      return prepared({ provider })
    })
    const { asked, outcome } = ask({}, request)
    expect(await outcome).toBe(denied)
    expect(asked).toEqual([])
  })

  test('are not called after a cancel, even while one is prepared', async () => {
    const controller = new AbortController()
    const request = preparing(({ provider }) => {
      if (provider === 'alpha') return prepared({ provider })
      controller.abort('stop')
      return new Promise(() => {})
    })
    const { asked, outcome } = ask({ alpha: 'PROVIDER_AUTH' }, request, tryContext({ signal: controller.signal }))
    expect(await outcome).toBe('stop')
    expect(asked).toEqual(['alpha'])
  })
})

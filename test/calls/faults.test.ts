import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type CallDeps, createCall } from '../../src/calls/create-call.ts'
import { createBudget } from '../../src/calls/limits.ts'
import { type CallFacts, withCallFacts } from '../../src/domain/execution/call-facts.ts'
import type { ErrorCode } from '../../src/errors/error-codes.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { callPorts } from '../support/call-ports.ts'
import { answer, callContext, manualClock, requestTo, settled } from '../support/calls.ts'

type Attempt = CallDeps['attempt']

const fails =
  (code: ErrorCode, facts: Partial<CallFacts> = {}, retryable?: boolean): Attempt =>
  () =>
    Promise.reject(
      withCallFacts(new OrchestratorError(code, 'failed', retryable === undefined ? {} : { retryable }), {
        generated: false,
        ...facts,
      }),
    )

const hangs: Attempt = () => new Promise(() => {})

/** Sends the chunks at once and then hangs. */
const sendsThenHangs =
  (...chunks: readonly string[]): Attempt =>
  (_, { onDelta }) => {
    for (const chunk of chunks) onDelta?.(chunk)
    return new Promise(() => {})
  }

const sendsThenFails =
  (code: ErrorCode): Attempt =>
  (_, { onDelta }) => {
    onDelta?.('Once upon')
    return Promise.reject(new OrchestratorError(code, 'failed'))
  }

interface Fault {
  readonly attempt: Attempt
  readonly code: ErrorCode
  /** Requests that the provider sees with two retries allowed. */
  readonly attempts: number
}

const MAX_RETRIES = 2
const ALL = MAX_RETRIES + 1

const FAULTS: Readonly<Record<string, Fault>> = {
  '400': { attempt: fails('PROVIDER_REJECTED', { status: 400 }), code: 'PROVIDER_REJECTED', attempts: 1 },
  '401': { attempt: fails('PROVIDER_AUTH', { status: 401 }), code: 'PROVIDER_AUTH', attempts: 1 },
  '402 quota': { attempt: fails('PROVIDER_QUOTA_EXHAUSTED', { status: 402 }), code: 'PROVIDER_QUOTA_EXHAUSTED', attempts: 1 },
  '403': { attempt: fails('PROVIDER_AUTH', { status: 403 }), code: 'PROVIDER_AUTH', attempts: 1 },
  '404': { attempt: fails('PROVIDER_REJECTED', { status: 404 }), code: 'PROVIDER_REJECTED', attempts: 1 },
  '408': { attempt: fails('PROVIDER_UNAVAILABLE', { status: 408 }), code: 'PROVIDER_UNAVAILABLE', attempts: ALL },
  '413': { attempt: fails('PROVIDER_REJECTED', { status: 413 }), code: 'PROVIDER_REJECTED', attempts: 1 },
  '422': { attempt: fails('PROVIDER_REJECTED', { status: 422 }), code: 'PROVIDER_REJECTED', attempts: 1 },
  '429': { attempt: fails('PROVIDER_RATE_LIMITED', { status: 429 }), code: 'PROVIDER_RATE_LIMITED', attempts: ALL },
  '429 with Retry-After': {
    attempt: fails('PROVIDER_RATE_LIMITED', { retryAfterMs: 2_000 }),
    code: 'PROVIDER_RATE_LIMITED',
    attempts: ALL,
  },
  '429 with Retry-After 0': {
    attempt: fails('PROVIDER_RATE_LIMITED', { retryAfterMs: 0 }),
    code: 'PROVIDER_RATE_LIMITED',
    attempts: ALL,
  },
  '429 with a negative Retry-After': {
    attempt: fails('PROVIDER_RATE_LIMITED', { retryAfterMs: -5_000 }),
    code: 'PROVIDER_RATE_LIMITED',
    attempts: ALL,
  },
  '429 for an hour': {
    attempt: fails('PROVIDER_RATE_LIMITED', { retryAfterMs: 3_600_000 }),
    code: 'PROVIDER_RATE_LIMITED',
    attempts: 1,
  },
  '429 quota': { attempt: fails('PROVIDER_QUOTA_EXHAUSTED', { status: 429 }), code: 'PROVIDER_QUOTA_EXHAUSTED', attempts: 1 },
  '500': { attempt: fails('PROVIDER_UNAVAILABLE', { status: 500 }), code: 'PROVIDER_UNAVAILABLE', attempts: ALL },
  '503 with Retry-After': {
    attempt: fails('PROVIDER_UNAVAILABLE', { status: 503, retryAfterMs: 1_000 }),
    code: 'PROVIDER_UNAVAILABLE',
    attempts: ALL,
  },
  '529': { attempt: fails('PROVIDER_UNAVAILABLE', { status: 529 }), code: 'PROVIDER_UNAVAILABLE', attempts: ALL },
  'final 5xx': { attempt: fails('PROVIDER_UNAVAILABLE', { status: 501 }, false), code: 'PROVIDER_UNAVAILABLE', attempts: 1 },
  'refused connection': { attempt: fails('PROVIDER_UNAVAILABLE'), code: 'PROVIDER_UNAVAILABLE', attempts: ALL },
  'garbage with 200': { attempt: fails('PROVIDER_BAD_REPLY', { status: 200 }), code: 'PROVIDER_BAD_REPLY', attempts: ALL },
  'stream cut before text': {
    attempt: fails('PROVIDER_STREAM_CUT', { generated: true }),
    code: 'PROVIDER_STREAM_CUT',
    attempts: ALL,
  },
  'stream cut after text': { attempt: sendsThenFails('PROVIDER_STREAM_CUT'), code: 'PROVIDER_STREAM_CUT', attempts: 1 },
  'reset after text': { attempt: sendsThenFails('PROVIDER_UNAVAILABLE'), code: 'PROVIDER_UNAVAILABLE', attempts: 1 },
  'filtered content': { attempt: fails('CONTENT_FILTERED'), code: 'CONTENT_FILTERED', attempts: 1 },
  'silence from the start': { attempt: hangs, code: 'PROVIDER_UNAVAILABLE', attempts: ALL },
  'silence after text': { attempt: sendsThenHangs('Once'), code: 'PROVIDER_UNAVAILABLE', attempts: 1 },
  'empty chunks, then silence': { attempt: sendsThenHangs('', ''), code: 'PROVIDER_UNAVAILABLE', attempts: ALL },
  'adapter that throws at once': {
    attempt: () => {
      throw new TypeError('undefined is not a function')
    },
    code: 'STEP_FAILED',
    attempts: 1,
  },
  'provider that rejects with a foreign error': {
    attempt: () => Promise.reject(new TypeError('bug')),
    code: 'STEP_FAILED',
    attempts: 1,
  },
  'provider that rejects with nothing': { attempt: () => Promise.reject(undefined), code: 'STEP_FAILED', attempts: 1 },
  'provider that rejects with text': { attempt: () => Promise.reject('bug'), code: 'STEP_FAILED', attempts: 1 },
  'provider that is not configured': { attempt: fails('PROVIDER_NOT_CONFIGURED'), code: 'PROVIDER_NOT_CONFIGURED', attempts: 1 },
}

const unhandled: unknown[] = []
const onUnhandled = (reason: unknown) => unhandled.push(reason)
beforeAll(() => {
  process.on('unhandledRejection', onUnhandled)
})
afterAll(() => {
  process.off('unhandledRejection', onUnhandled)
})

/** Runs one streamed call to its end in virtual time. */
async function run(
  attempt: Attempt,
  targets: readonly string[] = ['alpha'],
  more: Partial<Parameters<typeof callContext>[0]> = {},
) {
  const clock = manualClock()
  const requests: string[] = []
  const counted: Attempt = (request, options) => {
    requests.push(request.provider)
    return attempt(request, options)
  }
  const context = callContext({
    maxRetries: MAX_RETRIES,
    firstChunkTimeoutMs: 5_000,
    idleTimeoutMs: 1_000,
    onDelta: () => {},
    ...more,
  })
  let outcome: unknown = 'hung'
  createCall(callPorts({ attempt: counted, clock }))(requestTo(...targets), context).then(
    (value) => {
      outcome = value
    },
    (error: unknown) => {
      outcome = error
    },
  )
  await clock.pass(600_000)
  return { outcome, requests, context, clock }
}

describe.each(Object.entries(FAULTS))('after %s', (_, { attempt, code, attempts }) => {
  test('a call fails with the right code after the right number of requests', async () => {
    const { outcome, requests, context, clock } = await run(attempt)
    expect(outcome).toMatchObject({ name: 'OrchestratorError', code })
    expect(requests).toHaveLength(attempts)
    expect(context.attempts.map(({ number, error }) => [number, error?.code])).toEqual(
      Array.from({ length: attempts }, (_, index) => [index + 1, code]),
    )
    expect(context.retries).toHaveLength(attempts - 1)
    expect(clock.pending).toBe(0)
    await settled()
    expect(unhandled).toEqual([])
  })

  test('a call succeeds if one retry is allowed and the next attempt is answered', async () => {
    let asked = 0
    const once: Attempt = (...given) => (++asked === 1 ? attempt(...given) : Promise.resolve(answer()))
    const { outcome, requests } = await run(once)
    expect(outcome).toMatchObject(attempts === 1 ? { code } : { text: 'hello' })
    expect(requests).toHaveLength(attempts === 1 ? 1 : 2)
  })

  test('a call succeeds through its fallback, unless text was delivered or the request is at fault', async () => {
    const first: Attempt = (...given) => (given[0].provider === 'alpha' ? attempt(...given) : Promise.resolve(answer()))
    const { outcome, requests, context } = await run(first, ['alpha', 'beta'])
    const delivered = context.attempts.some(({ usage }) => (usage?.source === 'estimated' && usage.outputTokens) || 0)
    if (delivered || code === 'STEP_FAILED') expect(outcome).toMatchObject({ code })
    else expect(outcome).toMatchObject({ provider: 'beta' })
    expect(requests.filter((provider) => provider === 'alpha')).toHaveLength(attempts)
  })

  test('a call within a budget leaves nothing reserved', async () => {
    const budget = createBudget({ maxTokens: 4_106 })
    const { outcome, requests } = await run(attempt, ['alpha'], { ...(budget && { budget }) })
    if (requests.length === attempts) expect(outcome).toMatchObject({ code })
    else expect(outcome).toMatchObject({ code: 'LIMIT_EXCEEDED', details: { reserved: 0 } })
  })
})

test('the matrix covers at least 30 kinds of failure', () => {
  expect(Object.keys(FAULTS).length).toBeGreaterThanOrEqual(30)
})

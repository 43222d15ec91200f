import { describe, expect, test } from 'vitest'
import { callFactsOf } from '../../src/domain/execution/call-facts.ts'
import { toConnectionError, toVendorError } from '../../src/providers/vendor/vendor-error.ts'
import { saysFailure } from '../../src/providers/vendor/vendor-words.ts'

const errorOf = (body: unknown, status?: number) => toVendorError({ provider: 'p', status, body })

describe('errors of the vendors', () => {
  test.each([
    [
      'OpenAI quota',
      429,
      { error: { message: 'm', type: 'insufficient_quota', code: 'insufficient_quota' } },
      'PROVIDER_QUOTA_EXHAUSTED',
      false,
    ],
    ['OpenAI rate', 429, { error: { message: 'm', type: 'tokens', code: 'rate_limit_exceeded' } }, 'PROVIDER_RATE_LIMITED', true],
    [
      'DeepSeek balance',
      402,
      { error: { message: 'Insufficient Balance', type: 'unknown_error', code: 'invalid_request_error' } },
      'PROVIDER_QUOTA_EXHAUSTED',
      false,
    ],
    [
      'Anthropic overload',
      529,
      { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } },
      'PROVIDER_UNAVAILABLE',
      true,
    ],
    [
      'Anthropic overload in a stream',
      undefined,
      { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } },
      'PROVIDER_UNAVAILABLE',
      true,
    ],
    [
      'Anthropic rate in a stream',
      undefined,
      { type: 'error', error: { type: 'rate_limit_error', message: 'm' } },
      'PROVIDER_RATE_LIMITED',
      true,
    ],
    [
      'Anthropic request in a stream',
      undefined,
      { error: { type: 'invalid_request_error', message: 'm' } },
      'PROVIDER_REJECTED',
      false,
    ],
    [
      'Google key',
      400,
      { error: { code: 400, status: 'INVALID_ARGUMENT', message: 'm', details: [{ reason: 'API_KEY_INVALID' }] } },
      'PROVIDER_AUTH',
      false,
    ],
    ['Google in a list', 503, [{ error: { code: 503, status: 'UNAVAILABLE', message: 'm' } }], 'PROVIDER_UNAVAILABLE', true],
    [
      'Google rate in a stream',
      undefined,
      { error: { code: 429, status: 'RESOURCE_EXHAUSTED', message: 'm' } },
      'PROVIDER_RATE_LIMITED',
      true,
    ],
    ['Azure filter', 400, { error: { code: 'content_filter', message: 'm' } }, 'CONTENT_FILTERED', false],
    [
      'OpenRouter moderation',
      403,
      { error: { code: 403, message: 'm', metadata: { reasons: ['violence'] } } },
      'CONTENT_FILTERED',
      false,
    ],
    ['xAI text', 400, { code: 'Client specified an invalid argument', error: 'm' }, 'PROVIDER_REJECTED', false],
    ['Mistral', 422, { object: 'error', message: 'm', type: 'invalid_request_error', code: '1500' }, 'PROVIDER_REJECTED', false],
    ['unknown words in a stream', undefined, { error: { message: 'm' } }, 'PROVIDER_UNAVAILABLE', true],
    ['no body', 500, undefined, 'PROVIDER_UNAVAILABLE', true],
    ['a redirect', 307, '', 'PROVIDER_REJECTED', false],
  ] as const)('%s', (_, status, body, code, retryable) => {
    expect(errorOf(body, status)).toMatchObject({ code, retryable })
  })

  test('a 401 is an authentication error with any words', () => {
    expect(errorOf({ error: { code: 'insufficient_quota' } }, 401)).toMatchObject({ code: 'PROVIDER_AUTH' })
  })

  test('code and type of the vendor are in the details', () => {
    expect(errorOf({ error: { message: 'm', type: 'a_type', code: 'a_code' } }, 400).details).toEqual({
      provider: 'p',
      status: 400,
      vendorCode: 'a_code',
      vendorType: 'a_type',
    })
  })
})

describe('the requested wait', () => {
  test('is in the details of the error only if the vendor named one', () => {
    const limited = (headers: Record<string, string>) =>
      toVendorError({ provider: 'p', status: 429, headers: new Headers(headers) })
    expect(limited({ 'retry-after': '90' }).details).toMatchObject({ retryAfterMs: 90_000 })
    expect(limited({}).details).not.toHaveProperty('retryAfterMs')
  })

  const nowMs = Date.parse('2026-11-20T10:00:00Z')
  const waitOf = (headers: Record<string, string>, body?: unknown) =>
    callFactsOf(toVendorError({ provider: 'p', status: 429, headers: new Headers(headers), body, nowMs })).retryAfterMs

  test.each([
    ['seconds', { 'retry-after': '20' }, 20_000],
    ['fractions of seconds', { 'retry-after': '0.5' }, 500],
    ['zero', { 'retry-after': '0' }, 0],
    ['milliseconds, which win', { 'retry-after-ms': '1500', 'retry-after': '60' }, 1_500],
    ['a date', { 'retry-after': 'Fri, 20 Nov 2026 10:00:30 GMT' }, 30_000],
    ['a date that has passed', { 'retry-after': 'Fri, 20 Nov 2026 09:00:00 GMT' }, 0],
    ['nonsense', { 'retry-after': 'soon' }, undefined],
    ['a negative number', { 'retry-after': '-5' }, undefined],
    ['nothing', {}, undefined],
  ])('is read from %s', (_, headers, expected) => {
    expect(waitOf(headers)).toBe(expected)
  })

  test.each(['34s', '34.000s'])('is read from RetryInfo of Google: %s', (retryDelay) => {
    const details = [
      { '@type': 'type.googleapis.com/google.rpc.QuotaFailure' },
      { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay },
    ]
    expect(waitOf({}, { error: { code: 429, details } })).toBe(34_000)
    expect(waitOf({}, [{ error: { code: 429, details } }])).toBe(34_000)
    expect(waitOf({}, details)).toBe(34_000)
  })
})

describe('a message omits', () => {
  const messageOf = (message: string, privateTexts?: readonly string[]) =>
    toVendorError({ provider: 'p', status: 400, body: { error: { message } }, privateTexts }).message

  test.each([
    'sk-proj-abcdefghijklmnop',
    'sk-ant-api03-abcdefg',
    'AIzaSyA1234567890abcdefghijklmnop',
    'gsk_abcdefghijk',
    'xai-abcdefghijk',
    'Bearer abc.def.ghi',
    'test-con****-key',
    '0123456789abcdef0123456789abcdef01234567',
  ])('the key %s', (key) => {
    expect(messageOf(`Incorrect API key provided: ${key}. Find it in your account.`)).not.toContain(key.replace('Bearer ', ''))
  })

  test('the secrets of the account in any form and position', () => {
    const secrets = ['my gateway key', 'team-7']
    const failure = { provider: 'p', status: 401, secrets }
    const message = `No key "my gateway key" of team-7.${' '.repeat(570)}my gateway key`
    const { message: text, details } = toVendorError({
      ...failure,
      body: { error: { message, code: 'my gateway key', type: 'team-7' } },
    })
    expect(`${text} ${JSON.stringify(details)}`).not.toMatch(/gateway|team-7/)
    expect(text).toContain('No key "[redacted]" of [redacted].')
  })

  test('the end of a long message', () => {
    expect(messageOf('word '.repeat(1_000)).length).toBeLessThan(400)
  })

  test('an error message omits repeated parts of the request', () => {
    const prompt = `${'x'.repeat(500)} the patient is called Ada Lovelace and lives in London ${'y'.repeat(500)}`
    expect(messageOf('could not parse "the patient is called Ada Lovelace and lives in London"', [prompt])).not.toContain('Ada')
    expect(messageOf('could not parse "secret99"', ['secret99'])).not.toContain('secret99')
  })

  test('nothing of a message that repeats nothing', () => {
    expect(messageOf('The model `x` does not exist', ['Write a poem about the sea.'])).toContain('The model `x` does not exist')
  })
})

describe('failed connections', () => {
  test.each(['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'UND_ERR_SOCKET'])(
    '%s is found in the chain of causes and retryable',
    (code) => {
      const cause = new TypeError('fetch failed', { cause: Object.assign(new Error('inner'), { code }) })
      expect(toConnectionError(cause, { provider: 'p' })).toMatchObject({
        code: 'PROVIDER_UNAVAILABLE',
        retryable: true,
        details: { provider: 'p', networkCode: code },
      })
    },
  )

  test('a wrong certificate is not retried', () => {
    const cause = Object.assign(new Error('expired'), { code: 'CERT_HAS_EXPIRED' })
    expect(toConnectionError(cause, { provider: 'p' })).toMatchObject({ code: 'PROVIDER_UNAVAILABLE', retryable: false })
  })
})

describe('a nested reason', () => {
  test.each([
    [
      'the whole body of another server as its error',
      { error: { error: { message: 'too long', type: 'invalid_request_error' } } },
    ],
    ['an envelope in an event', { type: 'error', error: { type: 'error', error: { message: 'too long' } } }],
    ['a list of errors', { success: false, errors: [{ code: 7003, message: 'too long' }] }],
    ['a list of errors as an error', { type: 'error', error: { errors: [{ message: 'too long' }] } }],
    ['names with error_', { error_code: 336003, error_msg: 'too long' }],
  ])('is read from %s', (_, body) => {
    expect(errorOf(body, 400).message).toBe('Provider "p" answered with status 400: too long')
  })
})

describe('a body that reports a failure without an error', () => {
  test.each([{ detail: 'm' }, { errors: ['m'] }, { error_msg: 'm' }, { message: 'm', code: 1 }, { msg: 'm', status: 400 }])(
    '%j',
    (body) => {
      expect(saysFailure(body)).toBe(true)
    },
  )
  test.each([{}, { errors: [] }, { type: 'ping' }, { message: 'm' }, { id: 'c', usage: {} }])('%j reports no failure', (body) => {
    expect(saysFailure(body)).toBe(false)
  })
})

import { describe, expect, test } from 'vitest'
import { callFactsOf } from '../../src/domain/execution/call-facts.ts'
import { toVendorError } from '../../src/providers/vendor/vendor-error.ts'

const errorOf = (status: number | undefined, body: unknown, secrets: readonly string[] = []) =>
  toVendorError({ provider: 'p', status, body, secrets })

const openAi = (message: string, code: string | null = null, type = 'invalid_request_error', param: string | null = null) => ({
  error: { message, type, code, param },
})

describe('the error code of a failure', () => {
  test.each([
    [
      'xAI refuses content',
      403,
      { error: 'Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_BIO' },
      'CONTENT_FILTERED',
    ],
    ['Azure filters a prompt', 400, openAi('The response was filtered', 'content_filter'), 'CONTENT_FILTERED'],
    [
      'Azure says so inside only',
      400,
      { error: { code: 'BadRequest', message: 'm', innererror: { code: 'ResponsibleAIPolicyViolation' } } },
      'CONTENT_FILTERED',
    ],
    ['DeepSeek refuses content', 400, openAi('Content Exists Risk'), 'CONTENT_FILTERED'],
    [
      'Anthropic blocks an output',
      400,
      { error: { type: 'invalid_request_error', message: 'Output blocked by content filtering policy' } },
      'CONTENT_FILTERED',
    ],
    ['DashScope refuses content', 400, { code: 'DataInspectionFailed', message: 'm' }, 'CONTENT_FILTERED'],
    [
      'Anthropic is out of credit',
      400,
      { error: { type: 'invalid_request_error', message: 'Your credit balance is too low to access the Anthropic API.' } },
      'PROVIDER_QUOTA_EXHAUSTED',
    ],
    [
      'xAI is out of credit',
      403,
      { code: 'The caller does not have permission', error: "Your newly created team doesn't have any credits yet." },
      'PROVIDER_QUOTA_EXHAUSTED',
    ],
    [
      'OpenAI reached its hard limit',
      400,
      openAi('Billing hard limit has been reached', 'billing_hard_limit_reached'),
      'PROVIDER_QUOTA_EXHAUSTED',
    ],
    [
      'OpenRouter has a spent key',
      403,
      { error: { message: 'Key limit exceeded (total limit).', code: 403 } },
      'PROVIDER_QUOTA_EXHAUSTED',
    ],
    ['Moonshot is out of quota', 429, openAi('m', null, 'exceeded_current_quota_error'), 'PROVIDER_QUOTA_EXHAUSTED'],
    [
      'Gemini has used up its day',
      429,
      {
        error: {
          code: 429,
          status: 'RESOURCE_EXHAUSTED',
          message: 'm',
          details: [{ violations: [{ quotaId: 'GenerateRequestsPerDayPerProjectPerModel-FreeTier' }] }],
        },
      },
      'PROVIDER_QUOTA_EXHAUSTED',
    ],
    [
      'Gemini has used up its minute',
      429,
      {
        error: {
          code: 429,
          status: 'RESOURCE_EXHAUSTED',
          message: 'm',
          details: [{ violations: [{ quotaId: 'GenerateRequestsPerMinutePerProjectPerModel' }] }],
        },
      },
      'PROVIDER_RATE_LIMITED',
    ],
    [
      'MiniMax is out of balance',
      undefined,
      { base_resp: { status_code: 1008, status_msg: 'insufficient balance' } },
      'PROVIDER_QUOTA_EXHAUSTED',
    ],
    [
      'xAI has a bad key',
      400,
      { code: 'Client specified an invalid argument', error: 'Incorrect API key provided: ab***yz.' },
      'PROVIDER_AUTH',
    ],
    [
      'Groq restricts an organisation',
      400,
      openAi('Organization has been restricted.', 'organization_restricted'),
      'PROVIDER_AUTH',
    ],
    [
      'Gemini behind its OpenAI endpoint has a bad key',
      400,
      [{ error: { code: 400, message: 'API key not valid. Please pass a valid API key.', status: 'INVALID_ARGUMENT' } }],
      'PROVIDER_AUTH',
    ],
    ['AWS denies access', 403, { __type: 'com.amazon.coral.service#AccessDeniedException', Message: 'm' }, 'PROVIDER_AUTH'],
    ['AWS throttles', 429, { __type: 'ThrottlingException', message: 'm' }, 'PROVIDER_RATE_LIMITED'],
    ['a model of Bedrock fails', 424, { message: 'm' }, 'PROVIDER_UNAVAILABLE'],
    ['Groq has no flex capacity', 498, openAi('m', 'capacity_exceeded'), 'PROVIDER_UNAVAILABLE'],
    ['Groq refuses the JSON of its model', 400, openAi('Failed to validate JSON.', 'json_validate_failed'), 'PROVIDER_BAD_REPLY'],
    [
      'llama.cpp has no room, in a stream',
      undefined,
      { code: 400, message: 'the request exceeds the available context size', type: 'exceed_context_size_error' },
      'PROVIDER_REJECTED',
    ],
    [
      'llama.cpp has no room, as its own failure',
      500,
      openAi('Context size has been exceeded.', null, 'server_error'),
      'PROVIDER_REJECTED',
    ],
    [
      'OpenAI has no room',
      400,
      openAi("This model's maximum context length is 8192 tokens.", 'context_length_exceeded'),
      'PROVIDER_REJECTED',
    ],
    ['vLLM in a stream', undefined, { object: 'error', message: 'm', type: 'BadRequestError', code: 400 }, 'PROVIDER_REJECTED'],
    [
      'a service behind a gateway is out of quota',
      429,
      {
        error: {
          message: 'Provider returned error',
          code: 429,
          metadata: { raw: '{"error":{"code":"insufficient_quota","message":"m"}}' },
        },
      },
      'PROVIDER_QUOTA_EXHAUSTED',
    ],
    ['an account of no further meaning', 403, openAi('You are not allowed to sample from this model'), 'PROVIDER_AUTH'],
  ])('%s', (_, status, body, code) => {
    expect(errorOf(status, body)).toMatchObject({ code })
  })

  const raw = { error: { message: 'The input is 4 tokens too long', type: 'invalid_request_error' } }
  test.each([
    ['as JSON text', JSON.stringify(raw)],
    ['as an object', raw],
    ['as plain text', 'The input is 4 tokens too long'],
    ['behind words', `upstream said ${JSON.stringify(raw)}`],
    [
      'nested once more',
      JSON.stringify({ error: { message: 'Provider returned error', metadata: { raw: JSON.stringify(raw) } } }),
    ],
  ])('the reason of the service behind OpenRouter is shown: %s', (_, given) => {
    const error = errorOf(400, {
      error: { message: 'Provider returned error', code: 400, metadata: { raw: given, provider_name: 'Groq' } },
    })
    expect(error.message).toContain('Provider returned error')
    expect(error.message).toContain('The input is 4 tokens too long')
    expect(error.message).toContain('(Groq)')
  })

  test('a key repeated by the service behind a gateway is redacted', () => {
    const error = errorOf(401, { error: { message: 'm', metadata: { raw: { message: 'bad key my-own-secret-1' } } } }, [
      'my-own-secret-1',
    ])
    expect(error.message).toContain('bad key [redacted]')
  })

  test.each([
    ['in the error', { error: { message: 'm', retry_after: 7 } }, 7_000],
    ['beside the error', { error: 'm', retry_after_ms: 250 }, 250],
    ['in the metadata of a gateway', { error: { message: 'm', metadata: { retry_after_seconds: '3' } } }, 3_000],
  ])('a wait %s is read', (_, body, retryAfterMs) => {
    expect(callFactsOf(errorOf(503, body)).retryAfterMs).toBe(retryAfterMs)
  })
})

describe('a parameter that a server rejects by name', () => {
  test.each([
    [
      'OpenAI',
      400,
      openAi(
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        'unsupported_parameter',
        'invalid_request_error',
        'max_tokens',
      ),
      'max_tokens',
      'max_completion_tokens',
    ],
    [
      'OpenAI, a value',
      400,
      openAi(
        "Unsupported value: 'temperature' does not support 0.2 with this model.",
        'unsupported_value',
        'invalid_request_error',
        'temperature',
      ),
      'temperature',
      undefined,
    ],
    [
      'FastAPI',
      422,
      { detail: [{ type: 'extra_forbidden', loc: ['body', 'stream_options'], msg: 'Extra inputs are not permitted' }] },
      'stream_options',
      undefined,
    ],
    [
      'FastAPI, a part of it',
      422,
      {
        detail: [
          { type: 'extra_forbidden', loc: ['body', 'stream_options', 'include_usage'], msg: 'Extra inputs are not permitted' },
        ],
      },
      'stream_options',
      undefined,
    ],
    [
      'Mistral',
      422,
      { object: 'error', message: { detail: [{ type: 'extra_forbidden', loc: ['body', 'stream_options'], msg: 'm' }] } },
      'stream_options',
      undefined,
    ],
    ['a gateway in prose', 400, { error: 'Unrecognized request argument supplied: stream_options' }, 'stream_options', undefined],
    [
      'Gemini',
      400,
      [
        {
          error: {
            code: 400,
            message: 'Invalid JSON payload received. Unknown name "stop": Cannot find field.',
            status: 'INVALID_ARGUMENT',
          },
        },
      ],
      'stop',
      undefined,
    ],
    [
      'a service behind OpenRouter',
      400,
      {
        error: {
          message: 'Provider returned error',
          metadata: { raw: JSON.stringify(openAi('Unsupported parameter: top_p', 'unsupported_parameter')) },
        },
      },
      'top_p',
      undefined,
    ],
    ['a word of its own', 400, { error: "property 'stream_options' is unsupported" }, 'stream_options', undefined],
    ['a value that is always the same', 400, openAi('Invalid parameter: stream_options'), 'stream_options', undefined],
    ['LM Studio', 400, { error: "'response_format.type' must be 'json_schema' or 'text'" }, 'response_format', undefined],
  ])('%s', (_, status, body, refusedParameter, useInstead) => {
    const { details } = errorOf(status, body)
    expect(details.refusedParameter).toBe(refusedParameter)
    expect(details.useInstead).toBe(useInstead)
  })

  test.each([
    [
      'a value that is too large',
      400,
      openAi(
        'max_tokens is too large: 5000. This model supports at most 4096 completion tokens.',
        null,
        'invalid_request_error',
        'max_tokens',
      ),
    ],
    [
      'a prompt that is too long',
      400,
      openAi(
        "This model's maximum context length is 8192 tokens; you asked for 9000 with max_tokens.",
        'context_length_exceeded',
      ),
    ],
    ['a failure of the server', 500, openAi('stream_options is not supported')],
    ['prose about usage', 400, openAi('This model is not supported. See usage and stop worrying.')],
  ])('no rejected parameter is found in %s', (_, status, body) => {
    expect(errorOf(status, body).details.refusedParameter).toBeUndefined()
  })
})

import OpenAI, {
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  ConflictError,
  InternalServerError,
  NotFoundError,
  PermissionDeniedError,
  RateLimitError,
} from 'openai'
import { expect, test, vi } from 'vitest'
import { OrchestratorError } from '../../../src/errors/orchestrator-error.ts'
import { rejection } from '../../support/caught.ts'
import { runServer } from '../running-server.ts'
import { runModelServer, speaksThenFails, TWO_STEPS, USER } from './model-server.ts'

const ASK = { model: 'flow/two steps', messages: [{ role: 'user' as const, content: 'hi' }] }
const failing = (error: OrchestratorError) => () => error

test('an invalid key is an AuthenticationError on all routes', async () => {
  const { url } = await runModelServer([])
  const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'sk-none', maxRetries: 0 })
  for (const call of [
    stranger.models.list(),
    stranger.chat.completions.create(ASK),
    stranger.chat.completions.create({ ...ASK, stream: true }),
    stranger.responses.create({ model: 'flow/x', input: 'hi' }),
  ]) {
    const error = await rejection(call)
    expect(error).toBeInstanceOf(AuthenticationError)
    expect(error).toMatchObject({ status: 401, code: 'invalid_api_key', type: 'invalid_request_error', param: null })
  }
})

test('a key without the scope is a PermissionDeniedError', async () => {
  const { url, keyOf } = await runModelServer([])
  const reader = new OpenAI({ baseURL: `${url}/v1`, apiKey: await keyOf(USER, ['read']), maxRetries: 0 })
  expect((await reader.models.list()).data.length).toBeGreaterThan(0)
  const error = await rejection(reader.chat.completions.create(ASK))
  expect(error).toBeInstanceOf(PermissionDeniedError)
  expect(error).toMatchObject({ code: 'permission_denied', message: '403 This key lacks the scope "execute"' })
})

test('missing consent is a PermissionDeniedError that states what to allow and how, before anything is paid for', async () => {
  const { send, polyphony } = await runServer()
  const { status, json } = await send('POST', '/v1/chat/completions', { body: { ...ASK, model: 'flow/critique' } })
  expect(status).toBe(403)
  expect(json.error).toMatchObject({ code: 'data_sharing_denied', type: 'permission_error', param: null })
  const { message } = Object(json.error)
  const [, path, rules] = /allow it: PUT (\S+) (\{.*\})$/.exec(message) ?? []
  expect(await polyphony.conversations.listThreads('local')).toEqual([])
  expect((await send('PUT', String(path), { body: JSON.parse(String(rules)) })).status).toBe(200)
  expect((await send('POST', '/v1/chat/completions', { body: { ...ASK, model: 'flow/critique' } })).status).toBe(200)
})

test('sharing that a step finds forbidden at run time also states what to allow', async () => {
  const { openai, save } = await runModelServer(
    failing(
      new OrchestratorError('DATA_SHARING_DENIED', 'Step "a" needs more.', { details: { kind: 'attachment', to: 'scripted' } }),
    ),
  )
  await save(TWO_STEPS)
  expect(await rejection(openai.chat.completions.create(ASK))).toMatchObject({
    status: 403,
    message: expect.stringMatching(
      /needs more\. If you want that, allow it: PUT \/api\/v1\/data-sharing\/scripted \{"allowAttachments":true\}$/,
    ),
  })
})

test.each([
  ['GET', '/v1/chat/completions', 'OPTIONS, POST'],
  ['GET', '/v1/responses', 'OPTIONS, POST'],
  ['DELETE', '/v1/models/flow/critique', 'GET, HEAD, OPTIONS'],
])("%s %s lists the supported methods in OpenAI's error format", async (method, path, allow) => {
  const { send } = await runServer()
  const { status, json, headers } = await send(method, path)
  expect(headers.get('allow')).toBe(allow)
  expect({ status, json }).toEqual({
    status: 405,
    json: {
      error: {
        message: `${method}: expected one of ${allow}`,
        type: 'invalid_request_error',
        param: null,
        code: 'method_not_allowed',
      },
    },
  })
})

test.each([
  ['GET', '/v1'],
  ['POST', '/v1/embeddings'],
])("%s %s without a route is an error in OpenAI's format", async (method, path) => {
  const { send } = await runServer()
  const { status, json } = await send(method, path)
  expect({ status, json }).toEqual({
    status: 404,
    json: { error: { message: expect.any(String), type: 'invalid_request_error', param: null, code: 'unknown_url' } },
  })
})

test('errors outside /v1 stay problems of RFC 9457', async () => {
  const { send } = await runServer()
  for (const path of ['/v1x', '/api/v1/flows/none', '/nothing']) {
    const { headers, json } = await send('GET', path)
    expect(headers.get('content-type')).toContain('application/problem+json')
    expect(json).toMatchObject({ type: expect.stringContaining('urn:polyphony:problem:') })
  }
})

test('too many requests are a RateLimitError with the time to wait', async () => {
  const { url } = await runServer({ server: { requestsPerMinute: 1 } })
  const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'any', maxRetries: 0 })
  await openai.models.list()
  const error = await rejection(openai.models.list())
  expect(error).toBeInstanceOf(RateLimitError)
  if (!(error instanceof RateLimitError)) return
  expect(error).toMatchObject({ code: 'rate_limit_exceeded', type: 'rate_limit_error' })
  expect(error.headers.get('x-should-retry')).toBe('true')
  expect(Number(error.headers.get('retry-after'))).toBeGreaterThan(0)
})

test.each([
  [{ model: 7, messages: [] }, 'model'],
  [{ messages: ASK.messages }, 'model'],
  [{ ...ASK, messages: 'hi' }, 'messages'],
  [{ ...ASK, messages: [...ASK.messages, { role: 'user', content: [{ type: 'text', text: 7 }] }] }, 'messages[1].content'],
  [{ ...ASK, metadata: { a: 1 } }, 'metadata.a'],
  [{ ...ASK, metadata: Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, 'v'])) }, 'metadata'],
  [{ ...ASK, stream_options: { include_usage: 'yes' } }, 'stream_options.include_usage'],
])('a body that is not valid is a BadRequestError that names the field: %j', async (body, param) => {
  const { send } = await runServer()
  const { status, json } = await send('POST', '/v1/chat/completions', { body })
  expect({ status, json }).toMatchObject({
    status: 400,
    json: { error: { type: 'invalid_request_error', code: 'invalid_value', param } },
  })
})

test.each(['constructor', '__proto__', 'function', 'User'])('a message of the role "%s" is refused', async (role) => {
  const { send, save, keyOf } = await runModelServer([])
  await save(TWO_STEPS)
  const key = await keyOf(USER)
  const { status, json } = await send('POST', '/v1/chat/completions', {
    key,
    body: { ...ASK, messages: [{ role, content: 'hi' }] },
  })
  expect({ status, json }).toMatchObject({
    status: 400,
    json: { error: { code: 'unsupported_value', param: 'messages[0].role' } },
  })
})

test.each([
  ['PROVIDER_RATE_LIMITED', RateLimitError, 429, 'rate_limit_exceeded'],
  ['PROVIDER_UNAVAILABLE', InternalServerError, 503, 'provider_unavailable'],
  ['STEP_TIMEOUT', InternalServerError, 504, 'step_timeout'],
  ['CONTENT_FILTERED', BadRequestError, 400, 'content_filter'],
  ['PROVIDER_QUOTA_EXHAUSTED', OpenAI.APIError, 402, 'insufficient_quota'],
] as const)(
  'a flow that fails with %s has the matching error class and is not repeated by the client',
  async (code, kind, status, expected) => {
    const { save, url, keyOf, polyphony } = await runModelServer(failing(new OrchestratorError(code, 'no', { retryable: false })))
    await save(TWO_STEPS)
    const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: await keyOf(USER), maxRetries: 2 })
    const error = await rejection(openai.chat.completions.create(ASK))
    expect(error).toBeInstanceOf(kind)
    expect(error).toMatchObject({ status, code: expected })
    const streamed = await rejection(openai.chat.completions.create({ ...ASK, stream: true }))
    expect(streamed).toMatchObject({ status, code: expected })
    const flows = await Promise.all(
      (await polyphony.conversations.listThreads(USER)).map(({ id }) => polyphony.orchestrator.listFlows(id, USER)),
    )
    expect(
      flows
        .flat()
        .map((flow) => flow.status)
        .toSorted(),
    ).toEqual(['FAILED', 'FAILED', 'PENDING'])
  },
)

test('a second request with the Idempotency-Key of a running one is a ConflictError', async () => {
  const { openai, save, provider } = await runModelServer([{ text: '', hang: true }])
  await save(TWO_STEPS)
  const leave = new AbortController()
  const options = { headers: { 'idempotency-key': 'once' } }
  const first = rejection(openai.chat.completions.create(ASK, { ...options, signal: leave.signal }))
  await vi.waitFor(() => expect(provider.requests).toHaveLength(1))
  const error = await rejection(openai.chat.completions.create(ASK, options))
  expect(error).toBeInstanceOf(ConflictError)
  expect(error).toMatchObject({ code: 'request_in_progress' })
  leave.abort()
  expect(await first).toBeInstanceOf(APIUserAbortError)
})

test('a flow that fails after its first text ends the stream with an error and no [DONE]', async () => {
  const cut = new OrchestratorError('PROVIDER_STREAM_CUT', 'the answer was cut')
  const { openai, save, url, keyOf } = await runModelServer([], speaksThenFails('first words', cut))
  await save({ ...TWO_STEPS, steps: TWO_STEPS.steps.slice(0, 1) })
  const stream = openai.chat.completions.stream(ASK)
  const pieces: string[] = []
  stream.on('content', (delta) => pieces.push(delta))
  const error = await rejection(stream.finalChatCompletion())
  expect(pieces).toEqual(['first words'])
  expect(error).toBeInstanceOf(OpenAI.APIError)
  expect(error).toMatchObject({ code: 'provider_stream_cut', type: 'server_error', message: 'the answer was cut' })

  const raw = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await keyOf(USER)}`, 'content-type': 'application/json' },
    body: JSON.stringify({ ...ASK, stream: true }),
  })
  const events = (await raw.text()).split('\n\n')
  expect(events.at(-1)).toBe('')
  expect(JSON.parse(events.at(-2)?.replace(/^data: /, '') ?? '')).toEqual({
    error: { message: 'the answer was cut', type: 'server_error', param: null, code: 'provider_stream_cut' },
  })
})

test('an unknown response is a NotFoundError', async () => {
  const { openai } = await runModelServer([])
  const error = await rejection(openai.responses.retrieve('resp_unknown'))
  expect(error).toBeInstanceOf(NotFoundError)
})

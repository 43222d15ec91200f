import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createClient, PolyphonyError } from '../../src/client/client.ts'
import { rejection } from '../support/caught.ts'
import { answers, createQuickClient, createScriptedServer, type Play, type ScriptedServer } from './scripted-server.ts'

let server: ScriptedServer
beforeAll(async () => {
  server = await createScriptedServer()
})
afterAll(() => server.close())

const thread = { id: 't1', userId: 'ada', createdAt: '2026-11-20T06:00:00.000Z' }

describe('a call of the client', () => {
  const flow = { threadId: 't', template: 'critique' }
  const rows: readonly [string, (client: ReturnType<typeof createClient>) => Promise<unknown>, string, unknown, boolean][] = [
    ['me.get', ({ me }) => me.get(), 'GET /me', undefined, false],
    ['threads.create', ({ threads }) => threads.create({ title: 'x' }), 'POST /threads', { title: 'x' }, true],
    ['threads.create without anything', ({ threads }) => threads.create(), 'POST /threads', {}, true],
    ['threads.list', ({ threads }) => threads.list({ limit: 5, offset: 10 }), 'GET /threads?limit=5&offset=10', undefined, false],
    ['threads.get', ({ threads }) => threads.get('a/b ?#'), 'GET /threads/a%2Fb%20%3F%23', undefined, false],
    [
      'messages.add',
      ({ messages }) => messages.add('t', { role: 'user', content: 'ü' }),
      'POST /threads/t/messages',
      { role: 'user', content: 'ü' },
      true,
    ],
    ['messages.list', ({ messages }) => messages.list('t', { limit: 2 }), 'GET /threads/t/messages?limit=2', undefined, false],
    ['permissions.list', ({ permissions }) => permissions.list('t'), 'GET /threads/t/permissions', undefined, false],
    [
      'permissions.set',
      ({ permissions }) => permissions.set('t', 'u', ['read']),
      'PUT /threads/t/permissions/u',
      { rights: ['read'] },
      false,
    ],
    ['dataSharing.list', ({ dataSharing }) => dataSharing.list(), 'GET /data-sharing', undefined, false],
    ['dataSharing.get', ({ dataSharing }) => dataSharing.get('p'), 'GET /data-sharing/p', undefined, false],
    [
      'dataSharing.set',
      ({ dataSharing }) => dataSharing.set('p', { allowAttachments: true }),
      'PUT /data-sharing/p',
      { allowAttachments: true },
      false,
    ],
    ['flows.create', ({ flows }) => flows.create(flow), 'POST /flows', flow, true],
    [
      'flows.list',
      ({ flows }) => flows.list({ status: 'FAILED', sortBy: 'name', limit: undefined }),
      'GET /flows?status=FAILED&sortBy=name',
      undefined,
      false,
    ],
    ['flows.get', ({ flows }) => flows.get('f'), 'GET /flows/f', undefined, false],
    ['flows.check', ({ flows }) => flows.check({ template: 'qa' }), 'POST /flows/check', { template: 'qa' }, false],
    ['flows.execute', ({ flows }) => flows.execute('f', { input: 'x' }), 'POST /flows/f/execute', { input: 'x' }, true],
    [
      'flows.executeStep',
      ({ flows }) => flows.executeStep('f', 's', { input: 'x' }),
      'POST /flows/f/steps/s/execute',
      { input: 'x' },
      true,
    ],
    ['flows.cancel', ({ flows }) => flows.cancel('f'), 'POST /flows/f/cancel', undefined, false],
    ['flows.rerun', ({ flows }) => flows.rerun('f', { fromStep: 's' }), 'POST /flows/f/rerun', { fromStep: 's' }, true],
    ['flows.status', ({ flows }) => flows.status('f'), 'GET /flows/f/status', undefined, false],
    ['templates.list', ({ templates }) => templates.list(), 'GET /templates', undefined, false],
    ['templates.get', ({ templates }) => templates.get('qa'), 'GET /templates/qa', undefined, false],
    [
      'templates.instantiate',
      ({ templates }) => templates.instantiate('qa', { a: 1 }),
      'POST /templates/qa/instantiate',
      { parameters: { a: 1 } },
      false,
    ],
    ['providers.list', ({ providers }) => providers.list(), 'GET /providers', undefined, false],
    ['providers.get', ({ providers }) => providers.get('openai'), 'GET /providers/openai', undefined, false],
    ['providers.health', ({ providers }) => providers.health('openai'), 'GET /providers/openai/health', undefined, false],
    [
      'usage.get',
      ({ usage }) => usage.get({ from: '2026-11-01', groupBy: ['day', 'model'] }),
      'GET /usage?from=2026-11-01&groupBy=day%2Cmodel',
      undefined,
      false,
    ],
  ]

  test.each(rows)('sends its own HTTP request: %s', async (_, call, line, body, keyed) => {
    server.play(answers.json(200, thread))
    const { client } = createQuickClient(server, { apiKey: 'pk_1_x' })
    expect(await call(client)).toEqual(thread)
    const [request] = server.requests
    expect(`${request?.method} ${request?.path}`).toBe(line.replace(' ', ' /api/v1'))
    expect(request?.body).toEqual(body)
    expect(request?.headers.authorization).toBe('Bearer pk_1_x')
    expect(request?.headers['content-type']).toBe(body === undefined ? undefined : 'application/json')
    expect(request?.headers['idempotency-key'] !== undefined).toBe(keyed)
  })

  test('resolves with undefined for an answer without a body', async () => {
    server.play(answers.nothing())
    const { client } = createQuickClient(server)
    expect(await client.threads.delete('t')).toBeUndefined()
    expect(await client.flows.delete('f')).toBeUndefined()
    expect(await client.dataSharing.delete('p')).toBeUndefined()
    expect(server.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'DELETE /api/v1/threads/t',
      'DELETE /api/v1/flows/f',
      'DELETE /api/v1/data-sharing/p',
    ])
  })

  test.each(['.', '..', ''])('never reaches another resource by its id "%s"', async (id) => {
    server.play(answers.nothing())
    const { client } = createQuickClient(server)
    expect(await rejection(client.threads.delete(id))).toMatchObject({ code: 'INPUT_INVALID', status: undefined })
    expect(await rejection(client.flows.follow(id).next())).toMatchObject({ code: 'INPUT_INVALID' })
    expect(server.requests).toEqual([])
  })

  test('sends a new Idempotency-Key with each call, the same with each attempt, or the given one', async () => {
    server.play(answers.drop(), answers.problem(503, 'SERVER_CLOSING', { retryable: true }), answers.json(201, thread))
    const { client } = createQuickClient(server)
    await client.threads.create()
    await client.threads.create()
    await client.threads.create({}, { idempotencyKey: 'mine' })
    const keys = server.requests.map(({ headers }) => headers['idempotency-key'])
    expect(keys[0]).toMatch(/^[0-9a-f-]{36}$/)
    expect([keys[1], keys[2]]).toEqual([keys[0], keys[0]])
    expect(keys[3]).not.toBe(keys[0])
    expect(keys[4]).toBe('mine')
  })

  test('carries the headers of the client, of the call and of the hook, which never sees the key', async () => {
    server.play(answers.drop(), answers.json(200, thread))
    const seen: unknown[] = []
    const { client } = createQuickClient(server, {
      apiKey: 'pk_1_secret',
      headers: { 'x-team': 'blue', 'x-call': 'client' },
      onRequest({ method, url, headers, attempt }) {
        seen.push([method, url, attempt, headers.get('authorization')])
        headers.set('traceparent', '00-1-2-01')
      },
    })
    await client.threads.get('t', { headers: { 'x-call': 'call' } })
    const url = `${server.url}/api/v1/threads/t`
    expect(seen).toEqual([
      ['GET', url, 1, null],
      ['GET', url, 2, null],
    ])
    expect(server.requests[1]?.headers).toMatchObject({ 'x-team': 'blue', 'x-call': 'call', traceparent: '00-1-2-01' })
  })

  test('requests a token before every attempt', async () => {
    server.play(answers.drop(), answers.json(200, thread))
    let count = 0
    const { client } = createQuickClient(server, { token: async () => `token-${++count}` })
    await client.me.get()
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual(['Bearer token-1', 'Bearer token-2'])
  })

  test('requests all pages of flows, and stops when the loop is left', async () => {
    const page = (ids: readonly string[], nextCursor?: string) =>
      answers.json(200, { items: ids.map((id) => ({ id })), nextCursor })
    const { client } = createQuickClient(server)
    server.play(page(['a', 'b'], 'c/1'), page([], 'c2'), page(['c']))
    const ids: string[] = []
    for await (const { id } of client.flows.all({ status: 'RUNNING', limit: 2, offset: 1 })) ids.push(id)
    expect(ids).toEqual(['a', 'b', 'c'])
    expect(server.requests.map(({ path }) => path.split('?')[1])).toEqual([
      'status=RUNNING&limit=2&offset=1',
      'status=RUNNING&limit=2&cursor=c%2F1',
      'status=RUNNING&limit=2&cursor=c2',
    ])
    server.play(page(['a'], 'more'))
    for await (const _ of client.flows.all()) break
    expect(server.requests).toHaveLength(1)
  })
})

describe('an error of the client', () => {
  test('contains all fields of the problem', async () => {
    const errors = [{ pointer: '#/title', detail: 'too long' }]
    server.play(answers.problem(422, 'INPUT_INVALID', { pointer: '#/title', errors, details: { most: 500 }, requestId: 'r1' }))
    const error = await rejection(createQuickClient(server).client.threads.create())
    expect(error).toBeInstanceOf(PolyphonyError)
    expect(error).toMatchObject({
      name: 'PolyphonyError',
      message: 'what INPUT_INVALID says',
      detail: 'what INPUT_INVALID says',
      code: 'INPUT_INVALID',
      status: 422,
      pointer: '#/title',
      errors,
      remedy: 'do something',
      retryable: false,
      requestId: 'r1',
      details: { most: 500 },
    })
  })

  test.each([200, 404, 500])('is BAD_ANSWER for HTTP %d with a foreign page, without its text', async (status) => {
    server.play(answers.html(status))
    const error = await rejection(createQuickClient(server).client.threads.delete('t'))
    expect(error).toMatchObject({ code: 'BAD_ANSWER', status })
    expect(String(error)).toContain('text/html')
    expect(JSON.stringify(error) + String(error)).not.toContain('Ada')
  })

  test.each([['[]'], ['"text"'], ['null'], ['{"id":']])('is BAD_ANSWER for the answer %s', async (body) => {
    server.play((response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(body)
    })
    expect(await rejection(createQuickClient(server).client.threads.get('t'))).toMatchObject({ code: 'BAD_ANSWER', status: 200 })
  })

  test('is NETWORK, with the address, when the network fails', async () => {
    const gone = await createScriptedServer()
    await gone.close()
    const { client, delays } = createQuickClient(gone)
    expect(await rejection(client.threads.delete('t'))).toMatchObject({
      code: 'NETWORK',
      status: undefined,
      retryable: true,
      message: expect.stringMatching(/^No answer from http:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED/),
    })
    expect(delays).toEqual([])
    expect(PolyphonyError.is(await rejection(client.flows.cancel('f')))).toBe(true)
  })

  test('never follows a redirect with a key', async () => {
    const redirect: Play = (response) => {
      response.writeHead(307, { location: `${server.url}/elsewhere` }).end()
    }
    server.play(redirect, redirect, redirect)
    const { client, delays } = createQuickClient(server, { apiKey: 'pk_1_x' })
    const calls = [() => client.threads.delete('t'), () => client.threads.get('t'), () => client.flows.follow('f').next()]
    for (const call of calls) {
      expect(await rejection(call())).toMatchObject({ code: 'BAD_ANSWER', message: expect.stringContaining('A redirect') })
    }
    expect(server.requests.map(({ path }) => path)).not.toContain('/elsewhere')
    expect([server.requests.length, delays]).toEqual([3, []])
  })

  test.each([
    ['an invalid address', { baseUrl: 'nonsense' }],
    ['an address of another kind', { baseUrl: 'ftp://127.0.0.1' }],
    ['an address with a password', { baseUrl: 'http://ada:hunter2@127.0.0.1' }],
    ['a key and a token', { baseUrl: 'http://127.0.0.1', apiKey: 'pk_hunter2', token: 'hunter2' }],
  ])('comes at once for %s, and repeats no secret', (_, options) => {
    let thrown: unknown
    try {
      createClient(options)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toMatchObject({ code: 'INPUT_INVALID' })
    expect(String(thrown)).not.toContain('hunter2')
  })

  test.each([
    ['a key with a line end', { apiKey: 'hunter2\n' }],
    ['a token in other letters', { token: () => 'hunter2ж' }],
    ['a header with a line end', { headers: { 'x-a': 'hunter2\n\nx' } }],
  ])('repeats no secret of %s, and nothing is sent', async (_, options) => {
    server.play(answers.json(200, thread))
    const error = await rejection(createQuickClient(server, options).client.me.get())
    expect(error).toMatchObject({ code: 'INPUT_INVALID', status: undefined })
    expect(String(error)).not.toContain('hunter2')
    expect(server.requests).toEqual([])
  })

  test('is retryable when the token function fails, unless that function throws a PolyphonyError', async () => {
    server.play(answers.json(200, thread))
    let failures = 0
    const flaky = createQuickClient(server, {
      token: () => {
        if (++failures < 3) throw new TypeError('fetch failed')
        return 'good'
      },
    })
    await flaky.client.me.get()
    expect(server.requests).toHaveLength(1)
    const loggedOut = new PolyphonyError('UNAUTHENTICATED', 'logged out')
    const refusing = createQuickClient(server, { token: () => Promise.reject(loggedOut) })
    expect(await rejection(refusing.client.me.get())).toBe(loggedOut)
    expect(refusing.delays).toEqual([])
  })
})

describe('a failed call of the client', () => {
  const passing = [
    ['429', answers.problem(429, 'RATE_LIMITED', { retryable: true })],
    ['502 of a proxy', answers.html(502)],
    ['503', answers.problem(503, 'SERVER_CLOSING', { retryable: true })],
    ['504 of a proxy', answers.html(504)],
    ['a dropped connection', answers.drop()],
    ['a cut body', answers.cut()],
    ['its own first try, still at work', answers.problem(409, 'REQUEST_IN_PROGRESS', { retryable: true })],
  ] as const

  test.each(passing)('is repeated only if that is safe: %s', async (_, answer) => {
    const { client } = createQuickClient(server)
    for (const call of [() => client.threads.get('t'), () => client.flows.rerun('f')]) {
      server.play(answer, answer, answers.json(200, thread))
      expect(await call()).toEqual(thread)
      expect(server.requests).toHaveLength(3)
    }
    for (const call of [
      () => client.flows.cancel('f'),
      () => client.threads.delete('t'),
      () => client.dataSharing.set('p', {}),
    ]) {
      server.play(answer, answers.json(200, thread))
      expect(PolyphonyError.is(await rejection(call()))).toBe(true)
      expect(server.requests).toHaveLength(1)
    }
  })

  test('rejects after three retries, or after maxRetries', async () => {
    const { client, delays } = createQuickClient(server)
    server.play(answers.drop())
    expect(await rejection(client.threads.get('t'))).toMatchObject({ code: 'NETWORK' })
    expect(server.requests).toHaveLength(4)
    expect(delays).toEqual([375, 750, 1500])
    server.play(answers.drop())
    await rejection(createQuickClient(server, { maxRetries: 0 }).client.threads.get('t'))
    expect(server.requests).toHaveLength(1)
  })

  test.each([
    ['400 of a proxy', answers.html(400)],
    ['500', answers.problem(500, 'INTERNAL')],
    ['a timeout of the flow', answers.problem(504, 'FLOW_TIMEOUT')],
    ['a flow that is running', answers.problem(409, 'FLOW_ALREADY_RUNNING', { retryable: true })],
  ])('is not repeated if that would change nothing: %s', async (_, answer) => {
    server.play(answer)
    await rejection(createQuickClient(server).client.flows.execute('f'))
    expect(server.requests).toHaveLength(1)
  })

  test('waits as long as the server requests, and rejects at once if that is too long', async () => {
    const { client, delays } = createQuickClient(server)
    const limited = (after: string) => answers.problem(429, 'RATE_LIMITED', { retryable: true }, { 'retry-after': after })
    server.play(limited('7'), answers.json(200, thread))
    await client.threads.get('t')
    expect(delays).toEqual([7_250])
    server.play(limited('61'))
    expect(await rejection(client.threads.get('t'))).toMatchObject({ code: 'RATE_LIMITED', retryAfterMs: 61_000 })
    expect(server.requests).toHaveLength(1)
  })

  test('rejects at once with the reason of its signal: before, during, and between attempts', async () => {
    const reason = new Error('enough')
    server.play(answers.hang())
    expect(await rejection(createQuickClient(server).client.me.get({ signal: AbortSignal.abort(reason) }))).toBe(reason)
    expect(server.requests).toEqual([])

    const during = new AbortController()
    server.play(() => during.abort(reason))
    expect(await rejection(createQuickClient(server).client.me.get({ signal: during.signal }))).toBe(reason)

    const waiting = new AbortController()
    server.play(answers.drop())
    const { client } = createQuickClient(server, { wait: async () => waiting.abort(reason) })
    expect(await rejection(client.me.get({ signal: waiting.signal }))).toBe(reason)
    expect(server.requests).toHaveLength(1)

    const stuck = new AbortController()
    const ignoring = createQuickClient(server, { fetch: () => new Promise(() => {}) })
    const call = ignoring.client.me.get({ signal: stuck.signal })
    stuck.abort(reason)
    expect(await rejection(call)).toBe(reason)
  })

  test('leaves no listener on a long-lived signal', async () => {
    const listeners = new Set<unknown>()
    const { signal } = new AbortController()
    const { addEventListener, removeEventListener } = signal
    signal.addEventListener = (...given: Parameters<AbortSignal['addEventListener']>) => {
      listeners.add(given[1])
      addEventListener.apply(signal, given)
    }
    signal.removeEventListener = (...given: Parameters<AbortSignal['removeEventListener']>) => {
      listeners.delete(given[1])
      removeEventListener.apply(signal, given)
    }
    server.play(answers.drop(), answers.json(200, thread))
    await createQuickClient(server).client.me.get({ signal })
    expect(listeners.size).toBe(0)
  })
})

describe('the address of a server', () => {
  test.each([
    ['/', ''],
    ['/api/v1', ''],
    ['/api/v1/', ''],
    ['/tools/flows/', '/tools/flows'],
  ])('may have a path: %s', async (path, prefix) => {
    server.play(answers.json(200, thread))
    await createQuickClient({ url: server.url + path }).client.me.get()
    expect(server.requests[0]?.path).toBe(`${prefix}/api/v1/me`)
  })
})

describe('executeAndWait', () => {
  const flow = { id: 'f', definition: {}, status: 'COMPLETED' }
  const end = 'event: end\ndata: {"flowId":"f","status":"COMPLETED","lastSeq":0}\n\n'
  const stream = (text: string) => (response: import('node:http').ServerResponse) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' }).end(text)
  }

  test('sends one request for a flow that ends during waitMs', async () => {
    server.play(answers.json(200, flow))
    expect(await createQuickClient(server).client.flows.executeAndWait('f', { input: 'x' }, { waitMs: 10_000 })).toEqual(flow)
    expect(server.requests.map(({ path, body }) => [path, body])).toEqual([
      ['/api/v1/flows/f/execute?wait=10000', { input: 'x' }],
    ])
  })

  test.each([
    ['takes longer', [answers.json(202, { flowId: 'f', status: 'RUNNING' })]],
    [
      'was started by a try whose answer was lost',
      Array.from({ length: 4 }, () => answers.problem(409, 'REQUEST_IN_PROGRESS', { retryable: true })),
    ],
  ])('streams a flow that %s, over lost connections, and reads it at its end', async (_, first) => {
    server.play(...first, stream(': ping\n\n'), stream(end), answers.json(200, flow))
    const options = { waitMs: 5, headers: { 'x-tenant': 'a' } }
    expect(await createQuickClient(server).client.flows.executeAndWait('f', {}, options)).toEqual(flow)
    expect(server.requests.slice(first.length).map(({ path }) => path)).toEqual([
      '/api/v1/flows/f/updates?afterSeq=0',
      '/api/v1/flows/f/updates?afterSeq=0',
      '/api/v1/flows/f',
    ])
    expect(server.requests.map(({ headers }) => headers['x-tenant'])).toEqual(server.requests.map(() => 'a'))
  })

  test('rejects with the reason of its signal, and does not cancel the flow', async () => {
    const abort = new AbortController()
    server.play(answers.json(202, { flowId: 'f', status: 'RUNNING' }), () => abort.abort('enough'))
    expect(await rejection(createQuickClient(server).client.flows.executeAndWait('f', {}, { signal: abort.signal }))).toBe(
      'enough',
    )
    expect(server.requests.map(({ method }) => method)).toEqual(['POST', 'GET'])
  })
})

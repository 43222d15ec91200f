import { describe, expect, test } from 'vitest'
import { createCache } from '../../src/caches/create-cache.ts'
import { type AnswerCacheDeps, answerCache, type KeptAnswer } from '../../src/calls/answers/answer-cache.ts'
import type { AnswerCaching, AttemptContext, CallResponse, PreparedRequest } from '../../src/calls/call.ts'
import { createCall } from '../../src/calls/create-call.ts'
import type { ModelResponse } from '../../src/domain/execution/model-call.ts'
import type { Attempt } from '../../src/domain/execution/step-result.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { fence } from '../../src/prompts/fence.ts'
import { answer, callAnswer, callContext, manualClock, prepared, settled, tryContext } from '../support/calls.ts'
import { rejection } from '../support/caught.ts'

const CACHING: AnswerCaching = {
  scope: 'user:ada',
  flowId: 'flow-1',
  sample: 0,
  keepsReasoning: false,
  onAnswer: (keep) => keep(),
}

const paidAttempt = (): Attempt => ({
  number: 1,
  provider: 'alpha',
  model: 'model-a',
  startedAt: new Date(0),
  executionTime: 5,
  cost: 0.01,
  costSource: 'prices',
  aborted: false,
  simulated: false,
})

/** The layer over a provider whose requests are answered by hand, with one store. */
function open(deps: Partial<AnswerCacheDeps> = {}) {
  const clock = manualClock()
  const store = createCache<KeptAnswer>({ policy: 'lru', maxEntries: 100, maxBytes: 10_000, now: clock.now })
  const requests: {
    readonly context: AttemptContext
    readonly answer: (more?: Partial<CallResponse>) => void
    readonly fail: (error: unknown) => void
  }[] = []
  const layer = answerCache(
    {
      open: async () => store,
      ttlMs: 60_000,
      originOf: (provider) => `https://${provider}.example`,
      versionOf: () => '1',
      ...deps,
    },
    clock,
  )
  const call = layer((_request, context) => {
    return new Promise((resolve, reject) => {
      const attempted = () => context.onAttempt(paidAttempt())
      context.signal.addEventListener('abort', () => {
        attempted()
        reject(context.signal.reason)
      })
      requests.push({
        context,
        answer(more) {
          attempted()
          resolve(callAnswer(more))
        },
        fail(error) {
          attempted()
          reject(error)
        },
      })
    })
  })
  const ask = (
    request: Partial<PreparedRequest> = {},
    caching: Partial<AnswerCaching> = {},
    context: Partial<AttemptContext> = {},
  ) => {
    const own = tryContext({ answerCaching: { ...CACHING, ...caching }, ...context })
    return { own, response: call(prepared(request), own) }
  }
  /** Asks and answers, so that the answer is kept. */
  const keep = async (more?: Partial<CallResponse>, request?: Partial<PreparedRequest>, caching?: Partial<AnswerCaching>) => {
    const asked = ask(request, caching)
    await settled()
    requests.at(-1)?.answer(more)
    await asked.response
    return asked
  }
  /** Whether another equal call is served without a request. */
  const isServed = async (request?: Partial<PreparedRequest>, caching?: Partial<AnswerCaching>) => {
    const before = requests.length
    const { response } = ask(request, caching)
    await settled()
    const served = requests.length === before
    requests.at(-1)?.answer()
    await response
    return served
  }
  return { clock, store, requests, ask, keep, isServed, call }
}

describe('a kept answer', () => {
  test('is served in one piece as an attempt that costs 0, with a note of its age and without usage', async () => {
    const { clock, keep, ask, requests } = open()
    await keep({ text: 'hello you', notes: ['first note'], providerCostUsd: 0.5, model: 'model-a-2026' })
    await clock.pass(12_000)
    const pieces: string[] = []
    const { response, own } = ask({}, {}, { onDelta: (text) => pieces.push(text) })
    expect(await response).toMatchObject({
      text: 'hello you',
      model: 'model-a-2026',
      usage: { source: 'unknown' },
      providerCostUsd: undefined,
      notes: ['first note', 'the answer was kept 12 s ago and is served from the cache'],
    })
    expect(pieces).toEqual(['hello you'])
    expect(requests).toHaveLength(1)
    expect(own.attempts).toEqual([
      {
        number: 1,
        provider: 'alpha',
        model: 'model-a-2026',
        startedAt: new Date(clock.now()),
        executionTime: 0,
        cost: 0,
        costSource: 'cache',
        aborted: false,
        cached: true,
        simulated: false,
      },
    ])
    expect(own.attempts[0]).not.toHaveProperty('usage')
    expect(own.progress).toMatchObject({ attempts: 1, textDelivered: true })
  })

  test('is not served when its time is over: that of the configuration, of the step that kept it, or of the step that asks', async () => {
    const { clock, keep, isServed } = open()
    await keep()
    await keep({}, {}, { scope: 'short', ttlMs: 1_000 })
    await clock.pass(999)
    expect(await isServed({}, { scope: 'short' })).toBe(true)
    expect(await isServed({}, { ttlMs: 1_000 })).toBe(true)
    await clock.pass(2)
    expect(await isServed({}, { scope: 'short' })).toBe(false)
    await clock.pass(58_998)
    expect(await isServed()).toBe(true)
    await clock.pass(2)
    expect(await isServed()).toBe(false)
    await clock.pass(10)
    expect(await isServed({}, { ttlMs: 10 })).toBe(false)
  })

  test.each<[string, Partial<PreparedRequest>, Partial<AnswerCaching>]>([
    ['provider', { provider: 'beta' }, {}],
    ['model', { model: 'model-b' }, {}],
    ['system prompt', { system: 'You are long.' }, {}],
    ['message', { messages: [{ role: 'user', content: 'Hello' }] }, {}],
    ['setting', { settings: { temperature: 0.1 } }, {}],
    ['schema', { outputSchema: { type: 'object' } }, {}],
    ['user', {}, { scope: 'user:bob' }],
    ['flow, where it is kept for a flow', {}, { scope: 'flow:2' }],
    ['sample', {}, { sample: 2 }],
    ['wish to keep reasoning', {}, { keepsReasoning: true }],
  ])('is not served to a request with another %s', async (_name, request, caching) => {
    const { keep, isServed } = open()
    await keep()
    expect(await isServed(request, caching)).toBe(false)
    expect(await isServed()).toBe(true)
  })

  test('is not served after its provider moved to another address, or after the adapters changed', async () => {
    const moved = { origin: 'https://one.example', version: '1' }
    const { keep, isServed } = open({ originOf: () => moved.origin, versionOf: () => moved.version })
    await keep()
    expect(await isServed()).toBe(true)
    moved.origin = 'https://two.example'
    expect(await isServed()).toBe(false)
    moved.version = '2'
    expect(await isServed()).toBe(false)
  })

  test('is served although the marks around outputs hold another marker', async () => {
    const { keep, isServed } = open()
    const request = (text: string, marker: string) => ({
      messages: [{ role: 'user', content: `Review ${fence(text, 'draft', () => marker)}` }] as const,
    })
    await keep({}, request('a draft', '0123456789abcdef'))
    expect(await isServed(request('a draft', 'fedcba9876543210'))).toBe(true)
    expect(await isServed(request('another draft', '0123456789abcdef'))).toBe(false)
  })

  test('is served although another beginning of the prompt is stable, which decides only what the vendor caches', async () => {
    const { keep, isServed } = open()
    const request = (stableLength?: number) => ({ messages: [{ role: 'user', content: 'Review it.', stableLength }] as const })
    await keep({}, request())
    expect(await isServed(request(6))).toBe(true)
  })

  test('holds reasoning only if the step keeps it', async () => {
    const { keep, ask } = open()
    await keep({ reasoningText: 'think' })
    expect((await ask().response).reasoningText).toBeUndefined()
    await keep({ reasoningText: 'think' }, {}, { keepsReasoning: true })
    expect((await ask({}, { keepsReasoning: true }).response).reasoningText).toBe('think')
  })
})

describe('nothing is kept', () => {
  test.each<[string, Partial<CallResponse>]>([
    ['a refusal', { refusal: 'no' }],
    ['an answer at the limit of tokens', { finishReason: 'length', cut: 'cut' }],
    ['a filtered answer', { finishReason: 'content_filter', cut: 'cut' }],
    ['an answer that ended for an unknown reason', { finishReason: 'other', cut: 'may be cut' }],
    ['an answer of the simulator', { simulated: true }],
    ['an answer with files', { files: [{ mediaType: 'image/png', data: new Uint8Array(3) }] }],
    ['an answer with tool calls', { toolCalls: [{ name: 'search', arguments: '{}' }] }],
  ])('of %s', async (_name, more) => {
    const { keep, isServed } = open()
    await keep(more)
    expect(await isServed()).toBe(false)
  })

  test('of an answer that its reader does not accept', async () => {
    const { keep, isServed } = open()
    await keep({}, {}, { onAnswer: () => undefined })
    expect(await isServed()).toBe(false)
  })

  test('of an error', async () => {
    const { ask, requests, isServed } = open()
    const { response } = ask()
    await settled()
    requests[0]?.fail(new OrchestratorError('PROVIDER_UNAVAILABLE', 'down'))
    expect(await rejection(response)).toMatchObject({ code: 'PROVIDER_UNAVAILABLE' })
    expect(await isServed()).toBe(false)
  })

  test('where the step does not ask for it', async () => {
    const { call, requests } = open()
    for (let index = 0; index < 2; index++) {
      const response = call(prepared(), tryContext())
      await settled()
      requests[index]?.answer()
      await response
    }
    expect(requests).toHaveLength(2)
  })
})

describe('equal calls at the same time', () => {
  test('share one request within a flow: one pays, the other gets the answer in one piece at no cost', async () => {
    const { ask, requests } = open()
    const [one, two]: [string[], string[]] = [[], []]
    const first = ask({}, {}, { onDelta: (text) => one.push(text) })
    const second = ask({}, {}, { onDelta: (text) => two.push(text) })
    await settled()
    expect(requests).toHaveLength(1)
    requests[0]?.context.onDelta?.('hel')
    requests[0]?.context.onDelta?.('lo')
    requests[0]?.answer()
    expect(await first.response).toMatchObject({ text: 'hello', usage: { source: 'reported' } })
    expect(await second.response).toMatchObject({ text: 'hello', usage: { source: 'unknown' } })
    expect([one, two]).toEqual([['hel', 'lo'], ['hello']])
    expect(first.own.attempts).toMatchObject([{ cost: 0.01 }])
    expect(second.own.attempts).toMatchObject([{ cost: 0, cached: true }])
  })

  test('of two flows make a request each', async () => {
    const { ask, requests } = open()
    const calls = [ask({}, { flowId: 'flow-1' }), ask({}, { flowId: 'flow-2' })]
    await settled()
    expect(requests).toHaveLength(2)
    for (const request of requests) request.answer()
    for (const { response } of calls) await response
  })

  test('go on when the one that pays is aborted, and the other pays', async () => {
    const { ask, requests } = open()
    const controller = new AbortController()
    const [one, two]: [string[], string[]] = [[], []]
    const first = ask({}, {}, { signal: controller.signal, onDelta: (text) => one.push(text) })
    const second = ask({}, {}, { onDelta: (text) => two.push(text) })
    await settled()
    requests[0]?.context.onDelta?.('hel')
    controller.abort(new Error('left'))
    expect(await rejection(first.response)).toMatchObject({ message: 'left' })
    expect(requests[0]?.context.signal.aborted).toBe(false)
    requests[0]?.context.onDelta?.('lo')
    requests[0]?.answer()
    expect(await second.response).toMatchObject({ text: 'hello', usage: { source: 'reported' } })
    expect([one, two]).toEqual([['hel'], ['hello']])
    expect(first.own.attempts).toEqual([])
    expect(second.own.attempts).toMatchObject([{ cost: 0.01 }])
    expect(second.own.progress.attempts).toBe(1)
  })

  test('end their request when the last of them is aborted, which gets its ledger row', async () => {
    const { ask, requests } = open()
    const controllers = [new AbortController(), new AbortController()]
    const calls = controllers.map(({ signal }) => ask({}, {}, { signal }))
    await settled()
    controllers[1]?.abort(new Error('two left'))
    expect(await rejection(calls[1]?.response ?? Promise.resolve())).toMatchObject({ message: 'two left' })
    expect(requests[0]?.context.signal.aborted).toBe(false)
    controllers[0]?.abort(new Error('one left'))
    expect(await rejection(calls[0]?.response ?? Promise.resolve())).toMatchObject({ message: 'one left' })
    expect(requests[0]?.context.signal.aborted).toBe(true)
    expect(calls[0]?.own.attempts).toHaveLength(1)
    expect(calls[1]?.own.attempts).toEqual([])
  })

  test('begin anew after the last of them was aborted, although its request has not ended yet', async () => {
    const store = createCache<KeptAnswer>({ policy: 'lru', maxEntries: 10 })
    const deps = { open: async () => store, ttlMs: 1_000, originOf: () => '', versionOf: () => '1' }
    const ends: (() => void)[] = []
    // The first request is being settled for a while after its abort, as one whose price is still being read.
    const call = answerCache(
      deps,
      manualClock(),
    )((_request, { signal }) =>
      ends.length > 0 ? Promise.resolve(callAnswer()) : new Promise((_, reject) => ends.push(() => reject(signal.reason))),
    )
    const controller = new AbortController()
    const left = rejection(call(prepared(), tryContext({ answerCaching: CACHING, signal: controller.signal })))
    await settled()
    controller.abort(new Error('the first left'))
    const next = call(prepared(), tryContext({ answerCaching: CACHING }))
    next.catch(() => undefined)
    await settled()
    ends[0]?.()
    expect(await left).toMatchObject({ message: 'the first left' })
    expect(await next).toMatchObject({ text: 'hello' })
  })

  test('fail together, and a later one makes a new request', async () => {
    const { ask, requests } = open()
    const calls = [ask(), ask()]
    await settled()
    requests[0]?.fail(new OrchestratorError('PROVIDER_UNAVAILABLE', 'down'))
    for (const { response } of calls) expect(await rejection(response)).toMatchObject({ code: 'PROVIDER_UNAVAILABLE' })
    const again = ask()
    await settled()
    requests[1]?.answer()
    expect(await again.response).toMatchObject({ text: 'hello' })
  })
})

describe('in the whole call', () => {
  const openCall = (replies: readonly ModelResponse[]) => {
    const clock = manualClock()
    const store = createCache<KeptAnswer>({ policy: 'lru', maxEntries: 10, now: clock.now })
    const sent: PreparedRequest[] = []
    const call = createCall({
      attempt: async (request) => {
        sent.push(request)
        const reply = replies[sent.length - 1]
        if (!reply) throw new OrchestratorError('PROVIDER_REJECTED', 'no reply left')
        return reply
      },
      price: () => ({ costUsd: 0.01, source: 'prices', estimated: false }),
      worstCaseUsd: () => 1,
      ratesOf: () => ({}),
      loadProvider: async () => undefined,
      answers: { open: async () => store, ttlMs: 1_000, originOf: () => '', versionOf: () => '1' },
      warn: () => undefined,
      clock,
    })
    const ask = (more: Parameters<typeof callContext>[0] = {}) => {
      const context = callContext({ answerCaching: CACHING, ...more })
      const request = { targets: [{ provider: 'alpha', model: 'model-a' }], prepare: () => prepared() }
      return { context, response: call(request, context) }
    }
    return { clock, sent, ask }
  }

  test('a kept answer reserves nothing of the limits of its flow', async () => {
    const { ask, sent } = openCall([answer()])
    await ask().response
    const reserve = () => {
      throw new OrchestratorError('LIMIT_EXCEEDED', 'nothing is left')
    }
    const budget = { reserve, reserveWhenFree: reserve, spent: { costUsd: 1, tokens: 1 }, defaultMaxTokens: 1, limitsCost: true }
    expect(await ask({ budget }).response).toMatchObject({ text: 'hello' })
    expect(sent).toHaveLength(1)
  })

  test('an empty answer, which is asked for again, is not kept', async () => {
    const { ask, sent, clock } = openCall([answer(''), answer('words')])
    const first = ask({ maxRetries: 1 })
    await clock.pass(1_000)
    expect(await first.response).toMatchObject({ text: 'words' })
    const second = ask()
    expect(await second.response).toMatchObject({ text: 'words' })
    expect(sent).toHaveLength(2)
    expect(first.context.attempts).toMatchObject([{ error: { code: 'PROVIDER_BAD_REPLY' } }, { cost: 0.01 }])
    expect(second.context.attempts).toMatchObject([{ cached: true, cost: 0 }])
  })
})

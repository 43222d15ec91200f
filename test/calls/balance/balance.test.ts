import { describe, expect, test } from 'vitest'
import type { KeptAnswer } from '../../../src/calls/answers/answer-cache.ts'
import { balance } from '../../../src/calls/balance/balance.ts'
import type { CallContext, CallRequest, PreparedRequest } from '../../../src/calls/call.ts'
import { type CallDeps, createCall } from '../../../src/calls/create-call.ts'
import { poolSchema } from '../../../src/config/pools/pool-settings.ts'
import type { Target } from '../../../src/domain/definition/flow-definition.ts'
import { withCallFacts } from '../../../src/domain/execution/call-facts.ts'
import type { ErrorCode } from '../../../src/errors/error-codes.ts'
import { OrchestratorError } from '../../../src/errors/orchestrator-error.ts'
import { describeCallLayer } from '../../contracts/call.ts'
import { callPorts } from '../../support/call-ports.ts'
import { answer, callContext, manualClock, prepared, settled } from '../../support/calls.ts'
import { rejection } from '../../support/caught.ts'

const POOL: Target = { provider: 'pool', model: 'writers' }
const fault = (code: ErrorCode, retryAfterMs?: number, status?: number) =>
  withCallFacts(new OrchestratorError(code, code), { retryAfterMs, status, generated: false })

type Behaviour = (request: PreparedRequest, options: Parameters<CallDeps['attempt']>[1]) => Promise<string> | string

/** A call over the pool `writers`, whose members do what `behaviours` says; the order of choice is that of the list. */
function openPool(
  behaviours: Readonly<Record<string, Behaviour>>,
  {
    pool = {},
    members = {},
    ...more
  }: Partial<CallDeps> & { readonly pool?: object; readonly members?: Readonly<Record<string, object>> } = {},
) {
  const clock = manualClock()
  const asked: string[] = []
  const pools = {
    writers: poolSchema.parse({
      strategy: 'round_robin',
      ...pool,
      members: Object.keys(behaviours).map((model) => ({ model, ...members[model] })),
    }),
  }
  const call = createCall(
    callPorts({
      attempt: async (request, options) => {
        const name = `${request.provider}/${request.model}`
        asked.push(name)
        return answer(await behaviours[name]?.(request, options), { model: request.model })
      },
      pools,
      clock,
      ...more,
    }),
  )
  const run = (context: Partial<CallContext> = {}, request: Partial<CallRequest> = {}) => {
    const given = callContext(context)
    return { context: given, answer: call({ targets: [POOL], prepare: (target) => prepared(target), ...request }, given) }
  }
  return { clock, asked, run }
}

describeCallLayer({
  name: 'balance, for a request to one account',
  create: () => balance(() => undefined, manualClock()),
})

const ok = () => 'hello'
const fails =
  (code: ErrorCode = 'PROVIDER_UNAVAILABLE', retryAfterMs?: number, status?: number): Behaviour =>
  () =>
    Promise.reject(fault(code, retryAfterMs, status))

describe('a round', () => {
  test('leaves a member that fails at once for the next one, without a wait and without a retry', async () => {
    const { run, asked, clock } = openPool({ 'a/x': fails(), 'b/y': fails(), 'c/z': ok })
    const { context, answer } = run({ maxRetries: 0 })
    const response = await answer
    expect(asked).toEqual(['a/x', 'b/y', 'c/z'])
    expect(response).toMatchObject({ provider: 'c', requestedModel: 'z', text: 'hello' })
    expect(response.notes).toEqual([
      'a/x failed with PROVIDER_UNAVAILABLE; another was asked',
      'b/y failed with PROVIDER_UNAVAILABLE; another was asked',
    ])
    expect(context.attempts.map(({ number, provider, error }) => [number, provider, error?.code])).toEqual([
      [1, 'a', 'PROVIDER_UNAVAILABLE'],
      [2, 'b', 'PROVIDER_UNAVAILABLE'],
      [3, 'c', undefined],
    ])
    expect(context.retries.map(({ attempt, delayMs, provider }) => [attempt, delayMs, provider])).toEqual([
      [1, 0, 'b'],
      [2, 0, 'c'],
    ])
    expect(clock.pending).toBe(0)
  })

  test('prepares every member that is asked for itself, once per call', async () => {
    const seen: string[] = []
    const prompts: string[] = []
    const { run, clock } = openPool({
      'a/x': ({ system }) => {
        prompts.push(String(system))
        return Promise.reject(fault('PROVIDER_BAD_REPLY'))
      },
      'b/y': fails('PROVIDER_BAD_REPLY'),
    })
    const prepare = async (target: Target) => {
      seen.push(target.provider)
      return prepared({ ...target, system: `only for ${target.provider}` })
    }
    const { answer } = run({ maxRetries: 1 }, { prepare })
    const error = rejection(answer)
    await clock.pass(5_000)
    await error
    expect(seen).toEqual(['a', 'b'])
    expect(prompts).toEqual(['only for a', 'only for a'])
  })

  test('ends with the error that has the shortest wait, for which the retry waits, and then begins again', async () => {
    let rounds = 0
    const { run, asked, clock } = openPool({
      'a/x': () => (++rounds > 1 ? 'late' : Promise.reject(fault('PROVIDER_RATE_LIMITED', 3_000))),
      'b/y': fails('PROVIDER_RATE_LIMITED', 20_000),
    })
    const { answer, context } = run({ maxRetries: 1 })
    await clock.pass(2_999)
    expect(asked).toEqual(['a/x', 'b/y'])
    await clock.pass(1_000)
    expect((await answer).text).toBe('late')
    // The other one still asks for a pause, so it is not asked.
    expect(asked).toEqual(['a/x', 'b/y', 'a/x'])
    expect(context.retries.map(({ delayMs }) => delayMs)).toEqual([0, 3_250])
  })

  test('keeps the code of the errors if all members fail, with the reasons of all in the details', async () => {
    const { run } = openPool({ 'a/x': fails('PROVIDER_RATE_LIMITED', 9_000), 'b/y': fails('PROVIDER_AUTH') })
    const error = await rejection(run({ maxRetries: 0 }).answer)
    expect(error).toMatchObject({
      code: 'PROVIDER_RATE_LIMITED',
      details: {
        pool: 'writers',
        members: [
          { member: 'a/x', state: 'failed', code: 'PROVIDER_RATE_LIMITED', retryAfterMs: 9_000 },
          { member: 'b/y', state: 'failed', code: 'PROVIDER_AUTH' },
        ],
      },
    })
  })

  test('is PROVIDER_UNAVAILABLE if different faults that do not pass hold all members back', async () => {
    const { run } = openPool({ 'a/x': fails('PROVIDER_QUOTA_EXHAUSTED'), 'b/y': fails('PROVIDER_AUTH') })
    const error = await rejection(run({ maxRetries: 3 }).answer)
    expect(error).toMatchObject({ code: 'PROVIDER_UNAVAILABLE', retryable: false, details: { pool: 'writers' } })
  })

  test('gives the answer of a request that is at fault itself back, without asking others for an answer that is paid', async () => {
    const { run, asked } = openPool({ 'a/x': fails('CONTENT_FILTERED'), 'b/y': ok })
    await expect(run().answer).rejects.toMatchObject({ code: 'CONTENT_FILTERED' })
    expect(asked).toEqual(['a/x'])
  })

  test('asks members of a higher tier only when those of the lower one cannot answer', async () => {
    const { run, asked } = openPool({ 'paid/p': ok, 'a/x': fails(), 'b/y': fails() }, { members: { 'paid/p': { tier: 2 } } })
    expect((await run().answer).provider).toBe('paid')
    expect(asked).toEqual(['a/x', 'b/y', 'paid/p'])
  })

  test('falls back from a pool like from any other target, and to one', async () => {
    const { run, asked } = openPool({ 'a/x': fails('PROVIDER_AUTH'), 'b/y': fails('PROVIDER_AUTH') })
    const toPlain = run({ maxRetries: 0 }, { targets: [POOL, { provider: 'plain', model: 'p' }] })
    expect(await toPlain.answer).toMatchObject({
      provider: 'plain',
      notes: ['pool/writers failed with PROVIDER_AUTH; fell back'],
    })
    const other = openPool({ 'a/x': ok, 'gone/g': fails('PROVIDER_AUTH') })
    const fromPlain = other.run({ maxRetries: 0 }, { targets: [{ provider: 'gone', model: 'g' }, POOL] })
    expect((await fromPlain.answer).provider).toBe('a')
    expect(other.asked).toEqual(['gone/g', 'a/x'])
    expect(asked).toEqual(['a/x', 'b/y', 'plain/p'])
  })
})

describe('sharing', () => {
  const denied = (...providers: readonly string[]) => ({
    prepare: async (target: Target) => {
      if (providers.includes(target.provider)) throw new OrchestratorError('DATA_SHARING_DENIED', `not for ${target.provider}`)
      return prepared(target)
    },
  })

  test('passes a member over that may not see the content, and does not count it as a failure', async () => {
    const { run, asked } = openPool({ 'a/x': ok, 'b/y': ok })
    for (let call = 0; call < 5; call++) {
      const response = await run({}, denied('a')).answer
      expect(response.provider).toBe('b')
    }
    expect(asked).toEqual(['b/y', 'b/y', 'b/y', 'b/y', 'b/y'])
    // For another user it is asked as ever.
    const providers = [await run().answer, await run().answer].map(({ provider }) => provider)
    expect(providers).toContain('a')
  })

  test('is denied only if no member may see the content', async () => {
    const { run, asked } = openPool({ 'a/x': ok, 'b/y': ok })
    await expect(run({ maxRetries: 3 }, denied('a', 'b')).answer).rejects.toMatchObject({ code: 'DATA_SHARING_DENIED' })
    expect(asked).toEqual([])
  })
})

describe('ejection', () => {
  test('leaves a member out after three failures in a row, tries it with one call, and doubles the time', async () => {
    const { run, asked, clock } = openPool({
      'a/x': async () => {
        // A slow failure, whose trial is worth avoiding.
        await new Promise<void>((resolve) => clock.startTimer(2_000, resolve))
        throw fault('PROVIDER_BAD_REPLY')
      },
      'b/y': ok,
    })
    const callAll = async (count: number) => {
      const answers = Array.from({ length: count }, () => run().answer)
      await clock.pass(2_000)
      return Promise.all(answers)
    }
    for (let call = 0; call < 6; call++) await callAll(1)
    expect(asked.filter((name) => name === 'a/x')).toHaveLength(3)
    asked.length = 0
    await callAll(4)
    expect(asked).not.toContain('a/x')
    await clock.pass(3_000)
    // The time is over: of many calls at once one tries the member.
    await callAll(10)
    expect(asked.filter((name) => name === 'a/x')).toHaveLength(1)
    asked.length = 0
    await clock.pass(7_900)
    await callAll(2)
    expect(asked).not.toContain('a/x')
    await clock.pass(2_000)
    await callAll(2)
    expect(asked.filter((name) => name === 'a/x')).toHaveLength(1)
  })

  test('counts failures only if they come in a row', async () => {
    let calls = 0
    const { run, asked } = openPool({
      'a/x': () => (++calls % 3 === 0 ? 'ok' : Promise.reject(fault('PROVIDER_UNAVAILABLE'))),
      'b/y': ok,
    })
    for (let call = 0; call < 24; call++) await run().answer
    expect(asked.filter((name) => name === 'a/x')).toHaveLength(12)
  })

  test('is not caused by requests that are at fault themselves', async () => {
    const { run, asked } = openPool({ 'a/x': fails('PROVIDER_REJECTED', undefined, 400), 'b/y': ok })
    for (let call = 0; call < 10; call++) await run().answer
    expect(asked.filter((name) => name === 'a/x')).toHaveLength(5)
  })

  test.each([
    ['PROVIDER_REJECTED', 404, 3],
    ['PROVIDER_AUTH', 401, 1],
    ['PROVIDER_QUOTA_EXHAUSTED', 429, 1],
  ] as const)('is caused by %s with status %i after %i failures', async (code, status, expected) => {
    const { run, asked } = openPool({ 'a/x': fails(code, undefined, status), 'b/y': ok })
    for (let call = 0; call < 12; call++) await run().answer
    expect(asked.filter((name) => name === 'a/x')).toHaveLength(expected)
  })

  test('of a member with fifty calls in flight that break at once lasts as long as for one', async () => {
    let isBroken = true
    const breaking: (() => void)[] = []
    const { run, asked, clock } = openPool({
      'a/x': () =>
        isBroken ? new Promise<never>((_, reject) => breaking.push(() => reject(fault('PROVIDER_STREAM_CUT')))) : 'back',
      'b/y': ok,
    })
    const running = Array.from({ length: 100 }, () => run().answer)
    await settled()
    expect(breaking).toHaveLength(50)
    for (const cut of breaking) cut()
    await Promise.all(running)
    isBroken = false
    asked.length = 0
    await clock.pass(4_999)
    await Promise.all([run().answer, run().answer])
    expect(asked).not.toContain('a/x')
    await clock.pass(1)
    await run().answer
    await Promise.all([run().answer, run().answer])
    expect(asked).toContain('a/x')
  })

  test('lets a call wait for the first member that can be asked again', async () => {
    let isDown = true
    const { run, asked, clock } = openPool({ 'a/x': () => (isDown ? Promise.reject(fault('PROVIDER_UNAVAILABLE')) : 'back') })
    for (let call = 0; call < 3; call++) await rejection(run().answer)
    isDown = false
    asked.length = 0
    const { answer } = run({ maxRetries: 1 })
    await clock.pass(4_900)
    expect(asked).toEqual([])
    await clock.pass(500)
    expect((await answer).text).toBe('back')
  })

  test('of all members fails a call at once with whenNobody fail, and asks all nevertheless with try_all', async () => {
    const failing = openPool({ 'a/x': fails() }, { pool: { whenNobody: 'fail' } })
    for (let call = 0; call < 3; call++) await rejection(failing.run().answer)
    failing.asked.length = 0
    const error = await rejection(failing.run({ maxRetries: 5 }).answer)
    expect(error).toMatchObject({
      code: 'PROVIDER_UNAVAILABLE',
      retryable: false,
      details: { pool: 'writers', members: [{ member: 'a/x', state: 'ejected', code: 'PROVIDER_UNAVAILABLE' }] },
    })
    expect(failing.asked).toEqual([])

    const trying = openPool({ 'a/x': fails(), 'b/y': fails() }, { pool: { whenNobody: 'try_all' } })
    for (let call = 0; call < 3; call++) await rejection(trying.run().answer)
    trying.asked.length = 0
    await rejection(trying.run().answer)
    expect(trying.asked.toSorted()).toEqual(['a/x', 'b/y'])
  })

  test('does not keep a call from its fallback', async () => {
    const { run } = openPool({ 'a/x': fails() })
    for (let call = 0; call < 3; call++) await rejection(run().answer)
    const { answer, context } = run({ maxRetries: 5 }, { targets: [POOL, { provider: 'plain', model: 'p' }] })
    expect((await answer).provider).toBe('plain')
    expect(context.retries.map(({ delayMs }) => delayMs)).toEqual([0])
  })
})

describe('members that cannot be asked', () => {
  test('are left while the provider asks for a pause, also if another call got it', async () => {
    const { run, asked } = openPool({ 'a/x': fails('PROVIDER_RATE_LIMITED', 30_000), 'b/y': ok })
    // A call to the model itself is told to wait.
    await rejection(run({ maxRetries: 0 }, { targets: [{ provider: 'a', model: 'x' }] }).answer)
    asked.length = 0
    for (let call = 0; call < 4; call++) expect((await run().answer).provider).toBe('b')
    expect(asked).not.toContain('a/x')
  })

  test('are left while too many calls wait for their rates', async () => {
    const { run, asked } = openPool(
      { 'a/x': () => new Promise<never>(() => {}), 'b/y': ok },
      { pool: { maxQueue: 1 }, ratesOf: (provider) => (provider === 'a' ? { maxConcurrency: 1 } : {}) },
    )
    for (let call = 0; call < 8; call++) {
      run()
      await settled()
    }
    // Half of the calls go to a first: one is sent, one waits, the others go on to b.
    expect(asked.filter((name) => name === 'a/x')).toHaveLength(1)
    expect(asked.filter((name) => name === 'b/y')).toHaveLength(6)
  })

  test('are left while an operator has switched them off', async () => {
    const { run, asked } = openPool({ 'a/x': ok, 'b/y': ok }, { isUsable: (provider) => provider !== 'a' })
    for (let call = 0; call < 4; call++) await run().answer
    expect(asked).toEqual(['b/y', 'b/y', 'b/y', 'b/y'])
  })
})

describe('streams', () => {
  const cutAfterText: Behaviour = (_, { onDelta }) => {
    onDelta?.('half an ')
    return Promise.reject(fault('PROVIDER_STREAM_CUT'))
  }
  const streams: Behaviour = (_, { onDelta }) => {
    onDelta?.('whole')
    return 'whole'
  }

  test('that are cut before their first text are continued by another member', async () => {
    const { run } = openPool({ 'a/x': fails('PROVIDER_STREAM_CUT'), 'b/y': streams })
    const chunks: string[] = []
    await run({ onDelta: (text) => chunks.push(text) }).answer
    expect(chunks).toEqual(['whole'])
  })

  test('that are cut after text fail the call, and count against the member', async () => {
    const { run, asked } = openPool({ 'a/x': cutAfterText, 'b/y': streams })
    for (let call = 0; call < 12; call++) await run({ onDelta: () => {}, maxRetries: 2 }).answer.catch(() => undefined)
    expect(asked.filter((name) => name === 'a/x')).toHaveLength(3)
  })

  test('that are cut after text begin again at another member where the step allows it, with a notice', async () => {
    const { run } = openPool({ 'a/x': cutAfterText, 'b/y': streams })
    const { answer, context } = run({ onDelta: () => {}, restartAfterFirstToken: true })
    expect((await answer).text).toBe('whole')
    expect(context.retries).toMatchObject([{ provider: 'b', restart: true, delayMs: 0 }])
  })
})

test('a member that gives no answer in the time of the call has failed', async () => {
  const { run, asked, clock } = openPool({ 'a/x': () => new Promise<never>(() => {}), 'b/y': ok })
  for (let call = 0; call < 3; call++) {
    const error = rejection(run({ timeoutMs: 1_000 }).answer)
    await clock.pass(1_000)
    expect(await error).toMatchObject({ code: 'STEP_TIMEOUT' })
    await run().answer
  }
  asked.length = 0
  for (let call = 0; call < 4; call++) await run().answer
  expect(asked).not.toContain('a/x')
})

test('a call that is cancelled says nothing about its member', async () => {
  const { run, asked } = openPool({ 'a/x': () => new Promise<never>(() => {}) })
  for (let call = 0; call < 5; call++) {
    const abort = new AbortController()
    const error = rejection(run({ signal: abort.signal }).answer)
    await settled()
    abort.abort(new OrchestratorError('FLOW_CANCELLED', 'enough'))
    expect(await error).toMatchObject({ code: 'FLOW_CANCELLED' })
  }
  expect(asked).toHaveLength(5)
})

test('the first attempt is announced with the member that is asked, and every further one too', async () => {
  const announced: string[] = []
  const { run } = openPool({ 'a/x': fails(), 'b/y': ok })
  await run({
    announcesFirst: true,
    beforeRepeat: async ({ provider, model }) => void announced.push(`${provider}/${model}`),
  }).answer
  expect(announced).toEqual(['a/x', 'b/y'])
})

test('a request that names no pool passes untouched', async () => {
  const seen: PreparedRequest[] = []
  const { run } = openPool(
    { 'a/x': ok },
    {
      attempt: async (request) => {
        seen.push(request)
        return answer('hello')
      },
    },
  )
  const request = prepared({ provider: 'a', model: 'x' })
  const response = await run({}, { targets: [{ provider: 'a', model: 'x' }], prepare: () => request }).answer
  expect(seen[0]).toBe(request)
  expect(response.notes).toEqual([])
})

describe('a request that continues what a member wrote', () => {
  test('asks that member first, whatever its tier and turn, and another one once it is ejected', async () => {
    let works = true
    const writer: Behaviour = () => (works ? 'hello' : Promise.reject(fault('PROVIDER_UNAVAILABLE')))
    const { asked, run } = openPool(
      { 'a/x': ok, 'b/y': writer },
      { pool: { ejection: { failures: 1 } }, members: { 'b/y': { tier: 2 } } },
    )
    const request = { writer: { provider: 'b', model: 'y' } }
    await run({}, request).answer
    expect(asked.splice(0)).toEqual(['b/y'])
    works = false
    await run({ maxRetries: 0 }, request).answer
    await run({ maxRetries: 0 }, request).answer
    expect(asked).toEqual(['b/y', 'a/x', 'a/x'])
  })

  test('asks no other member where only the writer may answer', async () => {
    const { asked, run } = openPool({ 'a/x': ok, 'b/y': fails() }, { pool: { ejection: { failures: 1 } } })
    const request = { writer: { provider: 'b', model: 'y', only: true } } as const
    const error = await rejection(run({ maxRetries: 0 }, request).answer)
    expect(error).toMatchObject({ code: 'PROVIDER_UNAVAILABLE', details: { members: [{ member: 'b/y', state: 'failed' }] } })
    expect(asked).toEqual(['b/y'])
    // It is ejected now.
    await rejection(run({ maxRetries: 0 }, request).answer)
    expect(asked).toEqual(['b/y'])
  })
})

describe('the keys of a provider', () => {
  /** Calls to a provider with three keys that answer when they are released, by the cache keys of their requests. */
  function openKeys() {
    const keys = new Map<string, (number | undefined)[]>()
    const waiting: (() => void)[] = []
    const call = createCall(
      callPorts({
        attempt: async ({ account, cacheKey = 'none', model }) => {
          keys.set(cacheKey, [...(keys.get(cacheKey) ?? []), account])
          await new Promise<void>((resolve) => waiting.push(resolve))
          return answer('hello', { model })
        },
        keyCounts: new Map([['p', 3]]),
        clock: manualClock(),
      }),
    )
    const run = (cacheKey?: string) =>
      call({ targets: [{ provider: 'p', model: 'm' }], prepare: (target) => ({ ...prepared(target), cacheKey }) }, callContext())
    return { keys, waiting, run }
  }

  test('get the requests of one cache together, until one is much busier than another', async () => {
    const { keys, waiting, run } = openKeys()
    const answers = Array.from({ length: 8 }, () => run('thread'))
    await settled()
    const taken = keys.get('thread') ?? []
    const [own] = taken
    expect(taken.slice(0, 5)).toEqual([own, own, own, own, own])
    expect(new Set(taken).size).toBe(3)
    for (const release of waiting) release()
    await Promise.all(answers)
  })

  test('are taken in turn by requests without a cache, and differ between caches', async () => {
    const { keys, waiting, run } = openKeys()
    const answers = [run(), run(), run(), ...Array.from({ length: 12 }, (_, index) => run(`thread ${index}`))]
    await settled()
    expect(new Set(keys.get('none')).size).toBe(3)
    expect(new Set([...keys].flatMap(([name, taken]) => (name === 'none' ? [] : taken))).size).toBe(3)
    for (const release of waiting) release()
    await Promise.all(answers)
  })
})

test('an answer from the cache is no evidence that the member works', async () => {
  const kept = new Map<string, KeptAnswer>()
  const store = { get: (key: string) => kept.get(key), set: (key: string, answer: KeptAnswer) => void kept.set(key, answer) }
  let works = true
  const member: Behaviour = () => (works ? 'hello' : Promise.reject(fault('PROVIDER_UNAVAILABLE')))
  const { asked, run } = openPool(
    { 'a/x': member },
    {
      pool: { ejection: { failures: 2 }, whenNobody: 'fail' },
      answers: { open: async () => store, ttlMs: 60_000, originOf: () => '', versionOf: () => '1' },
    },
  )
  const answerCaching = { scope: 'shared', flowId: 'f', sample: 0, keepsReasoning: false, onAnswer: (keep: () => void) => keep() }
  await run({ answerCaching }).answer
  works = false
  const failing = () => rejection(run({ maxRetries: 0 }).answer)
  await failing()
  await run({ answerCaching }).answer
  await failing()
  expect(asked).toHaveLength(3)
  await failing()
  expect(asked).toHaveLength(3)
})

import { describe, expect, test } from 'vitest'
import { sharedBeginnings } from '../../src/calls/answers/shared-beginning.ts'
import type { AttemptContext, PreparedRequest } from '../../src/calls/call.ts'
import type { UserMessage } from '../../src/domain/execution/model-call.ts'
import { callAnswer, manualClock, prepared, settled, tryContext } from '../support/calls.ts'

const message = (content: string, stableLength?: UserMessage['stableLength']): Pick<PreparedRequest, 'messages'> => ({
  messages: [{ role: 'user', content, stableLength }],
})
const DRAFT = 'A long draft. '
const critic = (instruction: string) => message(DRAFT + instruction, DRAFT.length)

/** The layer over requests that are answered by hand. */
function open() {
  const clock = manualClock()
  const sent: {
    readonly request: PreparedRequest
    readonly context: AttemptContext
    readonly answer: () => void
    readonly fail: (error: Error) => void
  }[] = []
  const call = sharedBeginnings(clock)(
    (request, context) =>
      new Promise((resolve, reject) => {
        sent.push({ request, context, answer: () => resolve(callAnswer()), fail: reject })
      }),
  )
  /** Starts a request. `outcome` resolves with its error, or with undefined. */
  const start = (request: Partial<PreparedRequest>, context: Partial<AttemptContext> = {}) => ({
    outcome: call(prepared(request), tryContext(context)).then(
      () => undefined,
      (error: unknown) => error,
    ),
  })
  return { clock, sent, start }
}

describe('requests with the same stable beginning', () => {
  test('wait until the answer to the first one has begun', async () => {
    const { sent, start } = open()
    for (const instruction of ['facts', 'style', 'length']) start(critic(instruction))
    await settled()
    expect(sent).toHaveLength(1)
    sent[0]?.context.onActivity?.()
    await settled()
    expect(sent).toHaveLength(3)
  })

  test('wait for the whole answer where it is not streamed', async () => {
    const { sent, start } = open()
    start(critic('facts'))
    start(critic('style'))
    await settled()
    expect(sent).toHaveLength(1)
    sent[0]?.answer()
    await settled()
    expect(sent).toHaveLength(2)
  })

  test('start one by one where the first one fails, until one has begun', async () => {
    const { sent, start } = open()
    for (const instruction of ['facts', 'style', 'length']) start(critic(instruction))
    await settled()
    sent[0]?.fail(new Error('no'))
    await settled()
    expect(sent).toHaveLength(2)
    sent[1]?.context.onActivity?.()
    await settled()
    expect(sent).toHaveLength(3)
  })

  test('start at once while the vendor holds the beginning, and wait again when it may have lost it', async () => {
    const { clock, sent, start } = open()
    start(critic('facts'))
    await settled()
    sent[0]?.answer()
    await settled()
    start(critic('style'))
    start(critic('length'))
    await settled()
    expect(sent).toHaveLength(3)
    for (const one of sent) one.answer()
    await clock.pass(240_000)
    start(critic('tone'))
    start(critic('form'))
    await settled()
    expect(sent).toHaveLength(4)
  })

  test('stop waiting at an abort, with its reason and without a timer', async () => {
    const { clock, sent, start } = open()
    const controller = new AbortController()
    start(critic('facts'))
    await settled()
    const { outcome } = start(critic('style'), { signal: controller.signal })
    await settled()
    const reason = new Error('cancelled')
    controller.abort(reason)
    expect(await outcome).toBe(reason)
    expect(sent).toHaveLength(1)
    expect(clock.pending).toBe(0)
  })

  test.each<[string, Partial<AttemptContext>, number]>([
    ['five seconds where nothing tells that the answer has begun', {}, 5_000],
    ['half a minute for the first chunk', { onDelta: () => undefined }, 30_000],
  ])('wait at most %s', async (_, context, limitMs) => {
    const { clock, sent, start } = open()
    start(critic('facts'), context)
    await settled()
    start(critic('style'), context)
    await clock.pass(limitMs - 1)
    expect(sent).toHaveLength(1)
    await clock.pass(1)
    expect(sent).toHaveLength(2)
  })

  test('wait at most a quarter of the time they have left', async () => {
    const { clock, sent, start } = open()
    start(critic('facts'))
    await settled()
    start(critic('style'), { progress: { attempts: 0, textDelivered: false, targetsLeft: 0, endsAtMs: clock.now() + 8_000 } })
    await clock.pass(1_999)
    expect(sent).toHaveLength(1)
    await clock.pass(1)
    expect(sent).toHaveLength(2)
  })

  test('wait for a request that shares only a part, unless a longer part is held', async () => {
    const { sent, start } = open()
    const both = (end: string) => message(`${DRAFT}criticism ${end}`, [DRAFT.length, DRAFT.length + 10])
    start(critic('facts'))
    await settled()
    start(both('one'))
    await settled()
    expect(sent).toHaveLength(1)
    sent[0]?.answer()
    await settled()
    expect(sent).toHaveLength(2)
    start(both('two'))
    await settled()
    expect(sent).toHaveLength(2)
    sent[1]?.answer()
    await settled()
    expect(sent).toHaveLength(3)
  })
})

test.each<[string, Partial<PreparedRequest>]>([
  ['no stable beginning', message(`${DRAFT}style`)],
  ['another beginning', message('Another draft. style', 'Another draft. '.length)],
  ['another model', { ...critic('style'), model: 'model-b' }],
  ['another provider', { ...critic('style'), provider: 'beta' }],
  ['the cache key of another user', { ...critic('style'), cacheKey: 'bob' }],
  ['another key', { ...critic('style'), account: 1 }],
  ['another system prompt', { ...critic('style'), system: 'Be kind.' }],
  ['another schema', { ...critic('style'), outputSchema: { type: 'object' } }],
  ['other messages before it', { messages: [{ role: 'user', content: 'Hi' }, ...critic('style').messages] }],
])('a request with %s waits for none', async (_, request) => {
  const { sent, start } = open()
  start(critic('facts'))
  start(request)
  await settled()
  expect(sent).toHaveLength(2)
})

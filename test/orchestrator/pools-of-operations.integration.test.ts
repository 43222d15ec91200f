import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { rejection } from '../support/caught.ts'
import { createLoopback, type Loopback, type LoopbackRequest } from '../support/loopback.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

const USER = 'ada'
let server: Loopback
/** Answers of the two members, by the first segment of the path. */
let answers: Record<string, (request: LoopbackRequest) => void> = {}
const requests: LoopbackRequest[] = []
const closing: (() => Promise<unknown>)[] = []
beforeAll(async () => {
  server = await createLoopback((request) => {
    requests.push(request)
    answers[request.endpoint]?.(request)
  })
})
afterAll(() => server.close())
afterEach(async () => {
  requests.length = 0
  for (const close of closing.splice(0)) await close()
})

const says = (status: number, value: unknown) => (request: LoopbackRequest) =>
  request.response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))

interface Member {
  readonly idempotent?: boolean
  readonly expose?: 'api' | 'code'
}

async function open(near: Member = {}, far: Member = {}, timeouts = {}) {
  const provider = (name: string, { idempotent = true, expose = 'api' }: Member) => {
    const input = { type: 'object', required: ['id'], properties: { id: { type: 'number' } } }
    const set = { method: 'PUT' as const, path: '/set', input, idempotent, expose }
    return { kind: 'http' as const, baseUrl: `${server.url}/${name}`, operations: { set } }
  }
  const polyphony = await openTestPolyphony({
    providers: { near: provider('near', near), far: provider('far', far) },
    pools: { store: { members: [{ model: 'near/set' }, { model: 'far/set', tier: 2 }] } },
    retry: { baseDelayMs: 1 },
    timeouts,
  })
  closing.push(() => polyphony.close())
  const { id: threadId } = await polyphony.conversations.createThread(USER, {})
  return { ...polyphony, threadId }
}

const flowOf = (given: { readonly id: number | string } = { id: 7 }) => ({
  name: 'keep',
  type: 'sequential' as const,
  steps: [{ id: 'keep', model: 'pool/store', action: 'run' as const, arguments: given }],
})

async function run(opened: Awaited<ReturnType<typeof open>>, streaming = false) {
  const { id } = await opened.orchestrator.createFlow(opened.threadId, USER, flowOf())
  return opened.orchestrator.executeFlow(id, USER, { input: 'go', streaming })
}

test.each([false, true])(
  'a member of a pool of operations that fails is left for the next one (streamed: %s)',
  async (streaming) => {
    const opened = await open()
    answers = { near: says(503, { error: 'down' }), far: says(200, { kept: 7 }) }
    const { finalOutput, steps } = await run(opened, streaming)
    expect(finalOutput).toBe('{"kept":7}')
    expect(steps[0]).toMatchObject({ provider: 'far', model: 'set', output: '{"kept":7}' })
    expect(steps[0]?.attempts.map(({ provider, error }) => [provider, error?.code])).toEqual([
      ['near', 'PROVIDER_UNAVAILABLE'],
      ['far', undefined],
    ])
    expect(requests.map(({ endpoint, body }) => [endpoint, body])).toEqual([
      ['near', { id: 7 }],
      ['far', { id: 7 }],
    ])
    // A server behind both members recognises the repeated call.
    expect(new Set(requests.map(({ headers }) => headers['idempotency-key'])).size).toBe(1)
  },
)

test('when all members fail, the pool is asked again as often as the step allows', async () => {
  const opened = await open()
  answers = { near: says(503, {}), far: says(503, {}) }
  const error = await rejection(run(opened))
  expect(error).toMatchObject({ code: 'PROVIDER_UNAVAILABLE' })
  expect(requests.length).toBeGreaterThan(2)
})

test('a member that is not idempotent is never called: checkFlow finds it, and a run fails before it', async () => {
  const opened = await open({ idempotent: false })
  answers = { near: says(200, { kept: 1 }), far: says(503, {}) }
  const { ok, problems } = await opened.orchestrator.checkFlow(flowOf({ id: '{{ original }}' }), USER)
  expect({ ok, problems }).toMatchObject({
    ok: false,
    problems: [{ code: 'PROVIDER_REJECTED', path: 'steps[0].model', details: { provider: 'near', model: 'set', pool: 'store' } }],
  })
  await rejection(run(opened))
  expect(requests.filter(({ endpoint }) => endpoint === 'near')).toEqual([])
})

test('a definition from the network may name a pool of which every member is exposed', async () => {
  const shown = await open()
  const create = ({ orchestrator, threadId }: typeof shown) =>
    orchestrator.createFlow(threadId, USER, flowOf(), { overNetwork: true })
  expect(await create(shown)).toMatchObject({ status: 'PENDING' })
  for (const hidden of [await open({ expose: 'code' }), await open({}, { expose: 'code' })]) {
    const error = await rejection(create(hidden))
    expect(error).toMatchObject({
      code: 'FLOW_INVALID',
      details: { problems: [{ path: 'steps[0].model', message: 'no operation "pool/store"' }] },
    })
    const { problems } = await hidden.orchestrator.checkFlow(flowOf(), USER, { overNetwork: true })
    expect(problems).toHaveLength(1)
  }
})

test('arguments that a member does not take are found before the run, and a pool of models has no operations', async () => {
  const opened = await open()
  const { problems } = await opened.orchestrator.checkFlow(flowOf({ id: 'seven' }), USER)
  expect(problems.map(({ code, path, details }) => [code, path, details.provider])).toEqual([
    ['INPUT_INVALID', 'steps[0].arguments', 'near'],
    ['INPUT_INVALID', 'steps[0].arguments', 'far'],
  ])
  const models = await openTestPolyphony({ simulator: true, pools: { store: { members: [{ model: 'openai/gpt-4o' }] } } })
  closing.push(() => models.close())
  const found = await models.orchestrator.checkFlow(flowOf(), USER)
  expect(found.problems[0]).toMatchObject({ code: 'PROVIDER_REJECTED', path: 'steps[0].model' })
})

test('an operation of a pool has the time of its step in a streamed flow, since it sends no first text', async () => {
  const opened = await open({}, {}, { firstChunkMs: 100 })
  answers = { near: (request) => void setTimeout(() => says(200, { kept: 7 })(request), 400), far: says(503, {}) }
  const { finalOutput, steps } = await run(opened, true)
  expect(finalOutput).toBe('{"kept":7}')
  expect(steps[0]?.attempts).toHaveLength(1)
})

test('a pool may name functions that are registered later', async () => {
  const polyphony = await openTestPolyphony({ pools: { store: { members: [{ model: 'function/keep' }] } } })
  closing.push(() => polyphony.close())
  const { id: threadId } = await polyphony.conversations.createThread(USER, {})
  const { problems } = await polyphony.orchestrator.checkFlow(flowOf(), USER)
  expect(problems).not.toEqual([])
  polyphony.functions.register('keep', ({ id }) => ({ kept: id }), { idempotent: true })
  const { id } = await polyphony.orchestrator.createFlow(threadId, USER, flowOf())
  expect(await polyphony.orchestrator.executeFlow(id, USER, { input: 'go' })).toMatchObject({ finalOutput: '{"kept":7}' })
})

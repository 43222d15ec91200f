import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import type { FlowType } from '../../src/domain/vocabulary.ts'
import type { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { createLoopback, createRefusedAddress, type Loopback, type LoopbackRequest } from '../support/loopback.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { inParallel, rejectionOf, unlessHung, watchProcess } from './observation.ts'
import { type Expected, FAULTS, type Fault } from './provider-fault-kinds.ts'
import { sixFlows } from './six-flows.ts'
import { answerWell, WIRES, type Wire } from './vendor-wires.ts'

const USER = 'ada'
const KEY = 'sk-secret-key-of-the-test'
const VERDICT = '{"score":0.9,"approved":true,"issues":[],"feedback":"fine"}'
const observed = watchProcess()

interface Endpoint {
  readonly play: (asked: LoopbackRequest) => unknown
  requests: number
}

let server: Loopback
let elsewhere: Loopback
let stolen: LoopbackRequest[] = []
let refused: Loopback
const endpoints = new Map<string, Endpoint>()

beforeAll(async () => {
  server = await createLoopback((asked) => {
    const endpoint = endpoints.get(asked.endpoint)
    if (!endpoint) return asked.response.writeHead(410).end()
    endpoint.requests++
    return endpoint.play(asked)
  })
  elsewhere = await createLoopback((asked) => {
    stolen.push(asked)
    asked.response.writeHead(200).end()
  })
  refused = await createRefusedAddress()
})
afterAll(async () => {
  await server.close()
  await elsewhere.close()
  await refused.close()
})
beforeEach(() => {
  stolen = []
})

let opened = 0
function openEndpoint(play: Endpoint['play']): { readonly url: string; readonly endpoint: Endpoint } {
  const name = `endpoint${++opened}`
  const endpoint: Endpoint = { play, requests: 0 }
  endpoints.set(name, endpoint)
  return { url: `${server.url}/${name}`, endpoint }
}

const { setTimeout: startTimer } = globalThis

/** Moves the clock when a few pieces have had the time to arrive; none need have. A test that has ended moves nothing. */
const passLater = (passesMs: number) => startTimer(() => vi.isFakeTimers() && vi.advanceTimersByTime(passesMs), 30)

interface Case {
  readonly wire: Wire
  readonly type: FlowType
  readonly streamed: boolean
  readonly expected: Expected
}

interface Outcome {
  readonly error: OrchestratorError
  readonly requests: number
  readonly delays: readonly number[]
  readonly updates: readonly FlowUpdate[]
  readonly polyphony: Polyphony
  readonly flowId: string
  readonly heal: () => void
  readonly goodRequests: () => number
}

async function runInto(fault: Fault, { wire, type, streamed }: Case, badUrl?: string): Promise<Outcome> {
  let sound = false
  const good = openEndpoint(({ path, body, response }) => answerWell(wire, wire.isStreamed(path, body), response, VERDICT))
  const bad = openEndpoint(({ path, body, response }) => {
    const asStream = wire.isStreamed(path, body)
    if (sound) return answerWell(wire, asStream, response, VERDICT)
    if (fault.passesMs !== undefined) passLater(fault.passesMs)
    return fault.play({ wire, streamed: asStream, response, elsewhere: elsewhere.url, here: server.url })
  })
  const polyphony = await openTestPolyphony({
    providers: { good: wire.settings(good.url, KEY), bad: wire.settings(badUrl ?? bad.url, KEY) },
    retry: { baseDelayMs: 1 },
    timeouts: { firstChunkMs: 10_000 },
  })
  for (const provider of ['good', 'bad']) {
    await polyphony.dataSharing.set(USER, provider, { allowCrossProviderContext: true })
  }
  const { id } = await polyphony.conversations.createThread(USER, {})
  const definition: FlowDefinitionInput = sixFlows(wire.model, wire.model, { maxRetries: 2, ...fault.step })[type]
  const flow = await polyphony.orchestrator.createFlow(id, USER, definition)
  const updates: FlowUpdate[] = []
  const run = polyphony.orchestrator.executeFlow(flow.id, USER, {
    input: 'the question',
    streaming: streamed,
    onUpdate: (update) => updates.push(update),
  })
  const error = await unlessHung(rejectionOf(run), `${fault.name}, ${wire.name}, ${type}, ${streamed ? 'streamed' : 'whole'}`)
  return {
    error,
    requests: bad.endpoint.requests,
    delays: updates.flatMap((update) => (update.type === 'step_retry' ? [update.data.delayMs] : [])),
    updates,
    polyphony,
    flowId: flow.id,
    heal: () => {
      sound = true
    },
    goodRequests: () => good.endpoint.requests,
  }
}

const FLOW_TYPES: readonly FlowType[] = ['sequential', 'parallel', 'graph', 'conditional', 'critique', 'refinement']

const [FIRST_WIRE] = WIRES
/** One that is retried, one that is final, and one whose code depends on whether the answer is streamed. */
const ON_EVERY_TYPE = ['500', '401', 'reset in the middle of the body', 'refused connection']

/** What an answer means does not depend on the flow: all wires meet one type, and all types meet a few faults of one wire. */
const casesOf = (fault: Fault): readonly Case[] =>
  WIRES.flatMap((wire) =>
    FLOW_TYPES.filter((type) => type === 'sequential' || (wire === FIRST_WIRE && ON_EVERY_TYPE.includes(fault.name))).flatMap(
      (type) =>
        [false, true].flatMap((streamed) => {
          const expected = streamed ? fault.streamed : fault.whole
          return expected ? [{ wire, type, streamed, expected }] : []
        }),
    ),
  )

async function judge(fault: Fault, case_: Case): Promise<void> {
  const { expected, wire, type, streamed } = case_
  const where = `${wire.name}, ${type}, ${streamed ? 'streamed' : 'whole'}`
  const { error, requests, delays, updates, polyphony, flowId, heal, goodRequests } = await runInto(fault, case_)
  const { orchestrator } = polyphony
  expect({ where, code: error.code, requests }).toEqual({ where, code: expected.code, requests: expected.tries })
  expect(error.details).toMatchObject({ flowId, stepId: 'bad', attempt: expected.tries })
  expect(delays, where).toHaveLength(expected.tries - 1)
  for (const delay of delays) expect(delay, where).toBeGreaterThanOrEqual(expected.waitMs ?? 0)
  expect(updates.filter(({ type }) => type === 'error')).toHaveLength(1)
  expect(updates.at(-1)).toMatchObject({ type: 'error', data: { code: expected.code } })
  expect(updates.map(({ seq }) => seq)).toEqual(updates.map(({ seq }) => seq).sort((a, b) => a - b))
  expect(await orchestrator.getFlowStatus(flowId)).toMatchObject({ status: 'FAILED', error: { code: expected.code } })
  const failed = (await orchestrator.getFlow(flowId, USER)).stepResults.find(({ stepId }) => stepId === 'bad')
  expect(failed, where).toMatchObject({ status: 'FAILED', error: { code: expected.code }, retryCount: expected.tries - 1 })
  expect(failed?.attempts.map((attempt) => attempt.error?.code)).toEqual(Array(expected.tries).fill(expected.code))
  expect(JSON.stringify([error, updates, failed])).not.toContain(KEY)

  heal()
  const before = goodRequests()
  const resumed = await unlessHung(orchestrator.executeFlow(flowId, USER), `resume after ${fault.name}, ${where}`)
  expect(resumed).toMatchObject({ status: 'COMPLETED', finalOutput: VERDICT })
  const again = resumed.steps.find(({ stepId }) => stepId === 'bad')
  expect(again?.attempts.map(({ number }) => number)).toEqual(Array.from({ length: expected.tries + 1 }, (_, index) => index + 1))
  // Branches beside the failed one may have been cut off by it; what came before it was paid for.
  const open = { sequential: 1, graph: 1, parallel: 3, conditional: 0, critique: 0, refinement: 0 }[type]
  expect(goodRequests() - before, where).toBeLessThanOrEqual(open)
  await polyphony.close()
}

describe.each(FAULTS)('a provider that fails with $name', (fault) => {
  test('flows end with the expected code, error and number of requests, and can be resumed', {
    timeout: 60_000,
  }, async () => {
    const waits = (fault.whole?.waitMs ?? 0) >= 500
    const movesClock = fault.passesMs !== undefined
    // One clock for all of them: where it is moved they run one after the other, or a step would be out of time before it has asked.
    if (movesClock) vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    try {
      await inParallel(casesOf(fault), movesClock ? 1 : waits ? 60 : 15, (case_) => judge(fault, case_))
    } finally {
      vi.useRealTimers()
    }
    expect(stolen).toEqual([])
    expect(observed.rejections).toEqual([])
  })
})

test('a provider whose port is closed ends flows of every type with PROVIDER_UNAVAILABLE after all attempts', {
  timeout: 60_000,
}, async () => {
  const fault: Fault = { name: 'refused connection', play: () => undefined }
  const cases = casesOf({ ...fault, whole: REFUSED, streamed: REFUSED })
  await inParallel(cases, 15, async (case_) => {
    const { error, updates, polyphony, flowId } = await runInto(fault, case_, refused.url)
    expect(error).toMatchObject({ code: 'PROVIDER_UNAVAILABLE', details: { stepId: 'bad', attempt: 3 } })
    expect(updates.filter(({ type }) => type === 'step_retry')).toHaveLength(2)
    expect(updates.at(-1)).toMatchObject({ type: 'error' })
    expect(await polyphony.orchestrator.getFlowStatus(flowId)).toMatchObject({ status: 'FAILED' })
    expect(await rejectionOf(polyphony.orchestrator.executeFlow(flowId, USER))).toMatchObject({ code: 'PROVIDER_UNAVAILABLE' })
    await polyphony.close()
  })
  expect(observed.rejections).toEqual([])
})

const REFUSED: Expected = { code: 'PROVIDER_UNAVAILABLE', tries: 3 }

test('the matrix holds at least 30 kinds of failure, of which three meet flows of every type', () => {
  expect(FAULTS.length).toBeGreaterThanOrEqual(30)
  const types = FAULTS.map((fault) => new Set(casesOf(fault).map(({ type }) => type)).size)
  expect(types.filter((count) => count === FLOW_TYPES.length)).toHaveLength(3)
})

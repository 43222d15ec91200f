import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { FlowDefinitionInput, FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import { createLoopback, type Loopback, type LoopbackRequest } from '../support/loopback.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { inParallel, rejectionOf, unlessHung, watchProcess } from './observation.ts'
import { answerWell, JSON_TYPE, SSE, WIRES, type Wire } from './vendor-wires.ts'

const USER = 'ada'
const VERDICT = '{"score":0.5,"approved":false,"issues":["x"],"feedback":"y"}'
/** Far more than the 100 ms of the contract, so that a busy machine fails no test; a hung socket still does. */
const GENEROUS_MS = 2_000
const observed = watchProcess()

interface Endpoint {
  play: (asked: LoopbackRequest, index: number) => unknown
  readonly asked: LoopbackRequest[]
}

let server: Loopback
const endpoints = new Map<string, Endpoint>()
beforeAll(async () => {
  server = await createLoopback((asked) => {
    const endpoint = endpoints.get(asked.endpoint)
    if (!endpoint) return asked.response.writeHead(410).end()
    endpoint.asked.push(asked)
    return endpoint.play(asked, endpoint.asked.length)
  })
})
afterAll(() => server.close())

interface Phase {
  readonly name: string
  /** What the server does with the request of this number. */
  readonly play: (wire: Wire, asked: LoopbackRequest, index: number) => unknown
  readonly definition: (step: (id: string, more?: Partial<FlowStepInput>) => FlowStepInput) => FlowDefinitionInput
  /** Requests that must have arrived before the cancel. */
  readonly after: number
  /** An update that must have come before the cancel. */
  readonly update?: FlowUpdate['type']
  readonly rates?: { readonly requestsPerMinute?: number; readonly maxConcurrency?: number }
  /** Requests still open at the moment of the cancel. */
  readonly open: number
  readonly only?: 'whole' | 'streamed'
  readonly resumes?: false
}

const silent = () => undefined
const well = (wire: Wire, { path, body, response }: LoopbackRequest) =>
  answerWell(wire, wire.isStreamed(path, body), response, VERDICT)

function half(wire: Wire, { path, body, response }: LoopbackRequest): void {
  const streamed = wire.isStreamed(path, body)
  const whole = JSON.stringify(wire.whole(VERDICT, { input: 1, output: 1 }))
  response.writeHead(200, streamed ? SSE : JSON_TYPE)
  response.write(streamed ? wire.opening('Once').join('') : whole.slice(0, 20))
}

const sequence = (step: Parameters<Phase['definition']>[0], more: Partial<FlowStepInput> = {}): FlowDefinitionInput => ({
  name: 'x',
  type: 'sequential',
  steps: [step('first', more), step('second')],
})
const failing =
  (code: number, headers: Record<string, string>) =>
  (_: Wire, { response }: LoopbackRequest) =>
    response.writeHead(code, { ...JSON_TYPE, ...headers }).end('{"error":{"message":"later","type":"x"}}')

const PHASES: readonly Phase[] = [
  { name: 'before the headers', play: silent, definition: sequence, after: 1, open: 1 },
  { name: 'in the middle of the body', play: half, definition: sequence, after: 1, open: 1, only: 'whole' },
  {
    name: 'in the middle of a stream',
    play: half,
    definition: sequence,
    after: 1,
    update: 'step_progress',
    open: 1,
    only: 'streamed',
  },
  {
    name: 'while a retry waits as long as the provider asked',
    play: failing(429, { 'retry-after': '50' }),
    definition: sequence,
    after: 1,
    update: 'step_retry',
    open: 0,
    resumes: false,
  },
  { name: 'while a retry backs off', play: failing(500, {}), definition: sequence, after: 1, update: 'step_retry', open: 0 },
  {
    name: 'while the step waits for its rate',
    play: well,
    definition: sequence,
    after: 1,
    update: 'step_complete',
    rates: { requestsPerMinute: 1 },
    open: 0,
  },
  {
    name: 'while branches wait for a free place',
    play: silent,
    definition: (step) => ({ name: 'x', type: 'parallel', steps: [step('a'), step('b'), step('c')] }),
    after: 1,
    rates: { maxConcurrency: 1 },
    open: 1,
  },
  {
    name: 'in the second step',
    play: (wire, asked, index) => (index === 1 ? well(wire, asked) : undefined),
    definition: sequence,
    after: 2,
    open: 1,
  },
  {
    name: 'while branches run side by side',
    play: silent,
    definition: (step) => ({ name: 'x', type: 'parallel', steps: ['a', 'b', 'c', 'd', 'e'].map((id) => step(id)) }),
    after: 5,
    open: 5,
  },
  {
    name: 'while samples are asked',
    play: (wire, asked, index) => (index === 2 ? well(wire, asked) : half(wire, asked)),
    definition: (step) => sequence(step, { samples: 4 }),
    after: 4,
    open: 3,
  },
  {
    name: 'while critics read',
    play: (wire, asked, index) => (index === 1 ? well(wire, asked) : undefined),
    definition: (step) => ({
      name: 'x',
      type: 'critique',
      steps: [step('a'), step('b', { action: 'critique' }), step('c', { action: 'critique' }), step('d', { action: 'refine' })],
    }),
    after: 3,
    open: 2,
  },
  {
    name: 'while a judge waits for its second round',
    play: (wire, asked, index) => (index < 4 ? well(wire, asked) : undefined),
    definition: (step) => ({
      name: 'x',
      type: 'refinement',
      steps: [step('a'), step('b', { action: 'evaluate' }), step('c', { action: 'refine' })],
    }),
    after: 4,
    open: 1,
  },
  {
    name: 'in a fallback',
    play: (wire, asked, index) => (index === 1 ? failing(400, {})(wire, asked) : undefined),
    definition: (step) => sequence(step, { fallbacks: [{ provider: 'bad', model: step('x').model ?? '' }] }),
    after: 2,
    open: 1,
  },
]

let opened = 0

async function cancelIn(phase: Phase, wire: Wire, streamed: boolean, how: 'cancelFlow' | 'signal' | 'close'): Promise<number> {
  const name = `endpoint${++opened}`
  const endpoint: Endpoint = { play: (asked, index) => phase.play(wire, asked, index), asked: [] }
  endpoints.set(name, endpoint)
  const polyphony = await openTestPolyphony({
    providers: { bad: { ...wire.settings(`${server.url}/${name}`, 'sk-key'), ...phase.rates } },
    retry: { baseDelayMs: 60_000, maxDelayMs: 60_000 },
  })
  const { orchestrator, conversations } = polyphony
  const { id } = await conversations.createThread(USER, {})
  const badStep = (stepId: string, more: Partial<FlowStepInput> = {}): FlowStepInput => ({
    id: stepId,
    provider: 'bad',
    model: wire.model,
    action: 'generate',
    prompt: `I am ${stepId}`,
    ...more,
  })
  const flow = await orchestrator.createFlow(id, USER, phase.definition(badStep))
  const controller = new AbortController()
  const updates: FlowUpdate[] = []
  const reached = new Promise<void>((resolve) => {
    const look = setInterval(() => {
      const told = phase.update === undefined || updates.some(({ type }) => type === phase.update)
      if (endpoint.asked.length < phase.after || !told) return
      clearInterval(look)
      resolve()
    }, 2)
  })
  const run = rejectionOf(
    orchestrator.executeFlow(flow.id, USER, {
      input: 'the question',
      streaming: streamed,
      signal: controller.signal,
      onUpdate: (update) => updates.push(update),
    }),
  )
  const where = `${phase.name}, ${wire.name}, ${streamed ? 'streamed' : 'whole'}, ${how}`
  await unlessHung(reached, `reaching ${where}`)
  const open = endpoint.asked.filter(({ response }) => !response.writableEnded)
  expect(open.length, where).toBe(phase.open)
  const sent = endpoint.asked.length
  const startedAt = performance.now()
  const cancelled = how === 'cancelFlow' ? orchestrator.cancelFlow(flow.id, USER) : undefined
  const closed = how === 'close' ? polyphony.close() : undefined
  if (how === 'signal') controller.abort()
  const error = await unlessHung(run, where, GENEROUS_MS)
  const tookMs = performance.now() - startedAt
  expect(error, where).toMatchObject({ code: 'FLOW_CANCELLED', details: { flowId: flow.id } })
  await unlessHung(Promise.all(open.map(({ closed }) => closed)), `sockets of ${where}`, GENEROUS_MS)
  for (const { response } of open) expect(response.writableFinished, where).toBe(false)
  if (cancelled) expect(await cancelled).toMatchObject({ status: 'CANCELLED' })
  if (how !== 'close') expect(await orchestrator.getFlowStatus(flow.id)).toMatchObject({ status: 'CANCELLED' })
  expect(updates.at(-1), where).toMatchObject({ type: 'flow_cancelled' })
  const told = updates.length
  await new Promise((resolve) => setTimeout(resolve, 30))
  expect(endpoint.asked.length, where).toBe(sent)
  expect(updates.length, where).toBe(told)
  if (how !== 'close') {
    endpoint.play = (asked) => well(wire, asked)
    // Where the provider asked to be left alone, a resumed flow waits for it too.
    if (!phase.rates && phase.resumes !== false)
      expect(await orchestrator.executeFlow(flow.id, USER)).toMatchObject({ status: 'COMPLETED' })
  }
  await (closed ?? polyphony.close())
  return tookMs
}

describe.each(PHASES)('a cancel $name', (phase) => {
  test('closes the sockets, rejects with FLOW_CANCELLED, and sends nothing more', { timeout: 60_000 }, async () => {
    const cases = WIRES.flatMap((wire) =>
      [false, true]
        .filter((streamed) => phase.only === undefined || phase.only === (streamed ? 'streamed' : 'whole'))
        .flatMap((streamed) => (['cancelFlow', 'signal', 'close'] as const).map((how) => ({ wire, streamed, how }))),
    )
    const took: number[] = []
    await inParallel(cases, 5, async ({ wire, streamed, how }) => {
      took.push(await cancelIn(phase, wire, streamed, how))
    })
    if (process.env.REPORT_TIMES) console.log(phase.name, Math.max(...took).toFixed(1), 'ms at most')
    expect(took).toHaveLength(cases.length)
    expect(observed.rejections).toEqual([])
    expect(observed.warnings).toEqual([])
  })
})

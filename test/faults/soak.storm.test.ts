import { expect, test } from 'vitest'
import type { FlowType } from '../../src/domain/vocabulary.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { collectGarbage } from '../support/garbage.ts'
import { createLoopback } from '../support/loopback.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { inParallel, watchProcess } from './observation.ts'
import { sixFlows } from './six-flows.ts'
import { answerWell, JSON_TYPE, WIRES } from './vendor-wires.ts'

const USER = 'ada'
const WARM_UP = 300
const FLOWS = 1_000
const WIDTH = 20
const VERDICT = '{"score":0.9,"approved":true,"issues":[],"feedback":"fine"}'
const TYPES: readonly FlowType[] = ['sequential', 'parallel', 'graph', 'conditional', 'critique', 'refinement']
const observed = watchProcess()

/** Bytes in use once the garbage is gone. */
async function heapBytes(): Promise<number> {
  await collectGarbage()
  return process.memoryUsage().heapUsed
}

const countOf = (kind: string) => process.getActiveResourcesInfo().filter((name) => name === kind).length
const listeners = () => process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0)

/** One flow of the number: well, failing, cancelled in the middle, followed by a stream that leaves early, with a listener that throws. */
async function live(polyphony: Polyphony, threadId: string, number: number): Promise<string> {
  const { orchestrator } = polyphony
  const type = TYPES[number % TYPES.length] ?? 'sequential'
  const fate = ['well', 'fails', 'cancelled', 'retried', 'left'][number % 5] ?? 'well'
  const definition = sixFlows('m', 'm', { system: `FATE(${fate})`, maxRetries: fate === 'retried' ? 1 : 0 })[type]
  const flow = await orchestrator.createFlow(threadId, USER, definition)
  const controller = new AbortController()
  if (fate === 'left') {
    await orchestrator.startFlow(flow.id, USER, { input: 'q', streaming: true })
    for await (const update of orchestrator.streamFlow(flow.id, USER)) if (update.type === 'step_complete') break
    for await (const _ of orchestrator.streamFlow(flow.id, USER));
  } else {
    const onUpdate = ({ type }: { readonly type: string }) => {
      if (fate === 'cancelled' && type === 'step_complete') controller.abort()
      throw new Error('a listener that throws')
    }
    await orchestrator.executeFlow(flow.id, USER, { input: 'q', signal: controller.signal, onUpdate }).catch(() => undefined)
  }
  return (await orchestrator.getFlowStatus(flow.id)).status
}

test(`${FLOWS} flows leave no listeners, handles, sockets or memory behind`, { timeout: 300_000 }, async () => {
  const [wire] = WIRES
  if (!wire) throw new Error('no wire')
  const server = await createLoopback(({ path, text, body, response }) => {
    const [, fate = ''] = /FATE\((\w+)\)/.exec(text) ?? []
    const fails = fate === 'fails' || (fate === 'retried' && Math.random() < 0.5)
    if (fails) response.writeHead(fate === 'fails' ? 400 : 500, JSON_TYPE).end('{}')
    else answerWell(wire, wire.isStreamed(path, body), response, VERDICT)
  })
  const settings = wire.settings(server.url, 'sk-key')
  const polyphony = await openTestPolyphony({
    database: 'memory://?flows=50',
    providers: { good: settings, bad: settings },
    retry: { baseDelayMs: 1 },
  })
  for (const provider of ['good', 'bad']) await polyphony.dataSharing.set(USER, provider, { allowCrossProviderContext: true })
  const { id } = await polyphony.conversations.createThread(USER)
  const statuses = new Map<string, number>()
  const run = (count: number) =>
    inParallel(
      Array.from({ length: count }, (_, index) => index + 1),
      WIDTH,
      async (number) => {
        const status = await live(polyphony, id, number)
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
      },
    )

  await run(WARM_UP)
  const before = {
    heap: await heapBytes(),
    timers: countOf('Timeout'),
    sockets: countOf('TCPSocketWrap'),
    listeners: listeners(),
  }
  await run(FLOWS)
  const after = { heap: await heapBytes(), timers: countOf('Timeout'), sockets: countOf('TCPSocketWrap'), listeners: listeners() }
  if (process.env.REPORT_SOAK) console.log(before, after, statuses, (after.heap - before.heap) / FLOWS, 'bytes per flow')

  expect([...statuses.keys()].sort()).toEqual(['CANCELLED', 'COMPLETED', 'FAILED'])
  expect(after.listeners).toBe(before.listeners)
  expect(after.timers).toBeLessThanOrEqual(before.timers + 5)
  // Both ends of every kept connection are in this process.
  expect(after.sockets).toBeLessThanOrEqual(before.sockets + 4 * WIDTH)
  expect((after.heap - before.heap) / FLOWS).toBeLessThan(4_096)
  expect(observed.warnings).toEqual([])
  expect(observed.rejections).toEqual([])
  await polyphony.close()
  await server.close()
})

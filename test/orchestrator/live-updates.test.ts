import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { FlowUpdate } from '../../src/domain/execution/flow-update.ts'
import type { FlowStatus } from '../../src/domain/vocabulary.ts'
import { createNotificationBus } from '../../src/notifications/notification-bus.ts'
import { createLiveUpdates } from '../../src/orchestrator/updates/live-updates.ts'
import type { FlowHead } from '../../src/repositories/repository.ts'
import { until } from '../support/flows.ts'
import { createMemoryTransport } from '../support/memory-transport.ts'

const piece = (flowId: string, seq: number): FlowUpdate => ({
  seq,
  flowId,
  type: 'step_progress',
  stepId: 'write',
  data: { delta: `${seq}` },
  timestamp: new Date(0),
})

/** Flows in a database that another process writes to. */
function createElsewhere() {
  const flows = new Map<string, { status: FlowStatus; readonly updates: FlowUpdate[] }>()
  let reads = 0
  let looks = 0
  let isAway = false
  const live = createLiveUpdates({
    pollMs: 5,
    connectedPollMs: 5,
    bus: createNotificationBus({ transport: createMemoryTransport(), id: 'here' }),
    read: async (flowId, afterSeq, limit) => {
      reads++
      if (isAway) throw new Error('away')
      return (
        flows
          .get(flowId)
          ?.updates.filter(({ seq }) => seq > afterSeq)
          .slice(0, limit) ?? []
      )
    },
    heads: async (flowIds) => {
      looks++
      if (isAway) throw new Error('away')
      return new Map(
        flowIds.flatMap((flowId) => {
          const flow = flows.get(flowId)
          return flow ? [[flowId, { status: flow.status, lastSeq: flow.updates.at(-1)?.seq ?? 0 }]] : []
        }),
      )
    },
  })
  return {
    live,
    counts: () => ({ reads, looks }),
    goAway() {
      isAway = true
    },
    create: (flowId: string) => void flows.set(flowId, { status: 'RUNNING', updates: [] }),
    write(flowId: string, seq: number) {
      flows.get(flowId)?.updates.push(piece(flowId, seq))
    },
    settle(flowId: string) {
      const flow = flows.get(flowId)
      if (flow) flow.status = 'COMPLETED'
    },
    delete: (flowId: string) => flows.delete(flowId),
    follow(flowId: string, afterSeq = 0, signal?: AbortSignal) {
      const seqs: number[] = []
      const isSettled = async () => flows.get(flowId)?.status !== 'RUNNING'
      const ended = (async () => {
        for await (const { seq } of live.stream(flowId, { afterSeq, signal, isSettled })) seqs.push(seq)
      })()
      return { seqs, ended }
    },
  }
}

test('two thousand quiet flows are polled with one query at a time', async () => {
  const elsewhere = createElsewhere()
  const stop = new AbortController()
  setMaxListeners(0, stop.signal)
  const names = Array.from({ length: 2_000 }, (_, index) => `flow-${index}`)
  for (const name of names) elsewhere.create(name)
  const followers = names.map((name) => elsewhere.follow(name, 0, stop.signal))
  // Each reads once for itself, and once more when the first look has told where its flow stands.
  await until(() => elsewhere.counts().looks >= 4)
  const before = elsewhere.counts()
  await until(() => elsewhere.counts().looks >= before.looks + 5)
  expect(elsewhere.counts().reads).toBe(before.reads)
  elsewhere.write('flow-7', 1)
  await until(() => followers[7]?.seqs.length === 1)
  expect(elsewhere.counts().reads - before.reads).toBeLessThan(4)
  stop.abort()
  await Promise.all(followers.map(({ ended }) => ended))
  const { looks } = elsewhere.counts()
  await sleep(20)
  expect(elsewhere.counts().looks - looks).toBeLessThan(2)
})

test('a waiting subscriber receives updates that another one has read before the next poll', async () => {
  const elsewhere = createElsewhere()
  elsewhere.create('a')
  elsewhere.write('a', 1)
  const first = elsewhere.follow('a')
  await until(() => first.seqs.length === 1)
  await until(() => elsewhere.counts().looks > 3)
  elsewhere.write('a', 2)
  const second = elsewhere.follow('a')
  await until(() => second.seqs.length === 2 && first.seqs.length === 2)
  elsewhere.settle('a')
  await Promise.all([first.ended, second.ended])
  expect([first.seqs, second.seqs]).toEqual([
    [1, 2],
    [1, 2],
  ])
})

test('waiting subscribers receive the end and the deletion of a flow in another process', async () => {
  const elsewhere = createElsewhere()
  elsewhere.create('a')
  elsewhere.create('b')
  const [a, b] = [elsewhere.follow('a'), elsewhere.follow('b')]
  await until(() => elsewhere.counts().looks > 3)
  elsewhere.settle('a')
  elsewhere.delete('b')
  await Promise.all([a.ended, b.ended])
})

test('updates published in this process are not read from the database', async () => {
  const elsewhere = createElsewhere()
  elsewhere.create('a')
  const follower = elsewhere.follow('a')
  await until(() => elsewhere.counts().looks > 3)
  const before = elsewhere.counts()
  for (let seq = 1; seq <= 20; seq++) {
    elsewhere.write('a', seq)
    elsewhere.live.publish('a', [piece('a', seq)])
    await until(() => follower.seqs.length === seq)
    await sleep(2)
  }
  // One read after each: nothing follows the newest. Looks cause none.
  expect(elsewhere.counts().reads - before.reads).toBeLessThanOrEqual(20)
  elsewhere.settle('a')
  await follower.ended
  expect(follower.seqs).toEqual(Array.from({ length: 20 }, (_, index) => index + 1))
})

test('an unreachable database ends the subscriptions with its error', async () => {
  const elsewhere = createElsewhere()
  elsewhere.create('a')
  const follower = elsewhere.follow('a')
  await until(() => elsewhere.counts().looks > 1)
  elsewhere.goAway()
  await expect(follower.ended).rejects.toThrow('away')
})

/** Live updates over a store that holds no update, and that is polled every `pollMs`. */
const withoutUpdates = (pollMs = 3_600_000, heads: ReadonlyMap<string, FlowHead> = new Map()) =>
  createLiveUpdates({
    pollMs,
    connectedPollMs: pollMs,
    bus: createNotificationBus({ transport: createMemoryTransport(), id: 'here' }),
    read: async () => [],
    heads: async () => heads,
  })

test('a stream whose signal aborts while the flow is read ends, although nothing wakes it any more', async () => {
  const leave = new AbortController()
  const live = withoutUpdates()
  const isSettled = async () => {
    leave.abort()
    return false
  }
  const updates = []
  for await (const update of live.stream('waiting', { afterSeq: 0, signal: leave.signal, isSettled })) updates.push(update)
  expect(updates).toEqual([])
})

test('a stream ends where the flow ends while its subscriber asks whether it is settled', async () => {
  let asked = 0
  const live = withoutUpdates()
  const isSettled = async () => {
    if (asked++ > 0) return true
    live.ended('f')
    return false
  }
  const leave = AbortSignal.timeout(5_000)
  const stream = live.stream('f', { afterSeq: 1, signal: leave, isSettled, runsHere: () => true })
  for await (const update of stream) expect.unreachable(`${update.seq}`)
  expect(asked).toBe(2)
})

test('a stream of a settled flow, one step of which ran again, ends without a message about it', async () => {
  let asked = 0
  const live = withoutUpdates(5, new Map([['f', { status: 'COMPLETED', lastSeq: 0 }]]))
  const isSettled = async () => ++asked === 4
  for await (const update of live.stream('f', { afterSeq: 1, signal: AbortSignal.timeout(5_000), isSettled }))
    expect.unreachable(`${update.seq}`)
  expect(asked).toBe(4)
})

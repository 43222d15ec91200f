import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createSemaphore } from '../../../src/async/semaphore.ts'
import type { FlowUpdate } from '../../../src/domain/execution/flow-update.ts'
import type { FlowStatus } from '../../../src/domain/vocabulary.ts'
import { OrchestratorError } from '../../../src/errors/orchestrator-error.ts'
import { createFlowFeeds, type FeedEnd, type FeedEntry } from '../../../src/server/streaming/flow-feeds.ts'
import { createSubscriptionCursor } from '../../../src/server/streaming/subscription-cursor.ts'

const FLOW = 'flow-1'

const piece = (seq: number, delta = `<${seq}>`, stepId = 'draft'): FlowUpdate => ({
  seq,
  flowId: FLOW,
  type: 'step_progress',
  stepId,
  data: { delta },
  timestamp: new Date(seq),
})

/** Stored updates of one flow, whose followers live on what is added. */
function createStream() {
  const stored: FlowUpdate[] = []
  const wake = new Set<() => void>()
  let status: FlowStatus = 'RUNNING'
  let opened = 0
  const asked: number[] = []
  const wakeAll = () => {
    for (const resolve of wake) resolve()
    wake.clear()
  }
  async function* read(afterSeq: number, signal: AbortSignal): AsyncGenerator<FlowUpdate, void> {
    opened++
    asked.push(afterSeq)
    signal.addEventListener('abort', wakeAll)
    for (let seq = afterSeq; !signal.aborted; ) {
      const next = stored.find((update) => update.seq > seq)
      if (next) {
        seq = next.seq
        yield next
      } else if (status !== 'RUNNING') return
      else await new Promise<void>((resolve) => wake.add(resolve))
    }
  }
  const feeds = createFlowFeeds({
    stream: (_flowId, _userId, afterSeq, signal) => read(afterSeq, signal),
    statusOf: async () => ({ status }),
    resumedWithinMs: 0,
  })
  return {
    feeds,
    read,
    asked,
    get opened() {
      return opened
    },
    add(...updates: readonly FlowUpdate[]) {
      stored.push(...updates)
      wakeAll()
    },
    settle(next: FlowStatus) {
      status = next
      wakeAll()
    },
  }
}

type Stream = ReturnType<typeof createStream>

/** A reader that takes as many updates as it has room for. */
function follow(stream: Stream, afterSeq = 0, room = Number.POSITIVE_INFINITY) {
  const taken: FeedEntry[] = []
  const ends: (readonly [FeedEnd, number])[] = []
  const sink = {
    isFull: () => taken.length >= room,
    send: (entry: FeedEntry) => void taken.push(entry),
    end: (end: FeedEnd, lastSeq: number) => void ends.push([end, lastSeq]),
  }
  const follower = createSubscriptionCursor({
    feed: stream.feeds.open(FLOW, 'ada', afterSeq),
    afterSeq,
    sink,
    readBack: (after, signal) => stream.read(after, signal),
    readBackLimit: createSemaphore(2),
  })
  return {
    taken,
    ends,
    follower,
    seqs: () => taken.map(({ seq }) => seq),
    text: () => taken.map(({ update }) => (update.type === 'step_progress' ? update.data.delta : '')).join(''),
    makeRoom(more: number) {
      room = taken.length + more
      follower.resume()
    },
  }
}

const settled = async () => {
  for (let turns = 0; turns < 20; turns++) await turn()
}
const range = (from: number, to: number): readonly number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index)
const textOf = (from: number, to: number): string =>
  range(from, to)
    .map((seq) => `<${seq}>`)
    .join('')

test('a reader receives nothing before the next turn of the event loop, even if the flow ends in this one', async () => {
  const stream = createStream()
  const first = follow(stream)
  stream.add(piece(1))
  await settled()
  stream.settle('COMPLETED')
  // The feed learns of its end in microtasks; a reader that joins in one of them is not told before it knows that it joined.
  for (let step = 0; step < 12; step++) {
    const joined = follow(stream, 1)
    expect(joined.ends).toEqual([])
    await Promise.resolve()
    expect(joined.ends).toEqual([])
    joined.follower.stop()
  }
  await settled()
  expect(first.ends).toEqual([[{ status: 'COMPLETED' }, 1]])
})

test('updates for a full reader are not processed while it stays full', async () => {
  const stream = createStream()
  const feed = stream.feeds.open(FLOW, 'ada', 0)
  let looks = 0
  let sent = 0
  const follower = createSubscriptionCursor({
    feed: {
      after(seq) {
        looks++
        return feed.after(seq)
      },
      get end() {
        return feed.end
      },
      watch: (onChange) => feed.watch(onChange),
    },
    afterSeq: 0,
    sink: { isFull: () => sent > 0, send: () => void sent++, end: () => {} },
    readBack: stream.read,
    readBackLimit: createSemaphore(2),
  })
  stream.add(piece(1), piece(2))
  await settled()
  const before = looks
  for (const seq of range(3, 300)) {
    stream.add(piece(seq))
    await turn()
  }
  await settled()
  expect([looks - before, sent, follower.lastSeq]).toEqual([0, 1, 1])
})

test('a reader that reads again gets all updates, with chunks merged, from the database if memory no longer holds them', async () => {
  const stream = createStream()
  const healthy = follow(stream)
  const stopped = follow(stream, 0, 1)
  for (let seq = 1; seq <= 3_000; seq += 5) {
    stream.add(...range(seq, seq + 4).map((each) => piece(each)))
    await turn()
  }
  await settled()
  expect(healthy.seqs()).toEqual(range(1, 3_000))
  expect(stopped.seqs()).toEqual([1])
  stopped.makeRoom(10)
  await settled()
  expect(stopped.text()).toBe(textOf(1, 3_000))
  expect(stopped.taken.length).toBeLessThan(5)
  expect(stopped.follower.lastSeq).toBe(3_000)
  stream.add(piece(3_001))
  stream.settle('COMPLETED')
  await settled()
  expect(stopped.text()).toBe(textOf(1, 3_001))
  expect(stopped.ends).toEqual([[{ status: 'COMPLETED' }, 3_001]])
})

test('a reader that takes one update at a time misses none and gets none twice', async () => {
  const stream = createStream()
  const healthy = follow(stream)
  const slow = follow(stream, 0, 0)
  let seq = 0
  for (let round = 0; round < 300; round++) {
    // Two steps in turn, so that neighbours do not always merge.
    stream.add(piece(++seq, `a${seq}.`, 'a'), piece(++seq, `a${seq}.`, 'a'), piece(++seq, `b${seq}.`, 'b'))
    slow.makeRoom(round % 3)
    await turn()
  }
  stream.settle('FAILED')
  await settled()
  slow.makeRoom(Number.POSITIVE_INFINITY)
  await settled()
  expect(slow.text()).toBe(healthy.text())
  expect(slow.ends).toEqual([[{ status: 'FAILED' }, seq]])
  const seqs = slow.seqs()
  expect(seqs).toEqual([...new Set(seqs)].sort((a, b) => a - b))
})

test('chunks of different steps, iterations and samples are never merged', async () => {
  const stream = createStream()
  const reader = follow(stream, 0, 0)
  await settled()
  const base = piece(1)
  const updates: readonly FlowUpdate[] = [
    { ...piece(1), iteration: 1 },
    { ...piece(2), iteration: 2 },
    { ...piece(3), stepId: 'other' },
    { ...base, seq: 4, type: 'step_progress', data: { delta: 'x', sample: 0 } },
    { ...base, seq: 5, type: 'step_progress', data: { delta: 'y', sample: 1 } },
    { ...base, seq: 6, type: 'step_skipped', data: { reason: 'condition' } },
    piece(7),
  ]
  stream.add(...updates)
  await settled()
  reader.makeRoom(10)
  await settled()
  expect(reader.seqs()).toEqual([1, 2, 3, 4, 5, 6, 7])
})

test('merged chunks stay below the maximum length of a message', async () => {
  const stream = createStream()
  const reader = follow(stream, 0, 0)
  await settled()
  stream.add(...range(1, 100).map((seq) => piece(seq, 'x'.repeat(10_000))))
  await settled()
  reader.makeRoom(1_000)
  await settled()
  expect(reader.text()).toHaveLength(1_000_000)
  for (const { bytes } of reader.taken) expect(bytes.length).toBeLessThan(70_000)
})

test('a subscription after a future sequence number does not affect other subscribers', async () => {
  const stream = createStream()
  const odd = follow(stream, 2_147_483_647)
  const honest = follow(stream, 0)
  stream.add(piece(1), piece(2))
  await settled()
  const late = follow(stream, 1)
  await settled()
  expect(honest.seqs()).toEqual([1, 2])
  expect(late.seqs()).toEqual([2])
  const { opened } = stream
  stream.settle('COMPLETED')
  await settled()
  // Nobody reads round and round after the end.
  expect(stream.opened - opened).toBeLessThan(3)
  expect(honest.ends).toEqual([[{ status: 'COMPLETED' }, 2]])
  expect(late.ends).toEqual([[{ status: 'COMPLETED' }, 2]])
  expect(odd.taken).toEqual([])
  expect(odd.ends).toHaveLength(1)
  expect(stream.feeds.size).toBe(0)
})

test('the subscription continues if the flow is executed again at the moment of its end', async () => {
  const stream = createStream()
  const reader = follow(stream)
  let looks = 0
  const feeds = createFlowFeeds({
    stream: (_flow, _user, afterSeq, signal) => stream.read(afterSeq, signal),
    statusOf: async () => {
      // Between the end of the stream and this look somebody started it again.
      if (looks++ > 0) return { status: 'COMPLETED' }
      stream.add(piece(2))
      return { status: 'RUNNING' }
    },
    resumedWithinMs: 0,
  })
  const again = createSubscriptionCursor({
    feed: feeds.open(FLOW, 'ada', 0),
    afterSeq: 0,
    sink: { ...noSink, ...collect() },
    readBack: stream.read,
    readBackLimit: createSemaphore(2),
  })
  stream.add(piece(1))
  stream.settle('FAILED')
  await settled()
  expect(again.lastSeq).toBe(2)
  expect(reader.ends).toHaveLength(1)
})

const noSink = { isFull: () => false, end: () => {} }
const collect = () => ({ send: () => {} })

test('one feed of a flow serves all subscribers, and none is left when the last one leaves', async () => {
  const stream = createStream()
  for (let round = 0; round < 1_000; round++) {
    const readers = [follow(stream), follow(stream), follow(stream)]
    expect(stream.feeds.size).toBe(1)
    if (round % 100 === 0) await settled()
    for (const { follower } of readers) follower.stop()
    expect(stream.feeds.size).toBe(0)
  }
  expect(stream.opened).toBe(1_000)
})

test('a flow that can no longer be read ends every subscription with the reason', async () => {
  const gone = new OrchestratorError('FLOW_NOT_FOUND', 'No flow')
  const feeds = createFlowFeeds({
    stream: async function* () {
      yield await Promise.reject(gone)
    },
    statusOf: async () => ({ status: 'RUNNING' }),
    resumedWithinMs: 0,
  })
  const ends: FeedEnd[] = []
  createSubscriptionCursor({
    feed: feeds.open(FLOW, 'ada', 0),
    afterSeq: 0,
    sink: { isFull: () => false, send: () => {}, end: (end) => ends.push(end) },
    readBack: async function* () {},
    readBackLimit: createSemaphore(2),
  })
  await settled()
  expect(ends).toEqual([{ error: gone }])
  expect(feeds.size).toBe(0)
})

test('waiting work continues in order, even after a failure', async () => {
  const turns = createSemaphore(2)
  const order: string[] = []
  let most = 0
  let running = 0
  const work = (name: string, fails = false) =>
    turns(async () => {
      most = Math.max(most, ++running)
      await turn()
      order.push(name)
      running--
      if (fails) throw new Error(name)
      return name
    })
  const results = await Promise.allSettled([work('a'), work('b', true), work('c'), work('d', true), work('e')])
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled'])
  expect(order).toEqual(['a', 'b', 'c', 'd', 'e'])
  expect(most).toBe(2)
  expect(await work('f')).toBe('f')
})

test('text that was joined in the store is not given whole to a reader that has its beginning', async () => {
  const stream = createStream()
  stream.add(piece(1), piece(9, '<2><3><4><5><6><7><8><9>'))
  const feed = stream.feeds.open(FLOW, 'ada', 0)
  const full = new Promise<void>((resolve) => {
    feed.watch(() => {
      if (feed.after(0)?.length === 2) resolve()
    })
  })
  await full
  expect(feed.after(1)?.map(({ seq }) => seq)).toEqual([9])
  expect(feed.after(5)).toBeUndefined()
  expect(feed.after(9)).toEqual([])
  stream.feeds.close()
})

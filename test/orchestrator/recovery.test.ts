import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { Subscriber } from '../../src/notifications/notification.ts'
import { createRecovery } from '../../src/orchestrator/ownership/recovery.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function createRecoveryOf(heartbeat: () => Promise<void>) {
  let decisions = 0
  const done: string[] = []
  const subscribers = new Set<Subscriber>()
  const recovery = createRecovery({
    bus: {
      publish: (topic, payload) => void done.push(`${topic}: ${payload}`),
      subscribe(_topic, subscriber) {
        subscribers.add(subscriber)
        return () => subscribers.delete(subscriber)
      },
      hasSubscribersElsewhere: () => true,
      mayHaveSubscribersElsewhere: () => true,
      isConnected: () => true,
      close: async () => {},
    },
    owners: {
      heartbeat,
      unregister: async (id) => void done.push(`unregister ${id}`),
      expire: async (id) => void done.push(`expire ${id}`),
      interruptOrphanedFlows: async () => {
        decisions++
        return []
      },
    },
    self: { id: 'self', host: 'here', pid: 1 },
    isRunning: () => true,
    exclusive: false,
  })
  const receive = () => {
    for (const { onMessage } of subscribers) onMessage('another')
  }
  return { recovery, decisions: () => decisions, done, receive }
}

test('after an outage a process waits for the heartbeats of the others before it decides which of them are dead', async () => {
  let isAway = false
  const { recovery, decisions } = createRecoveryOf(async () => {
    if (isAway) throw new Error('away')
  })
  await recovery.start()
  expect(decisions()).toBe(1)
  isAway = true
  await vi.advanceTimersByTimeAsync(60_000)
  isAway = false
  await vi.advanceTimersByTimeAsync(10_000)
  expect(decisions()).toBe(1)
  await vi.advanceTimersByTimeAsync(5_000)
  expect(decisions()).toBe(2)
  await recovery.stop()
})

test('a process whose own heartbeat was late waits for the heartbeats of the others as well', async () => {
  const { recovery, decisions } = createRecoveryOf(async () => {})
  await recovery.start()
  await vi.advanceTimersByTimeAsync(5_000)
  expect(decisions()).toBe(2)
  // The machine stood still: time has passed in which no timer ran.
  const now = performance.now.bind(performance)
  vi.spyOn(performance, 'now').mockImplementation(() => now() + 60_000)
  await vi.advanceTimersByTimeAsync(10_000)
  expect(decisions()).toBe(2)
  await vi.advanceTimersByTimeAsync(5_000)
  expect(decisions()).toBe(3)
  vi.mocked(performance.now).mockRestore()
  await recovery.stop()
})

test('heartbeats that a slow database wrote all at once do not count as waiting', async () => {
  const held: (() => void)[] = []
  let isSlow = false
  const { recovery, decisions } = createRecoveryOf(() =>
    isSlow ? new Promise((resolve) => held.push(resolve)) : Promise.resolve(),
  )
  await recovery.start()
  isSlow = true
  await vi.advanceTimersByTimeAsync(30_000)
  isSlow = false
  for (const write of held) write()
  await vi.advanceTimersByTimeAsync(5_000)
  expect(held).toHaveLength(6)
  expect(decisions()).toBe(1)
  await vi.advanceTimersByTimeAsync(5_000)
  expect(decisions()).toBe(2)
  await recovery.stop()
})

test('a process that hands over tells the others when its flows are free, and they look for them at once', async () => {
  const leaving = createRecoveryOf(async () => {})
  await leaving.recovery.start()
  await leaving.recovery.stop({ handOver: true })
  expect(leaving.done).toEqual(['expire self', 'owner left: self'])

  const { recovery, decisions, done, receive } = createRecoveryOf(async () => {})
  await recovery.start()
  receive()
  recovery.awaitLeaving()
  await vi.advanceTimersByTimeAsync(0)
  expect(decisions()).toBe(1)
  receive()
  await vi.advanceTimersByTimeAsync(0)
  expect(decisions()).toBe(2)
  await recovery.stop()
  receive()
  await vi.advanceTimersByTimeAsync(0)
  expect(decisions()).toBe(2)
  expect(done).toEqual(['unregister self'])
})

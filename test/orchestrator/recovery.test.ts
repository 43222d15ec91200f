import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createRecovery } from '../../src/orchestrator/ownership/recovery.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function createRecoveryOf(heartbeat: () => Promise<void>) {
  let decisions = 0
  const recovery = createRecovery({
    owners: {
      heartbeat,
      unregister: async () => {},
      expire: async () => {},
      interruptOrphanedFlows: async () => {
        decisions++
        return []
      },
    },
    self: { id: 'self', host: 'here', pid: 1 },
    isRunning: () => true,
    exclusive: false,
  })
  return { recovery, decisions: () => decisions }
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

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createRecovery } from '../../src/orchestrator/ownership/recovery.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('after an outage a process waits for the heartbeats of the others before it decides which of them are dead', async () => {
  let isAway = false
  let decisions = 0
  const recovery = createRecovery({
    owners: {
      heartbeat: async () => {
        if (isAway) throw new Error('away')
      },
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
  await recovery.start()
  expect(decisions).toBe(1)
  isAway = true
  await vi.advanceTimersByTimeAsync(60_000)
  isAway = false
  await vi.advanceTimersByTimeAsync(10_000)
  expect(decisions).toBe(1)
  await vi.advanceTimersByTimeAsync(5_000)
  expect(decisions).toBe(2)
  await recovery.stop()
})

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createBackpressureMonitor } from '../../src/server/streaming/backpressure.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const SLOW_AFTER_MS = 30_000
const createFull = () => {
  const monitor = createBackpressureMonitor({ maxBufferedBytes: 1_000, slowAfterMs: SLOW_AFTER_MS })
  expect(monitor.isFull(1_000)).toBe(true)
  return monitor
}

/** The time of `checks` checks, one second apart, at none of which the reader is too slow. */
const keepsUp = (monitor: ReturnType<typeof createFull>, checks: number, waitingBytes: number) => {
  for (let check = 0; check < checks; check++) {
    vi.advanceTimersByTime(1_000)
    expect(monitor.isTooSlow(waitingBytes)).toBe(false)
  }
}

test('time in which the process could not see what a reader read does not make the reader slow', () => {
  const monitor = createFull()
  vi.advanceTimersByTime(10 * SLOW_AFTER_MS)
  expect(monitor.isTooSlow(1_000)).toBe(false)
  keepsUp(monitor, 28, 1_000)
  vi.advanceTimersByTime(1_000)
  expect(monitor.isTooSlow(1_000)).toBe(true)
})

test('a reader that reads half of the buffer in time is given the time again', () => {
  const monitor = createFull()
  keepsUp(monitor, 29, 1_000)
  expect(monitor.isTooSlow(500)).toBe(false)
  keepsUp(monitor, 29, 500)
  vi.advanceTimersByTime(1_000)
  expect(monitor.isTooSlow(500)).toBe(true)
})

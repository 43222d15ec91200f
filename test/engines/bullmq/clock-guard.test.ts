import { beforeEach, expect, test } from 'vitest'
import type { Clock } from '../../../src/async/clock.ts'
import { type ClockState, startClockGuard } from '../../../src/engines/bullmq/clock-guard.ts'

const timers: (() => void)[] = []
const delaysMs: number[] = []
const clock: Clock = {
  now: () => 0,
  random: () => 0,
  startTimer: (delayMs, run) => {
    delaysMs.push(delayMs)
    timers.push(run)
    return () => undefined
  },
}
let offsets: (number | Error)[]
const changes: ClockState[] = []

beforeEach(() => {
  timers.length = 0
  delaysMs.length = 0
  changes.length = 0
  offsets = []
})

const start = () =>
  startClockGuard({
    clock,
    readOffsetMs: async () => {
      const next = offsets.shift() ?? 0
      if (next instanceof Error) throw next
      return next
    },
    allowedMs: 1_000,
    checkEveryMs: 60_000,
    firstRetryMs: 1_000,
    onChange: (state) => changes.push(state),
  })
const nextCheck = async () => {
  const { length } = timers
  timers.at(-1)?.()
  while (timers.length === length) await new Promise(setImmediate)
}

test('a clock that agrees is no change', async () => {
  offsets = [999]
  const guard = await start()
  expect(guard.state()).toEqual({ ok: true, offsetMs: 999 })
  expect(changes).toEqual([])
})

test.each([8_000, -8_000])('a clock that is wrong by %i ms is reported once, and again when it agrees', async (offsetMs) => {
  offsets = [offsetMs, offsetMs, 5]
  const guard = await start()
  expect(guard.state().ok).toBe(false)
  await nextCheck()
  expect(changes).toEqual([{ ok: false, offsetMs }])
  await nextCheck()
  expect(changes).toEqual([
    { ok: false, offsetMs },
    { ok: true, offsetMs: 5 },
  ])
})

test('the last state holds while the database does not answer', async () => {
  offsets = [8_000, new Error('the database is away')]
  const guard = await start()
  await nextCheck()
  expect(guard.state()).toEqual({ ok: false, offsetMs: 8_000 })
  expect(changes).toHaveLength(1)
})

test.each([
  { offsetMs: 8_000, ok: false },
  { offsetMs: 5, ok: true },
])('until the first answer no slot is taken, and the clock is compared again every second ($offsetMs ms)', async (answer) => {
  offsets = [new Error('the database is away'), new Error('the database is away'), answer.offsetMs, answer.offsetMs]
  const guard = await start()
  expect(guard.state()).toEqual({ ok: false })
  await nextCheck()
  expect(guard.state()).toEqual({ ok: false })
  expect(changes).toEqual([])
  await nextCheck()
  expect(guard.state()).toEqual(answer)
  expect(changes).toEqual([answer])
  await nextCheck()
  expect(changes).toEqual([answer])
  expect(delaysMs).toEqual([1_000, 1_000, 60_000, 60_000])
})

test('a stopped guard checks no more', async () => {
  offsets = [0, 8_000]
  const guard = await start()
  guard.stop()
  timers.at(-1)?.()
  await new Promise(setImmediate)
  expect(changes).toEqual([])
})

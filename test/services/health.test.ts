import { expect, test } from 'vitest'
import { createProber, type ProbeResult } from '../../src/services/life/health.ts'
import type { Probe } from '../../src/services/network/probes.ts'

const TIMING = { intervalMs: 30_000, timeoutMs: 10_000, startIntervalMs: 500, retryIntervalMs: 2_000 }

/** A clock that stands still until it is moved; timers that a stall has passed fire together after it. */
function createStill() {
  let nowMs = 0
  let next = 0
  const timers = new Map<number, { readonly atMs: number; readonly run: () => void }>()
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve))
  const fireDue = async () => {
    for (;;) {
      const due = [...timers].filter(([, { atMs }]) => atMs <= nowMs).sort(([, one], [, other]) => one.atMs - other.atMs)[0]
      if (!due) return
      timers.delete(due[0])
      due[1].run()
      await settle()
    }
  }
  return {
    clock: {
      now: () => nowMs,
      random: () => 0.5,
      startTimer(delayMs: number, run: () => void) {
        const id = next++
        timers.set(id, { atMs: nowMs + delayMs, run })
        return () => void timers.delete(id)
      },
    },
    monotonicNow: () => nowMs,
    pending: () => timers.size,
    /** Time passes and every timer fires when it is due. */
    async advance(ms: number) {
      const endMs = nowMs + ms
      for (;;) {
        const atMs = Math.min(...[...timers.values()].map((timer) => timer.atMs))
        if (atMs > endMs) break
        nowMs = Math.max(nowMs, atMs)
        await fireDue()
      }
      nowMs = endMs
      await settle()
    },
    /** The process does nothing for this long. */
    async stall(ms: number) {
      nowMs += ms
      await fireDue()
    },
  }
}

function probing(probe: Probe) {
  const still = createStill()
  const results: ProbeResult[] = []
  const prober = createProber({ probe, timing: TIMING, ...still, onResult: (result) => results.push(result) })
  return { ...still, prober, results }
}

test('one probe runs at a time, and the next one waits for its interval', async () => {
  let asked = 0
  const { prober, results, advance } = probing(async () => {
    asked++
    return { ok: true, detail: 'fine' }
  })
  prober.setPace('start')
  await advance(0)
  expect(asked).toBe(1)
  await advance(499)
  expect(asked).toBe(1)
  await advance(1)
  expect(asked).toBe(2)
  prober.setPace('steady')
  await advance(29_999)
  expect(asked).toBe(2)
  await advance(1)
  expect(asked).toBe(3)
  expect(results).toHaveLength(3)
})

test('a probe without an answer fails at its timeout, and its signal aborts', async () => {
  let aborted = false
  const { prober, results, advance } = probing(
    (signal) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => {
          aborted = true
          reject(signal.reason)
        }),
      ),
  )
  prober.setPace('steady')
  await advance(9_999)
  expect(results).toEqual([])
  await advance(1)
  expect(aborted).toBe(true)
  expect(results).toMatchObject([{ ok: false, detail: 'no answer within 10000 ms', ms: 10_000 }])
})

test('a failure during a stall of this process does not count, a failure without one does', async () => {
  const { prober, results, advance, stall } = probing(() => new Promise(() => undefined))
  prober.setPace('steady')
  await advance(0)
  await stall(11_000)
  expect(results).toEqual([])
  await advance(30_000 + 10_000)
  expect(results).toHaveLength(1)
})

test('probes that are switched off leave no timer and report nothing more', async () => {
  const { prober, results, advance, pending } = probing(() => new Promise(() => undefined))
  prober.setPace('start')
  await advance(100)
  prober.setPace('off')
  await advance(60_000)
  expect(results).toEqual([])
  expect(pending()).toBe(0)
})

test('details of a probe never repeat what a service wrote', async () => {
  const { prober, results, advance } = probing(() => Promise.reject(Object.assign(new Error('secret'), { code: 'ECONNREFUSED' })))
  prober.setPace('start')
  await advance(0)
  expect(results).toMatchObject([{ ok: false, detail: 'ECONNREFUSED' }])
})

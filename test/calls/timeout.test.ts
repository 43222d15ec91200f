import { describe, expect, test } from 'vitest'
import { untilAborted } from '../../src/async/until-aborted.ts'
import type { AttemptContext } from '../../src/calls/call.ts'
import { streamTimeout, totalTimeout } from '../../src/calls/timeout.ts'
import { describeCallLayer } from '../contracts/call.ts'
import { callAnswer, manualClock, prepared, requestTo, tryContext } from '../support/calls.ts'

const never = new Promise<never>(() => {})

describeCallLayer({
  name: 'stream timeout',
  create: () => streamTimeout(manualClock()),
  context: () => ({ onDelta: () => {}, firstChunkTimeoutMs: 1_000, idleTimeoutMs: 1_000 }),
})

/** A stream that sends a chunk at each of the given times (milliseconds) and then hangs. */
function stream(timesMs: readonly number[], context: Partial<AttemptContext>) {
  const clock = manualClock()
  let seen: AbortSignal | undefined
  const call = streamTimeout(clock)((_, { signal, onActivity, onDelta }) => {
    seen = signal
    for (const [index, time] of timesMs.entries())
      clock.startTimer(time, () => (index % 2 === 0 ? onActivity?.() : onDelta?.('text')))
    return untilAborted(never, signal)
  })(prepared(), tryContext({ onDelta: () => {}, ...context }))
  const outcome = call.catch((error: unknown) => error)
  return { clock, outcome, signal: () => seen }
}

describe('stream timeouts', () => {
  test('end an attempt that sends nothing', async () => {
    const { clock, outcome, signal } = stream([], { firstChunkTimeoutMs: 1_000, idleTimeoutMs: 100 })
    await clock.pass(999)
    expect(signal()?.aborted).toBe(false)
    await clock.pass(1)
    expect(await outcome).toMatchObject({
      code: 'PROVIDER_UNAVAILABLE',
      retryable: true,
      details: { timeout: 'first_chunk', timeoutMs: 1_000 },
    })
    expect(signal()?.aborted).toBe(true)
    expect(clock.pending).toBe(0)
  })

  test('end an attempt that stops sending', async () => {
    const { clock, outcome } = stream([500, 590, 680, 770], { firstChunkTimeoutMs: 1_000, idleTimeoutMs: 100 })
    await clock.pass(870)
    expect(await outcome).toMatchObject({ code: 'PROVIDER_UNAVAILABLE', details: { timeout: 'idle', timeoutMs: 100 } })
    expect(clock.pending).toBe(0)
  })

  test('do not end an attempt that keeps sending', async () => {
    const { clock, signal } = stream([500, 590, 680, 770], { firstChunkTimeoutMs: 1_000, idleTimeoutMs: 100 })
    await clock.pass(869)
    expect(signal()?.aborted).toBe(false)
  })

  test('end an attempt exactly one idle timeout after its last chunk', async () => {
    for (const last of [1, 99, 100, 101, 150, 250, 999]) {
      const { clock, outcome, signal } = stream([last], { firstChunkTimeoutMs: 1_000, idleTimeoutMs: 100 })
      await clock.pass(last + 99)
      expect(signal()?.aborted).toBe(false)
      await clock.pass(1)
      expect(await outcome).toMatchObject({ details: { timeout: 'idle' } })
    }
  })

  test('do not end a stream after its first chunk if no idle timeout is set', async () => {
    const { clock, signal } = stream([500], { firstChunkTimeoutMs: 1_000 })
    await clock.pass(100_000)
    expect(signal()?.aborted).toBe(false)
    expect(clock.pending).toBe(0)
  })

  test('do not apply the idle timeout before the first chunk', async () => {
    const { clock, signal } = stream([5_000], { idleTimeoutMs: 100 })
    await clock.pass(5_050)
    expect(signal()?.aborted).toBe(false)
  })

  test('start one timer for any number of chunks', async () => {
    const clock = manualClock()
    let timers = 0
    const counting = {
      ...clock,
      startTimer: (delayMs: number, run: () => void) => {
        timers += 1
        return clock.startTimer(delayMs, run)
      },
    }
    await streamTimeout(counting)(async (_, { onActivity }) => {
      for (let chunk = 0; chunk < 10_000; chunk++) onActivity?.()
      return callAnswer()
    })(prepared(), tryContext({ onDelta: () => {}, firstChunkTimeoutMs: 1_000, idleTimeoutMs: 1_000 }))
    expect(timers).toBe(1)
    expect(clock.pending).toBe(0)
  })

  test('do not apply to a request that is not streamed', async () => {
    const clock = manualClock()
    const context = tryContext({ firstChunkTimeoutMs: 1, idleTimeoutMs: 1 })
    await streamTimeout(clock)(async (_, seen) => {
      expect(seen).toBe(context)
      return callAnswer()
    })(prepared(), context)
    expect(clock.pending).toBe(0)
  })
})

describe('the total timeout', () => {
  test('rejects with STEP_TIMEOUT, aborts the request and leaves no timer', async () => {
    const clock = manualClock()
    let seen: AbortSignal | undefined
    const call = totalTimeout(clock, (_, { signal }) => {
      seen = signal
      return untilAborted(never, signal)
    })(requestTo(), tryContext({ timeoutMs: 2_000 }))
    const outcome = expect(call).rejects.toMatchObject({ code: 'STEP_TIMEOUT', retryable: false, details: { timeoutMs: 2_000 } })
    await clock.pass(2_000)
    await outcome
    expect(seen?.reason).toMatchObject({ code: 'STEP_TIMEOUT' })
    expect(clock.pending).toBe(0)
  })

  test('leaves no timer after an answer', async () => {
    const clock = manualClock()
    await totalTimeout(clock, async () => callAnswer())(requestTo(), tryContext({ timeoutMs: 2_000 }))
    expect(clock.pending).toBe(0)
  })

  test('starts no timer if it is not set', async () => {
    const context = tryContext()
    await totalTimeout(manualClock(), async (_, seen) => {
      expect(seen).toBe(context)
      return callAnswer()
    })(requestTo(), context)
  })
})

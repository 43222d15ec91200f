import type { Clock, StopTimer } from '../../async/clock.ts'
import { untilAborted } from '../../async/until-aborted.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ProbePace } from '../machine/machine-model.ts'
import type { Probe, ProbeVerdict } from '../network/probes.ts'

/** Milliseconds. */
export interface ProbeTiming {
  readonly intervalMs: number
  readonly timeoutMs: number
  readonly startIntervalMs: number
  readonly retryIntervalMs: number
}

export interface ProbeResult extends ProbeVerdict {
  readonly at: Date
  readonly ms: number
}

export interface ProberDeps {
  readonly probe: Probe
  readonly timing: ProbeTiming
  readonly clock: Clock
  /** Milliseconds of a clock that no one sets. */
  readonly monotonicNow: () => number
  readonly onResult: (result: ProbeResult) => void
}

/** Asks for the health of one service again and again, one probe at a time. */
export interface Prober {
  /** Sets the time between probes; `off` ends them. The result of a probe of an earlier pace still counts. */
  setPace(pace: ProbePace): void
}

/** Services that were started together must not be asked together. */
const JITTER = 0.1
/** The event loop is checked this many times within the timeout of a probe. */
const STALL_CHECKS = 10

export function createProber({ probe, timing, clock, monotonicNow, onResult }: ProberDeps): Prober {
  let pace: ProbePace = 'off'
  let stopTimer: StopTimer | undefined
  let asking: AbortController | undefined

  const intervals = { start: timing.startIntervalMs, steady: timing.intervalMs, retry: timing.retryIntervalMs }

  function schedule(delayMs: number): void {
    stopTimer?.()
    stopTimer = clock.startTimer(delayMs, () => {
      stopTimer = undefined
      void ask()
    })
  }
  function scheduleNext(): void {
    if (pace === 'off' || asking) return
    schedule(intervals[pace] * (1 - JITTER + 2 * JITTER * clock.random()))
  }

  async function ask(): Promise<void> {
    const own = new AbortController()
    asking = own
    const startedMs = monotonicNow()
    const stalls = watchStalls(timing.timeoutMs / STALL_CHECKS)
    const stopTimeout = clock.startTimer(timing.timeoutMs, () => own.abort(new Error(`no answer within ${timing.timeoutMs} ms`)))
    const verdict = await untilAborted(
      Promise.resolve().then(() => probe(own.signal)),
      own.signal,
    ).catch((error): ProbeVerdict => ({ ok: false, detail: toDetail(error) }))
    stopTimeout()
    const longestMs = stalls.stop()
    if (asking === own) asking = undefined
    if (own.signal.reason === ENDED) return
    // A failure that this process caused by its own stall says nothing about the service.
    if (verdict.ok || longestMs <= timing.timeoutMs / 2) {
      onResult({ ...verdict, at: new Date(clock.now()), ms: Math.round(monotonicNow() - startedMs) })
    }
    scheduleNext()
  }

  /** Measures the longest time between two checks that is more than their interval. */
  function watchStalls(everyMs: number) {
    let lastMs = monotonicNow()
    let longestMs = 0
    const measure = () => {
      longestMs = Math.max(longestMs, monotonicNow() - lastMs - everyMs)
      lastMs = monotonicNow()
    }
    let stop = clock.startTimer(everyMs, check)
    function check(): void {
      measure()
      stop = clock.startTimer(everyMs, check)
    }
    return {
      stop(): number {
        stop()
        measure()
        return longestMs
      },
    }
  }

  return {
    setPace(next) {
      if (next === pace) return
      const wasOff = pace === 'off'
      pace = next
      if (next === 'off') {
        stopTimer?.()
        stopTimer = undefined
        asking?.abort(ENDED)
        asking = undefined
      } else if (wasOff) schedule(0)
      else scheduleNext()
    },
  }
}

const ENDED = Symbol('ended')

/** What kept a probe from its answer, without text that a service may have chosen. */
function toDetail(error: unknown): string {
  if (OrchestratorError.is(error)) return error.code
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined
  return code ?? (error instanceof Error ? error.message.slice(0, 200) : 'failed')
}

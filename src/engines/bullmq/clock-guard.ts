import type { Clock, StopTimer } from '../../async/clock.ts'

export interface ClockGuardDeps {
  readonly clock: Clock
  /** Milliseconds by which the clock of this process is ahead of the database. */
  readonly readOffsetMs: () => Promise<number>
  /** Largest offset, in either direction, with which slots may be taken. */
  readonly allowedMs: number
  readonly checkEveryMs: number
  /** Milliseconds between two attempts until the first one succeeds. */
  readonly firstRetryMs: number
  /**
   * Called when slots may no longer be taken, and when they may again: at a first offset that is too large, or at the
   * first one after failed attempts, and whenever a later one changes `ok`.
   */
  readonly onChange: (state: ClockState) => void
}

export interface ClockState {
  /** Whether slots may be taken; false until the first check that succeeded. */
  readonly ok: boolean
  /** Milliseconds by which the clock of this process is ahead, at the last check that succeeded. */
  readonly offsetMs?: number
}

export interface ClockGuard {
  state(): ClockState
  stop(): void
}

/**
 * Compares the clock of this process with that of the database at the start and at intervals. BullMQ on Postgres writes
 * and checks locks by the clock of each worker: one whose clock is ahead takes slots of workers that are alive.
 * Resolves when the clock was compared for the first time, or could not be.
 */
export async function startClockGuard({
  clock,
  readOffsetMs,
  allowedMs,
  checkEveryMs,
  firstRetryMs,
  onChange,
}: ClockGuardDeps): Promise<ClockGuard> {
  let state: ClockState = { ok: false }
  /** Whether the caller was given a state. */
  let isGiven = false
  let stopTimer: StopTimer = () => {}
  let stopped = false

  const check = async () => {
    // While the database does not answer, the last state holds: a clock that was never compared may be wrong.
    const offsetMs = await readOffsetMs().catch(() => undefined)
    if (offsetMs === undefined || stopped) return
    const before = state
    state = { ok: Math.abs(offsetMs) <= allowedMs, offsetMs }
    const isFirst = before.offsetMs === undefined
    if (isFirst ? isGiven || !state.ok : state.ok !== before.ok) onChange(state)
  }
  const schedule = () => {
    if (stopped) return
    stopTimer = clock.startTimer(state.offsetMs === undefined ? firstRetryMs : checkEveryMs, () => {
      check().then(schedule, schedule)
    })
  }

  await check()
  isGiven = true
  schedule()
  return {
    state: () => state,
    stop() {
      stopped = true
      stopTimer()
    },
  }
}

import type { Clock, StopTimer } from '../../async/clock.ts'

export interface ClockGuardDeps {
  readonly clock: Clock
  /** Milliseconds by which the clock of this process is ahead of the database. */
  readonly readOffsetMs: () => Promise<number>
  /** Largest offset, in either direction, with which slots may be taken. */
  readonly allowedMs: number
  readonly checkEveryMs: number
  /** Called when the offset becomes too large, and when it is small enough again. */
  readonly onChange: (state: ClockState) => void
}

export interface ClockState {
  readonly ok: boolean
  /** Milliseconds by which the clock of this process is ahead, at the last check that succeeded. */
  readonly offsetMs: number
}

export interface ClockGuard {
  state(): ClockState
  stop(): void
}

/**
 * Compares the clock of this process with that of the database at the start and at intervals. BullMQ on Postgres writes
 * and checks locks by the clock of each worker: one whose clock is ahead takes slots of workers that are alive.
 * Resolves when the clock was compared for the first time.
 */
export async function startClockGuard({
  clock,
  readOffsetMs,
  allowedMs,
  checkEveryMs,
  onChange,
}: ClockGuardDeps): Promise<ClockGuard> {
  let state: ClockState = { ok: true, offsetMs: 0 }
  let stopTimer: StopTimer = () => {}
  let stopped = false

  const check = async () => {
    // While the database does not answer, the last state holds.
    const offsetMs = await readOffsetMs().catch(() => undefined)
    if (offsetMs === undefined || stopped) return
    const before = state
    state = { ok: Math.abs(offsetMs) <= allowedMs, offsetMs }
    if (state.ok !== before.ok) onChange(state)
  }
  const schedule = () => {
    if (stopped) return
    stopTimer = clock.startTimer(checkEveryMs, () => {
      check().then(schedule, schedule)
    })
  }

  await check()
  schedule()
  return {
    state: () => state,
    stop() {
      stopped = true
      stopTimer()
    },
  }
}

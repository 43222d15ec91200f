import { nextInstant, previousInstant, type ScheduleTiming } from '../../domain/schedule-timing.ts'

/** An instant that is later than this was missed: no process was running then. */
const MISSED_AFTER_MS = 60_000
/** Under `all`, an instant that was missed by more is dropped. */
const MAX_MISSED_MS = 7 * 86_400_000

export type MissedRule = 'skip' | 'once' | 'all'

/** What is due of a schedule now. */
export interface DueInstant {
  /** The instant for which a flow is started; undefined if it is skipped. */
  readonly run?: Date
  /** The instant after it. */
  readonly nextAt: Date
}

/**
 * Decides for a schedule whose stored next instant is not later than `now`: which instant gets a flow, and which one is
 * next. Under `all` the next one may be due already.
 */
export function decideDue(timing: ScheduleTiming, missed: MissedRule, dueAt: Date, now: Date): DueInstant {
  const ageMs = now.getTime() - dueAt.getTime()
  if (missed === 'all') {
    const run = ageMs > MAX_MISSED_MS ? nextOrNever(timing, new Date(now.getTime() - MAX_MISSED_MS)) : dueAt
    return run > now ? { nextAt: run } : { run, nextAt: nextOrNever(timing, run) }
  }
  const nextAt = nextOrNever(timing, now)
  const newest = previousInstant(timing, now)
  const run = newest && newest > dueAt ? newest : dueAt
  if (missed === 'skip' && now.getTime() - run.getTime() > MISSED_AFTER_MS) return { nextAt }
  return { run, nextAt }
}

/** Stands for the next instant of a timing that has none; later than any clock. */
const NEVER = new Date(Date.UTC(9999, 0, 1))

const nextOrNever = (timing: ScheduleTiming, after: Date): Date => nextInstant(timing, after) ?? NEVER

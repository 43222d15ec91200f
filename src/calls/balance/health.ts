import type { Clock } from '../../async/clock.ts'
import type { ErrorCode } from '../../errors/error-codes.ts'
import type { Evidence } from './evidence.ts'

export interface EjectionSettings {
  /** Failures in a row after which a member gets no calls. */
  readonly failures: number
  /** Milliseconds of the first ejection; doubles with every further one. */
  readonly baseMs: number
  readonly maxMs: number
}

/**
 * Where a failed trial costs next to nothing, because the failure came at once and cannot be billed, an ejection lasts
 * no longer than this or than a part of the outage: a server that was restarted is used again soon after its return.
 */
const QUICK_RETURN_MS = 9_000
const PART_OF_OUTAGE = 1 / 7
/** A failure within so many milliseconds came at once. */
const AT_ONCE_MS = 1_000
/** Milliseconds until a call that finds the trial of another one in flight may ask again. */
const TRIAL_WAIT_MS = 1_000

/** Why a member cannot be asked now. */
export interface Absence {
  readonly state: 'ejected' | 'held' | 'trial' | 'not_running'
  readonly waitMs: number
  /** Code of its last failure. */
  readonly code: ErrorCode
  /** Whether it may come back by itself, and not only after its key or account was mended. */
  readonly mayReturn: boolean
}

/** One call to a member, from the choice of the member to the end of the call. */
export interface Visit {
  readonly startedAtMs: number
  /** Number of renewals before it. A call to what ran before says nothing about what runs now. */
  readonly renewals: number
  /** Number of ejections before it. A call that began before an ejection says nothing about the time after it. */
  readonly ejections: number
  readonly isTrial: boolean
}

/**
 * Whether a member may be asked; only its calls decide. Some failures in a row eject it, for a time that doubles
 * with every ejection. When the time is over, one call at a time tries it; its answer brings the member back.
 */
export function createHealth({ failures: threshold, baseMs, maxMs }: EjectionSettings, clock: Clock) {
  let failures = 0
  let ejections = 0
  /** Ejections since the member last worked for a while. */
  let level = 0
  let isEjected = false
  let ejectedUntil = 0
  let heldUntil = 0
  let awaySince = 0
  let returnedAt = Number.NEGATIVE_INFINITY
  let trialInFlight = false
  let renewals = 0
  let last: Pick<Absence, 'code' | 'mayReturn'> = { code: 'PROVIDER_UNAVAILABLE', mayReturn: true }

  function eject(isCheap: boolean): void {
    const now = clock.now()
    if (!isEjected) {
      awaySince = now
      if (now - returnedAt > maxMs) level = 0
    }
    const longest = isCheap ? Math.min(maxMs, Math.max(baseMs, QUICK_RETURN_MS, (now - awaySince) * PART_OF_OUTAGE)) : maxMs
    ejectedUntil = now + Math.min(longest, baseMs * 2 ** Math.min(level, 30))
    isEjected = true
    ejections += 1
    level += 1
    failures = 0
  }

  const hold = (forMs: number): void => {
    heldUntil = Math.max(heldUntil, clock.now() + forMs)
  }

  function failed(visit: Visit, { isFatal, isBillable }: Extract<Evidence, { readonly kind: 'fault' }>): void {
    if (visit.ejections !== ejections) return
    failures += 1
    const now = clock.now()
    // Calls that were made while the member was ejected say nothing new.
    if (isEjected && now < ejectedUntil) return
    if (isEjected || isFatal || failures >= threshold) {
      eject(!isFatal && !isBillable && now - visit.startedAtMs <= AT_ONCE_MS)
    }
  }

  function answered(visit: Visit): void {
    if (visit.ejections !== ejections) return
    failures = 0
    if (!isEjected) return
    isEjected = false
    returnedAt = clock.now()
  }

  return {
    /** `undefined` if the member may be asked now. */
    absence(): Absence | undefined {
      const now = clock.now()
      if (isEjected && now < ejectedUntil) return { state: 'ejected', waitMs: ejectedUntil - now, ...last }
      if (now < heldUntil) return { state: 'held', waitMs: heldUntil - now, ...last }
      return isEjected && trialInFlight ? { state: 'trial', waitMs: TRIAL_WAIT_MS, ...last } : undefined
    },
    enter(): Visit {
      const isTrial = isEjected && !trialInFlight
      if (isTrial) trialInFlight = true
      return { startedAtMs: clock.now(), renewals, ejections, isTrial }
    },
    /** The member is another one than before, such as a server that was started again: nothing is known of it. */
    renew(): void {
      renewals += 1
      ejections += 1
      failures = 0
      level = 0
      isEjected = false
      heldUntil = 0
      trialInFlight = false
    },
    leave(visit: Visit, evidence: Evidence): void {
      if (visit.renewals !== renewals) return
      if (visit.isTrial) trialInFlight = false
      if (evidence.kind === 'nothing') return
      if (evidence.kind === 'works') {
        answered(visit)
        return
      }
      last = { code: evidence.code, mayReturn: evidence.kind === 'pause' || !evidence.isFatal }
      if (evidence.holdMs !== undefined) hold(evidence.holdMs)
      if (evidence.kind === 'fault') failed(visit, evidence)
    },
  }
}

export type Health = ReturnType<typeof createHealth>

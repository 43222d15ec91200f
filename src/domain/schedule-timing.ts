import { Cron } from 'croner'

/** When a schedule is due: by a cron expression in a time zone, or at every multiple of a period. */
export type ScheduleTiming =
  | { readonly cron: string; readonly timezone: string }
  /** Milliseconds; the instants are the multiples of it since 1970. */
  | { readonly everyMs: number }

const FIELDS_OR_NICKNAME = /^(@\w+|\S+( +\S+){4,5})$/

/**
 * The first instant of the timing after `after`, undefined after the last one. Of a cron expression with a fixed hour,
 * an instant that summer time skips is due at the end of the gap, and one that occurs twice is due once; an expression
 * for every hour or part of an hour has instants in both hours of the clock.
 */
export function nextInstant(timing: ScheduleTiming, after: Date): Date | undefined {
  if ('everyMs' in timing) return new Date((Math.floor(after.getTime() / timing.everyMs) + 1) * timing.everyMs)
  return cronOf(timing.cron, timing.timezone).nextRun(after) ?? undefined
}

/** The last instant of the timing that is not later than `at`, undefined before the first one. */
export function previousInstant(timing: ScheduleTiming, at: Date): Date | undefined {
  if ('everyMs' in timing) return new Date(Math.floor(at.getTime() / timing.everyMs) * timing.everyMs)
  // The library leaves out a run that begins exactly at the reference.
  return cronOf(timing.cron, timing.timezone).previousRuns(1, new Date(at.getTime() + 1))[0]
}

/** What is wrong with a cron expression or its time zone; undefined if it has instants. */
export function findCronProblem(expression: string, timezone: string): string | undefined {
  if (!FIELDS_OR_NICKNAME.test(expression)) return 'expected five fields, six with seconds, or @daily and its siblings'
  try {
    if (cronOf(expression, 'UTC').nextRun(new Date(0))) return isTimezone(timezone) ? undefined : UNKNOWN_TIMEZONE
    return 'expected an expression that has instants'
  } catch (error) {
    return `expected a cron expression (${error instanceof Error ? error.message.replace(/^CronPattern: /, '') : 'unreadable'})`
  }
}

export const UNKNOWN_TIMEZONE = 'expected a time zone such as Europe/Berlin'

export function isTimezone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }) !== undefined
  } catch {
    return false
  }
}

const cronOf = (expression: string, timezone: string): Cron => new Cron(expression, { timezone, mode: '5-or-6-parts' })

const PART = /(\d+(?:\.\d+)?)(ms|s|m|h|d)/g
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds of a text such as `90s`, `15m` or `1h30m`; undefined for any other text. */
export function parsePeriod(text: string): number | undefined {
  const compact = text.replaceAll(' ', '')
  if (!/^((\d+(?:\.\d+)?)(ms|s|m|h|d))+$/.test(compact)) return undefined
  let totalMs = 0
  for (const [, amount = '', unit = ''] of compact.matchAll(PART)) totalMs += Number(amount) * (UNIT_MS[unit] ?? 0)
  return Math.round(totalMs)
}

import { expect, test } from 'vitest'
import {
  findCronProblem,
  nextInstant,
  parsePeriod,
  previousInstant,
  type ScheduleTiming,
} from '../../src/domain/schedule-timing.ts'
import { decideDue } from '../../src/orchestrator/schedules/schedule-rule.ts'

const BERLIN = 'Europe/Berlin'
const MINUTELY: ScheduleTiming = { everyMs: 60_000 }
const at = (text: string) => new Date(text)

/** The next instants as text without seconds. */
function next(timing: ScheduleTiming, after: string, count: number): readonly string[] {
  const instants: string[] = []
  for (let instant = nextInstant(timing, at(after)); instant && instants.length < count; instant = nextInstant(timing, instant)) {
    instants.push(instant.toISOString().slice(0, 16))
  }
  return instants
}

test('a fixed hour that summer time skips is due at the end of the gap, and one that occurs twice is due once', () => {
  const nightly = { cron: '30 2 * * *', timezone: BERLIN }
  expect(next(nightly, '2026-03-28T00:00Z', 3)).toEqual(['2026-03-28T01:30', '2026-03-29T01:00', '2026-03-30T00:30'])
  expect(next(nightly, '2026-10-24T00:00Z', 3)).toEqual(['2026-10-24T00:30', '2026-10-25T00:30', '2026-10-26T01:30'])
})

test('a schedule for every half hour follows the clock through the skipped and the repeated hour', () => {
  const half = { cron: '*/30 * * * *', timezone: BERLIN }
  expect(next(half, '2026-03-29T00:00Z', 3)).toEqual(['2026-03-29T00:30', '2026-03-29T01:00', '2026-03-29T01:30'])
  expect(next(half, '2026-10-24T23:30Z', 4)).toEqual([
    '2026-10-25T00:00',
    '2026-10-25T00:30',
    '2026-10-25T01:00',
    '2026-10-25T01:30',
  ])
})

test('the time zone of a schedule decides the instant', () => {
  expect(next({ cron: '0 9 * * 1', timezone: 'UTC' }, '2026-10-24T00:00Z', 1)).toEqual(['2026-10-26T09:00'])
  expect(next({ cron: '0 9 * * 1', timezone: 'Asia/Tokyo' }, '2026-10-24T00:00Z', 1)).toEqual(['2026-10-26T00:00'])
})

test('a period is due at its multiples, so that every process computes the same instants', () => {
  expect(next({ everyMs: 900_000 }, '2026-10-24T00:07Z', 2)).toEqual(['2026-10-24T00:15', '2026-10-24T00:30'])
  expect(next({ everyMs: 900_000 }, '2026-10-24T00:15Z', 1)).toEqual(['2026-10-24T00:30'])
})

test('the previous instant is the last one that is not later', () => {
  const hourly = { cron: '0 * * * *', timezone: 'UTC' }
  expect(previousInstant(hourly, at('2026-10-24T03:00Z'))).toEqual(at('2026-10-24T03:00Z'))
  expect(previousInstant(hourly, at('2026-10-24T02:59:59.999Z'))).toEqual(at('2026-10-24T02:00Z'))
  expect(previousInstant(MINUTELY, at('2026-10-24T03:00:30Z'))).toEqual(at('2026-10-24T03:00Z'))
})

test('a cron expression that cannot be read, has no instant, or names an unknown time zone is a problem', () => {
  for (const expression of ['0 9 * * *', '0 0 9 * * *', '@daily', '*/5 1-3 * * mon-fri']) {
    expect(findCronProblem(expression, BERLIN)).toBeUndefined()
  }
  for (const expression of [
    '',
    'nonsense',
    '* * * *',
    '60 * * * *',
    '0 0 30 2 *',
    '2026-12-01T00:00:00',
    '* * * * * * *',
    '@never',
  ]) {
    expect(findCronProblem(expression, 'UTC')).toMatch(/^expected /)
  }
  expect(findCronProblem('0 9 * * *', 'Mars/Olympus')).toContain('time zone')
})

test('a period is read from a text with units', () => {
  const texts = ['90s', '15m', '1h30m', '1d', '500ms', '1.5h', '2h 5m']
  expect(texts.map(parsePeriod)).toEqual([90_000, 900_000, 5_400_000, 86_400_000, 500, 5_400_000, 7_500_000])
  expect(['', '15', 'm', '15 minutes', '-5m', '1h!'].map(parsePeriod)).toEqual(Array(6).fill(undefined))
})

test('the rule for missed instants decides which of them get a flow', () => {
  const dueAt = at('2026-10-24T03:00Z')
  const later = at('2026-10-24T03:05:30Z')
  const nextAt = at('2026-10-24T03:06Z')
  expect(decideDue(MINUTELY, 'once', dueAt, later)).toEqual({ run: at('2026-10-24T03:05Z'), nextAt })
  expect(decideDue(MINUTELY, 'all', dueAt, later)).toEqual({ run: dueAt, nextAt: at('2026-10-24T03:01Z') })
  expect(decideDue(MINUTELY, 'skip', dueAt, later)).toEqual({ run: at('2026-10-24T03:05Z'), nextAt })
  const hourly = { everyMs: 3_600_000 }
  expect(decideDue(hourly, 'skip', dueAt, later)).toEqual({ nextAt: at('2026-10-24T04:00Z') })
  expect(decideDue(hourly, 'skip', dueAt, at('2026-10-24T03:00:59Z'))).toEqual({ run: dueAt, nextAt: at('2026-10-24T04:00Z') })
  expect(decideDue(hourly, 'once', dueAt, later)).toEqual({ run: dueAt, nextAt: at('2026-10-24T04:00Z') })
  expect(decideDue(hourly, 'all', at('2026-01-01T00:00Z'), later).run).toEqual(at('2026-10-17T04:00Z'))
})

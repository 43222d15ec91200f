import * as z from 'zod'
import type { FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import { findCronProblem, parsePeriod, type ScheduleTiming } from '../../domain/schedule-timing.ts'

const MIN_EVERY_MS = 1_000
const MAX_EVERY_MS = 366 * 86_400_000
const EXPECTED_PERIOD = 'expected milliseconds or a text such as 15m or 1h30m, from 1s to 366d'

const toPeriodMs = (value: string | number): number => (typeof value === 'number' ? value : (parsePeriod(value) ?? Number.NaN))
const period = z
  .union([z.number(), z.string()], EXPECTED_PERIOD)
  .transform(toPeriodMs)
  .refine((everyMs) => Number.isInteger(everyMs) && everyMs >= MIN_EVERY_MS && everyMs <= MAX_EVERY_MS, EXPECTED_PERIOD)

const isDefinition = (value: unknown): boolean => typeof value === 'object' && value !== null && 'steps' in value

/** One flow that is started again and again. Exactly one of `cron` and `every` is given. */
const scheduleSchema = z.strictObject({
  /** Unique name, at most 200 characters. Default: the name of the flow and its timing. */
  name: z.string().min(1).max(200).optional(),
  /** Five fields, six with seconds, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. */
  cron: z.string().min(1).max(200).optional(),
  /** Milliseconds or a text such as `15m`; due at the multiples of it since 1970. At least one second. */
  every: period.optional(),
  /**
   * What runs: the name of a template, the path of a definition file (`.yaml`, `.yml` or `.json`), the name of a flow
   * that the user has saved, or a definition.
   */
  flow: z.union([z.string().min(1), z.custom<FlowDefinitionInput>(isDefinition)], 'expected a name, a path or a definition'),
  /** The user's prompt. */
  input: z.string().optional(),
  /** Values that prompts read as `{{ metadata.<key> }}`. */
  metadata: z.record(z.string(), z.unknown()).optional(),
  /** The user who runs the flow; default `local`. */
  userId: z.string().min(1).max(200).default('local'),
  /** The thread of the flows. Default: one that is created for the schedule. */
  threadId: z.string().min(1).max(200).optional(),
  /** Time zone of `cron`, such as `Europe/Berlin`; default `UTC`. */
  timezone: z.string().min(1).default('UTC'),
  /**
   * Instants at which no process was running: `skip` drops them, `once` runs one flow for all of them, `all` one flow
   * for each. Default `once`.
   */
  missed: z.enum(['skip', 'once', 'all']).default('once'),
})

/** A checked schedule. */
export interface ScheduleSettings extends Omit<z.output<typeof scheduleSchema>, 'name' | 'cron' | 'every' | 'timezone'> {
  readonly name: string
  readonly timing: ScheduleTiming
}

export const schedulesSchema = z.array(scheduleSchema).transform((schedules, context) => {
  const names = new Set<string>()
  return schedules.flatMap(({ name, cron, every, timezone, ...schedule }, index): ScheduleSettings[] => {
    const report = (key: string, message: string) => {
      context.addIssue({ code: 'custom', path: [index, key], message })
      return []
    }
    const timing = toTiming(cron, every, timezone)
    if (!timing) return report('cron', 'expected either cron or every')
    if ('cron' in timing) {
      const problem = findCronProblem(timing.cron, timezone)
      if (problem) return report(problem.includes('time zone') ? 'timezone' : 'cron', problem)
    }
    const flow = typeof schedule.flow === 'string' ? schedule.flow : schedule.flow.name
    const unique = name ?? `${flow} ${cron ?? `every ${every}ms`}`.slice(0, 200)
    if (names.has(unique)) return report('name', 'expected another name than that of an earlier schedule')
    names.add(unique)
    return [{ ...schedule, name: unique, timing }]
  })
})

function toTiming(cron: string | undefined, everyMs: number | undefined, timezone: string): ScheduleTiming | undefined {
  if (cron !== undefined) return everyMs === undefined ? { cron, timezone } : undefined
  return everyMs === undefined ? undefined : { everyMs }
}

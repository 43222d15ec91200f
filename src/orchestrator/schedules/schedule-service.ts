import { nextInstant, type ScheduleTiming } from '../../domain/schedule-timing.ts'
import type { ScheduleRepository } from '../../repositories/repository.ts'
import type { Schedule } from './schedule-claimer.ts'

/** A schedule of the configuration with its last and next run. */
export interface ScheduleReport {
  readonly name: string
  readonly timing: ScheduleTiming
  /** The name of the flow, or the path of its file. */
  readonly flow: string
  readonly userId: string
  readonly missed: Schedule['missed']
  /** The next instant; undefined after the last one. */
  readonly nextAt?: Date
  /** The instant of the last run. */
  readonly lastAt?: Date
  readonly lastFlowId?: string
  /** Why the last flow was not started. */
  readonly lastProblem?: string
}

export interface ScheduleServiceDeps {
  readonly repository: ScheduleRepository
  readonly schedules: readonly Schedule[]
  readonly now: () => Date
}

/** The schedules of the configuration. */
export class ScheduleService {
  readonly #deps: ScheduleServiceDeps

  constructor(deps: ScheduleServiceDeps) {
    this.#deps = deps
  }

  /** All schedules in the order of the configuration. */
  async list(): Promise<readonly ScheduleReport[]> {
    const { repository, schedules, now } = this.#deps
    if (schedules.length === 0) return []
    const stored = await repository.list(schedules.map(({ name }) => name))
    return schedules.map(({ name, timing, flow, userId, missed }): ScheduleReport => {
      const state = stored.find((schedule) => schedule.name === name)
      const isCurrent = state?.timing === JSON.stringify(timing)
      const nextAt = isCurrent ? state.nextAt : nextInstant(timing, now())
      const { lastAt, lastFlowId, lastProblem } = state ?? {}
      return {
        name,
        timing,
        flow: typeof flow === 'string' ? flow : flow.name,
        userId,
        missed,
        ...(nextAt && { nextAt }),
        ...(lastAt && { lastAt }),
        ...(lastFlowId !== undefined && { lastFlowId }),
        ...(lastProblem !== undefined && { lastProblem }),
      }
    })
  }
}

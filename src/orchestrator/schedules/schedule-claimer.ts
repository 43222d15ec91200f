import { nextInstant, type ScheduleTiming } from '../../domain/schedule-timing.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ScheduleRepository, StoredSchedule } from '../../repositories/repository.ts'
import { decideDue, type MissedRule } from './schedule-rule.ts'
import type { ScheduledFlow, StartScheduledFlow } from './scheduled-flows.ts'

/** Milliseconds after which another process may start a flow whose process has died between claim and start. */
const LEASE_MS = 60_000
/** The longest time between two checks of the schedules, because the clock and other processes may change. */
const POLL_MS = 15_000

/** A configured schedule. */
export interface Schedule extends ScheduledFlow {
  readonly timing: ScheduleTiming
  readonly missed: MissedRule
}

export interface ScheduleClaimerDeps {
  readonly repository: ScheduleRepository
  readonly schedules: readonly Schedule[]
  /** Implemented by createScheduledFlows. */
  readonly start: StartScheduledFlow
  readonly logger: { warn(message: string, facts: Readonly<Record<string, unknown>>): void }
  readonly now: () => Date
}

/**
 * Starts the flows of schedules, in any number of processes at the same time. Of each instant one process claims the
 * start. A process that dies before the start leaves the instant to another one; after the start the id of the flow,
 * which follows from the instant, prevents a second run.
 */
export function createScheduleClaimer({ repository, schedules, start, logger, now }: ScheduleClaimerDeps) {
  const names = schedules.map(({ name }) => name)
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> | undefined
  let isStarted = false
  let isStopped = false

  /** Starts everything that is due. Resolves with the earliest next instant. */
  async function tick(): Promise<Date | undefined> {
    const stored = await keepSchedules(await repository.list(names))
    const next = await Promise.all(
      schedules.map((schedule) => {
        const state = stored.find(({ name }) => name === schedule.name)
        return state && runDue(schedule, state)
      }),
    )
    return next.reduce((earliest, at) => (at && (!earliest || at < earliest) ? at : earliest), undefined)
  }

  /** Stores new schedules and changed timings. Resolves with the states of all. */
  async function keepSchedules(stored: readonly StoredSchedule[]): Promise<readonly StoredSchedule[]> {
    const isKept = ({ name, timing }: Schedule) =>
      stored.some((state) => state.name === name && state.timing === JSON.stringify(timing))
    const changed = schedules.filter((schedule) => !isKept(schedule))
    for (const { name, timing } of changed) {
      const nextAt = nextInstant(timing, now())
      if (nextAt) await repository.keep({ name, timing: JSON.stringify(timing), nextAt })
    }
    return changed.length === 0 ? stored : repository.list(names)
  }

  /** Starts the flows of one schedule, in order. Resolves with its next instant. */
  async function runDue(schedule: Schedule, state: StoredSchedule): Promise<Date> {
    const { name, timing, missed } = schedule
    let { nextAt } = state
    while (!isStopped && nextAt <= now()) {
      const at = now()
      if (!(await repository.claim(name, nextAt, at, new Date(at.getTime() + LEASE_MS)))) return new Date(at.getTime() + POLL_MS)
      const due = decideDue(timing, missed, nextAt, at)
      const ran = due.run && (await run(schedule, due.run))
      await repository.advance({ name, instant: nextAt, nextAt: due.nextAt, ran })
      nextAt = due.nextAt
    }
    return nextAt
  }

  /** Rejects if the database does not answer: then the lease ends, and the instant is claimed again. */
  async function run(schedule: Schedule, at: Date): Promise<{ at: Date; flowId?: string; problem?: string }> {
    try {
      return { at, flowId: await start(schedule, at) }
    } catch (thrown) {
      const error = OrchestratorError.from(thrown)
      if (error.code === 'DATABASE_UNAVAILABLE') throw error
      logger.warn('the flow of a schedule could not be started', { schedule: schedule.name, code: error.code })
      return { at, problem: `${error.code}: ${error.message}`.slice(0, 500) }
    }
  }

  const loop = async () => {
    // An unreachable database is queried again at the next check.
    const next = await tick().catch(() => undefined)
    if (isStopped) return
    const delayMs = next ? Math.max(0, next.getTime() - now().getTime()) : POLL_MS
    timer = setTimeout(check, Math.min(delayMs, POLL_MS))
    timer.unref()
  }
  const check = () => {
    running = loop()
  }

  return {
    /** Starts what is due now. Rejects if the database does not answer. */
    runDue: async (): Promise<void> => {
      await tick()
    },
    /** Starts flows from now on. Safe to call twice. */
    start(): void {
      if (isStarted || isStopped || schedules.length === 0) return
      isStarted = true
      check()
    },
    /** Starts nothing new, and resolves when the last start has ended. */
    async stop(): Promise<void> {
      isStopped = true
      clearTimeout(timer)
      await running
    },
  }
}

export type ScheduleClaimer = ReturnType<typeof createScheduleClaimer>

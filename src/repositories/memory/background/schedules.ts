import type { ScheduleRepository, StoredSchedule } from '../../background-repositories.ts'

/** Schedules in a plain Map. */
export function createMemorySchedules(): ScheduleRepository {
  const schedules = new Map<string, { state: StoredSchedule; leaseUntil: Date | undefined }>()
  const at = (name: string, instant: Date) => {
    const schedule = schedules.get(name)
    return schedule?.state.nextAt.getTime() === instant.getTime() ? schedule : undefined
  }
  return {
    keep: async ({ name, timing, nextAt }) => {
      const known = schedules.get(name)
      if (known?.state.timing === timing) return
      schedules.set(name, { state: { ...known?.state, name, timing, nextAt }, leaseUntil: undefined })
    },
    list: async (names) => names.flatMap((name) => schedules.get(name)?.state ?? []),
    claim: async (name, instant, now, leaseUntil) => {
      const schedule = at(name, instant)
      if (!schedule || (schedule.leaseUntil && schedule.leaseUntil > now)) return false
      schedule.leaseUntil = leaseUntil
      return true
    },
    advance: async ({ name, instant, nextAt, ran }) => {
      const schedule = at(name, instant)
      if (!schedule) return
      const { lastAt, lastFlowId, lastProblem, ...state } = schedule.state
      const last = ran
        ? { lastAt: ran.at, lastFlowId: ran.flowId, lastProblem: ran.problem }
        : { lastAt, lastFlowId, lastProblem }
      const known = {
        ...(last.lastAt && { lastAt: last.lastAt }),
        ...(last.lastFlowId !== undefined && { lastFlowId: last.lastFlowId }),
        ...(last.lastProblem !== undefined && { lastProblem: last.lastProblem }),
      }
      schedules.set(name, { state: { ...state, nextAt, ...known }, leaseUntil: undefined })
    },
  }
}

import type { ServiceReport, Services } from '../../services/service.ts'

/** What a command has come to within its wait. */
export interface CommandOutcome {
  readonly report: ServiceReport
  /** Whether the state that the command is for has been reached. */
  readonly isReached: boolean
}

/** A command on one service; `waitMs` limits only the wait, and never the command itself. */
export type ServiceCommand = (services: Services, id: string, waitMs: number) => Promise<CommandOutcome>

const isUp = ({ state }: ServiceReport): boolean => state === 'running' || state === 'degraded'

/** The commands by the last segment of their paths. */
export const SERVICE_COMMANDS = {
  start: async (services, id, waitMs) => {
    const report = await services.start(id, { waitMs })
    return { report, isReached: isUp(report) }
  },
  stop: (services, id, waitMs) => within(services, id, waitMs, () => services.stop(id)),
  restart: (services, id, waitMs) => within(services, id, waitMs, () => services.restart(id)),
} as const satisfies Record<string, ServiceCommand>

export const COMMAND_NAMES = ['start', 'stop', 'restart'] as const

async function within(
  services: Services,
  id: string,
  waitMs: number,
  command: () => Promise<ServiceReport>,
): Promise<CommandOutcome> {
  services.get(id)
  let timer: NodeJS.Timeout | undefined
  const underWay = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), waitMs)
  })
  const done = command()
  // An error after the answer is in the report of the service.
  done.catch(() => undefined)
  try {
    const report = await Promise.race([done, underWay])
    return report === undefined ? { report: services.get(id), isReached: false } : { report, isReached: true }
  } finally {
    clearTimeout(timer)
  }
}

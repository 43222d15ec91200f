import { randomUUID } from 'node:crypto'
import type { ServiceProcess } from '../../src/domain/services/service-definition.ts'
import { createProcessDriver } from '../../src/services/drivers/process.ts'
import type { LeftRun } from '../../src/services/process-driver.ts'

/** What a supervisor in a process of its own does. */
export interface SupervisorTask {
  readonly dataDir: string
  /** Adopted if they are left, else started. */
  readonly services: readonly ServiceProcess[]
  /** Ends itself with SIGKILL between the start of the first service and its record. */
  readonly diesAtSpawn?: boolean
  /** Exits by itself when the services are started. */
  readonly exits?: boolean
}

export type SupervisorReport =
  | {
      readonly type: 'up'
      readonly left: readonly Omit<LeftRun, 'run'>[]
      /** Milliseconds in which all that was left was ended or adopted. */
      readonly adoptionMs: number
      readonly pids: readonly (number | undefined)[]
    }
  | { readonly type: 'refused'; readonly code: unknown; readonly pid: unknown }

async function supervise({ dataDir, services, diesAtSpawn }: SupervisorTask): Promise<SupervisorReport> {
  const driver = createProcessDriver({
    dataDir,
    logs: { maxBytes: 10 * 1_024 * 1_024, keep: 5 },
    memoryHardFactor: 2,
    ...(diesAtSpawn && { onSpawned: () => process.kill(process.pid, 'SIGKILL') }),
  })
  try {
    const sinceMs = performance.now()
    const left = await driver.adopt((id) => services.find((service) => service.id === id))
    const adoptionMs = performance.now() - sinceMs
    const runs = await Promise.all(
      services.map((service) => {
        const found = left.find(({ id }) => id === service.id)
        if (found?.outcome === 'adopted') return found.run
        return driver.start(service, { runId: randomUUID(), signal: new AbortController().signal })
      }),
    )
    return {
      type: 'up',
      left: left.map(({ id, outcome }) => ({ id, outcome })),
      adoptionMs,
      pids: runs.map((run) => run.process?.pid),
    }
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error) || !('details' in error)) throw error
    const { details } = error
    return { type: 'refused', code: error.code, pid: typeof details === 'object' && details && 'pid' in details && details.pid }
  }
}

const task: SupervisorTask = JSON.parse(process.argv[2] ?? '{}')
// A refused supervisor has nothing that keeps it running.
const keepRunning = setInterval(() => {}, 1_000)
process.once('disconnect', () => clearInterval(keepRunning))
process.send?.(await supervise(task), () => {
  if (task.exits) process.exit()
})

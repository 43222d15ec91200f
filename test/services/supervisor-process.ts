import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { SupervisorReport, SupervisorTask } from './supervisor-child.ts'

const LOADER = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
const SCRIPT = fileURLToPath(new URL('./supervisor-child.ts', import.meta.url))

const alive = new Set<ChildProcess>()

export interface SupervisorProcess {
  readonly pid: number | undefined
  /** Resolves with the report, or with `undefined` if the process ends before it. */
  readonly reported: Promise<SupervisorReport | undefined>
  readonly ended: Promise<unknown>
  /** Kills the supervisor and nothing else; resolves when it has ended. */
  kill(): Promise<void>
}

/** Starts a supervisor in a process of its own, which a test can kill. */
export function startSupervisor(task: SupervisorTask): SupervisorProcess {
  const child = spawn(process.execPath, ['--conditions=source', '--import', LOADER, SCRIPT, JSON.stringify(task)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  alive.add(child)
  const ended = once(child, 'exit').then(() => alive.delete(child))
  const message = new Promise<SupervisorReport>((resolve) => child.once('message', (report: SupervisorReport) => resolve(report)))
  return {
    pid: child.pid,
    reported: Promise.race([message, ended.then(() => undefined)]),
    ended,
    async kill() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** Kills every supervisor that is left. */
export async function endSupervisors(): Promise<void> {
  await Promise.all(
    [...alive].map(async (child) => {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await ended
    }),
  )
}

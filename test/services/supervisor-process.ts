import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { buildSync } from 'esbuild'
import type { SupervisorReport, SupervisorTask } from './supervisor-child.ts'

const SCRIPT = fileURLToPath(new URL('./supervisor-child.ts', import.meta.url))

let bundle: string | undefined

/** The supervisor as one module: with a loader of TypeScript every start would take ten times as long. */
function bundleSupervisor(): string {
  bundle ??= buildSync({
    entryPoints: [SCRIPT],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    conditions: ['source'],
  }).outputFiles[0]?.text
  return bundle ?? ''
}

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
  const child = spawn(process.execPath, ['--input-type=module', '-', JSON.stringify(task)], {
    stdio: ['pipe', 'inherit', 'inherit', 'ipc'],
  })
  // A supervisor that is killed at once does not read its code.
  child.stdin?.on('error', () => {})
  child.stdin?.end(bundleSupervisor())
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

/** Leaves runs of the services behind, as a supervisor does that is killed. Resolves with the ids of their processes. */
export async function leaveRuns(dataDir: string, services: SupervisorTask['services']): Promise<readonly number[]> {
  const supervisor = startSupervisor({ dataDir, services })
  const report = await supervisor.reported
  await supervisor.kill()
  if (report?.type !== 'up') throw new Error('the supervisor did not start')
  return report.pids.flatMap((pid) => pid ?? [])
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

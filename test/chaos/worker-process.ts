import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import type { WorkerReport, WorkerRequest } from './worker-child.ts'

export interface WorkerProcess {
  readonly child: ChildProcess
  readonly reports: readonly WorkerReport[]
  send(request: WorkerRequest): void
  /** Resolves with the first report, past or future, that matches; with `undefined` if the process ends before. */
  reported(matches: (report: WorkerReport) => boolean): Promise<WorkerReport | undefined>
  /** Sends the signal and resolves when the process has ended. */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void>
}

const LOADER = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
const SCRIPT = fileURLToPath(new URL('./worker-child.ts', import.meta.url))

const alive = new Set<WorkerProcess>()

/** Starts a process that runs flows, from the built package. Resolves when it accepts requests. */
export async function startWorker(config: PolyphonyConfigInput): Promise<WorkerProcess> {
  const child = spawn(process.execPath, ['--import', LOADER, SCRIPT, JSON.stringify(config)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const reports: WorkerReport[] = []
  const waiting = new Set<() => void>()
  const ended = once(child, 'exit')
  const wake = () => {
    for (const look of waiting) look()
  }
  child.on('message', (message: WorkerReport) => {
    reports.push(message)
    wake()
  })
  child.once('exit', wake)
  const hasEnded = () => child.exitCode !== null || child.signalCode !== null

  const worker: WorkerProcess = {
    child,
    reports,
    send: (request) => void child.send(request, () => undefined),
    reported: (matches) =>
      new Promise((resolve) => {
        const look = () => {
          const found = reports.find(matches)
          if (!found && !hasEnded()) return
          waiting.delete(look)
          resolve(found)
        }
        waiting.add(look)
        look()
      }),
    async end(signal) {
      child.kill(signal)
      await ended
      alive.delete(worker)
    },
  }
  alive.add(worker)
  const open = await worker.reported(({ type }) => type === 'open')
  if (!open) throw new Error(`the worker ended with ${child.exitCode ?? child.signalCode} before it was open`)
  return worker
}

/** Ends every worker that is left, also frozen ones. */
export async function endWorkers(): Promise<void> {
  await Promise.all([...alive].map((worker) => worker.end('SIGKILL')))
}

import { type ChildProcess, spawn } from 'node:child_process'

export interface SupervisedProcessesOptions {
  readonly count: number
  /** Arguments of Node: a script and its own arguments. */
  readonly arguments: readonly string[]
  /**
   * Milliseconds before a process that ended is started again, the first time; default 500. Doubles up to 30 seconds.
   */
  readonly firstDelayMs?: number
  /** Called with the number of milliseconds until the restart of a process that ended. */
  readonly onRestart?: (delayMs: number) => void
}

const LONGEST_DELAY_MS = 30_000
/** A process that ran for longer was healthy, so its next restart waits only for the first delay. */
const HEALTHY_AFTER_MS = 60_000

/** Processes of this program that are started again when they end. */
export interface SupervisedProcesses {
  /** Ids of the processes that run. */
  pids(): readonly number[]
  /** Sends SIGTERM to all and resolves when they have ended; starts none again. */
  stop(): Promise<void>
}

/**
 * Starts the processes. Their output goes to standard error of this process, so that standard output stays readable.
 */
export function startProcesses({ count, firstDelayMs = 500, ...options }: SupervisedProcessesOptions): SupervisedProcesses {
  const running = new Set<ChildProcess>()
  const timers = new Set<NodeJS.Timeout>()
  let stopped = false
  let onEmpty = () => {}

  function start(delayMs: number): void {
    const startedMs = performance.now()
    const child = spawn(process.execPath, [...options.arguments], { stdio: ['ignore', 2, 2] })
    running.add(child)
    const end = () => {
      if (!running.delete(child)) return
      if (stopped) return running.size === 0 ? onEmpty() : undefined
      const isHealthy = performance.now() - startedMs > HEALTHY_AFTER_MS
      const waitMs = isHealthy ? firstDelayMs : delayMs
      options.onRestart?.(waitMs)
      const timer = setTimeout(() => {
        timers.delete(timer)
        start(Math.min(waitMs * 2, LONGEST_DELAY_MS))
      }, waitMs)
      timers.add(timer)
    }
    child.once('exit', end)
    // A process that could not be started has no exit.
    child.once('error', end)
  }

  const untilEmpty = () =>
    new Promise<void>((resolve) => {
      onEmpty = resolve
    })

  for (let index = 0; index < count; index++) start(firstDelayMs)

  return {
    pids: () => [...running].flatMap(({ pid }) => pid ?? []),
    stop() {
      stopped = true
      for (const timer of timers) clearTimeout(timer)
      for (const child of running) child.kill('SIGTERM')
      return running.size === 0 ? Promise.resolve() : untilEmpty()
    },
  }
}

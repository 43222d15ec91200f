import { fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'

/** Pins a process to one core, if the system supports it; resolves with whether it did. */
export function pin(pid, core) {
  if (cpus().length < 2) return false
  return spawnSync('taskset', ['-acp', String(core), String(pid)]).status === 0
}

/** Starts the process of the readers on another core than the server. */
export function startReaders() {
  const child = fork(fileURLToPath(new URL('./socket-readers.mjs', import.meta.url)), { execArgv: [] })
  pin(child.pid, 1)
  return {
    async ask(question, rest = {}) {
      child.send({ question, ...rest })
      const [{ answer, problem }] = await once(child, 'message')
      if (problem) throw new Error(problem)
      return answer
    },
    stop: () => child.kill(),
  }
}

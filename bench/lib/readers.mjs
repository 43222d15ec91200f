import { fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'

/** Keeps a process on one core where the system can do that; resolves with whether it does. */
export function pin(pid, core) {
  if (cpus().length < 2) return false
  return spawnSync('taskset', ['-acp', String(core), String(pid)]).status === 0
}

/** The process of the readers, on the other core than the server. */
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

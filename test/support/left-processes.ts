import { createProcessTable } from '../../src/system/process-table.ts'

/** Processes that run with this variable in their environment, which descendants inherit. */
export async function findProcesses(variable: string, value: string): Promise<readonly number[]> {
  const entries = [...(await createProcessTable(variable).read()).values()]
  return entries.flatMap(({ pid, marker, ended }) => (marker === value && !ended ? [pid] : []))
}

/** Ends the processes that a test has left, and resolves with their ids: the test fails unless there are none. */
export async function endLeftProcesses(variable: string, value: string): Promise<readonly number[]> {
  const left = await findProcesses(variable, value)
  for (const pid of left) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended meanwhile.
    }
  }
  return left
}

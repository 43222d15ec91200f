import { setPriority } from 'node:os'
import type { ServiceProcess } from '../../domain/services/service-definition.ts'
import type { EnforcedLimits } from '../service-driver.ts'

/** How a program is started so that its limits hold, and which ones the machine keeps. */
export interface LimitedCommand {
  readonly program: string
  readonly args: readonly string[]
  readonly limits: EnforcedLimits
}

/**
 * Sets two limits and becomes the program. The script is fixed: size and command are its arguments. No core file is
 * written, because it would hold the memory of a process that was ended for having too much of it.
 */
const SCRIPT = 'ulimit -c 0; ulimit -d "$1" || exit 126; shift; exec "$@"'

const LOWER_PRIORITY = 10

/**
 * A process that grows faster than its tree is sampled meets RLIMIT_DATA at `memoryHardFactor` times the limit: its
 * allocation fails, which needs no rights. See docs/decisions/0045-processes-of-services.md.
 */
export function limitCommand(service: ServiceProcess, path: string, memoryHardFactor: number): LimitedCommand {
  const args = service.command.slice(1)
  const { memoryBytes, cpuPercent } = service.limits
  const cpu = cpuPercent === undefined ? 'none' : 'priority'
  if (memoryBytes === undefined) return { program: path, args, limits: { memory: 'none', cpu } }
  // macOS accepts the limit and does not keep it.
  if (process.platform !== 'linux') return { program: path, args, limits: { memory: 'sampled', cpu } }
  const kibibytes = Math.ceil((memoryBytes * memoryHardFactor) / 1_024)
  return {
    program: '/bin/sh',
    args: ['-c', SCRIPT, 'sh', String(kibibytes), path, ...args],
    limits: { memory: 'rlimit+sampled', cpu },
  }
}

/** Lets other programs go first. Threads and processes that it starts later have the same priority. */
export function lowerPriority(pid: number): void {
  try {
    setPriority(pid, LOWER_PRIORITY)
  } catch {
    // The process has ended already.
  }
}

import { readFileSync, readlinkSync } from 'node:fs'
import { isErrorCode } from './error-code.ts'

/** The kernel's view of a process; Linux only. */
export interface ProcessFacts {
  /** Boot and start time: a process id alone may have been given to another process since. */
  readonly started: string
  /** Whether the process was killed and runs no more code, but may still hold its files and sockets. */
  readonly ending: boolean
  /** Whether the process has exited and its parent has not collected its status yet. */
  readonly ended: boolean
}

/** Whether a process of this host and process namespace exists. */
export function isProcessRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // EPERM means that the process runs under another user.
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH')
  }
}

// PF_EXITING of linux/sched.h.
const EXITING = 0x4

/**
 * Facts of a process of this host from the fields of `man 5 proc`; `undefined` where /proc has none. Throws if they
 * cannot be read now, for example because too many files are open: that shows nothing about the process.
 */
export function findProcessFacts(pid: number): ProcessFacts | undefined {
  const stat = readIfPresent(() => readFileSync(`/proc/${pid}/stat`, 'utf8'), ['ENOENT', 'ESRCH'])
  if (stat === undefined) return undefined
  // The second field, the name, may contain spaces and brackets; the text after its last bracket begins with the third.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state = '', flags, started] = [fields[0], fields[6], fields[19]]
  return { started: `${findBootId()}/${started}`, ending: (Number(flags) & EXITING) !== 0, ended: 'ZXx'.includes(state) }
}

/** `undefined` after one of the errors; every other error is thrown. */
function readIfPresent(read: () => string, absent: readonly string[]): string | undefined {
  try {
    return read()
  } catch (error) {
    if (isErrorCode(error, ...absent)) return undefined
    throw error
  }
}

/** Errors of systems without these files, or that hide them from this process. */
const HIDDEN = ['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM']

let bootId: string | undefined
let pidNamespace: string | undefined

/**
 * Identifies the running kernel: the same in all containers of a machine, another one after every boot. Linux only.
 * Read once: without it, while no file can be opened, every process would look like one of another boot.
 */
export function findBootId(): string | undefined {
  bootId ??= readIfPresent(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(), HIDDEN)
  return bootId
}

/** Namespace in which process ids of this process are valid. Linux only. Read once. */
export function findPidNamespace(): string | undefined {
  pidNamespace ??= readIfPresent(() => readlinkSync('/proc/self/ns/pid'), HIDDEN)
  return pidNamespace
}

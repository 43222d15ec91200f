import { closeSync, openSync, readFileSync, readSync } from 'node:fs'
import { endianness } from 'node:os'
import { isErrorCode } from './error-code.ts'
import type { ProcessEntry } from './process-entry.ts'
import { findBootId } from './processes.ts'

/** The fields of `/proc/<pid>/stat` (`man 5 proc`) that describe a process tree and its use of the machine. */
export interface ProcessStat extends Omit<ProcessEntry, 'marker' | 'isUnmarked'> {
  readonly isKernelThread: boolean
}

// PF_KTHREAD of linux/sched.h.
const KERNEL_THREAD = 0x200000

/** Fields from the third to the last that is read. */
const FIELDS = 22
/** More than all fields of a process can take. One for all reads, which are hundreds every other second. */
const buffer = Buffer.allocUnsafe(4_096)

/** A file of /proc that fits the buffer. `readFileSync` would allocate 64 KiB for it and make five system calls. */
function readSmall(path: string): string {
  const fd = openSync(path, 'r')
  try {
    return buffer.toString('latin1', 0, readSync(fd, buffer, 0, buffer.length, null))
  } finally {
    closeSync(fd)
  }
}

/** Linux only. `undefined` if the process does not exist. Throws if it cannot be read now. */
export function readStat(pid: number): ProcessStat | undefined {
  let stat: string
  try {
    stat = readSmall(`/proc/${pid}/stat`)
  } catch (error) {
    // EACCES and EPERM: the system hides the process of another user. Any other error, such as EMFILE, must not make a
    // process look as if it were gone.
    if (isErrorCode(error, 'ENOENT', 'ESRCH', 'EACCES', 'EPERM')) return undefined
    throw error
  }
  // The second field, the name, may contain spaces and brackets; the text after its last bracket begins with the third.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ', FIELDS)
  const numberAt = (field: number) => Number(fields[field - 3])
  const { pageBytes, ticksPerSecond, bootId } = machineFacts()
  return {
    pid,
    parent: numberAt(4),
    group: numberAt(5),
    started: `${bootId}/${fields[22 - 3]}`,
    ended: 'ZXx'.includes(fields[0] ?? 'X'),
    residentBytes: numberAt(24) * pageBytes,
    cpuMs: ((numberAt(14) + numberAt(15)) * 1_000) / ticksPerSecond,
    isKernelThread: (numberAt(9) & KERNEL_THREAD) !== 0,
  }
}

interface MachineFacts {
  readonly pageBytes: number
  readonly ticksPerSecond: number
  readonly bootId: string | undefined
}

let facts: MachineFacts | undefined
const machineFacts = (): MachineFacts => {
  facts ??= { ...readAuxiliaryVector(), bootId: findBootId() }
  return facts
}

// AT_PAGESZ and AT_CLKTCK of `man 3 getauxval`.
const PAGE_SIZE = 6n
const CLOCK_TICKS = 17n

/** The kernel gives every program its page size and the unit of its times: pairs of 64-bit numbers. */
function readAuxiliaryVector(): Omit<MachineFacts, 'bootId'> {
  const found = { pageBytes: 4_096, ticksPerSecond: 100 }
  try {
    const vector = readFileSync('/proc/self/auxv')
    for (let at = 0; at + 16 <= vector.length; at += 16) {
      const [key, value] =
        endianness() === 'LE'
          ? [vector.readBigUInt64LE(at), vector.readBigUInt64LE(at + 8)]
          : [vector.readBigUInt64BE(at), vector.readBigUInt64BE(at + 8)]
      if (key === PAGE_SIZE) found.pageBytes = Number(value)
      if (key === CLOCK_TICKS) found.ticksPerSecond = Number(value)
    }
  } catch {
    // The values of nearly every Linux machine stay.
  }
  return found
}

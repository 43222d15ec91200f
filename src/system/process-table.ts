import { readdirSync, readFileSync } from 'node:fs'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { isErrorCode } from './error-code.ts'
import type { ProcessEntry } from './process-entry.ts'
import { findProcessFacts } from './processes.ts'
import { readProcessesOfPs } from './ps.ts'
import { readStat } from './stat.ts'

export type ProcessSnapshot = ReadonlyMap<number, ProcessEntry>

/** All processes of this machine, read once for all callers that ask at the same time. */
export interface ProcessTable {
  /** Reads the table anew: what it contains was there after the call. */
  read(): Promise<ProcessSnapshot>
  /** A snapshot that is at most `maxAgeMs` old. Markers of processes that are known already are not read again. */
  recent(maxAgeMs: number): Promise<ProcessSnapshot>
}

/** Processes that are read in one turn of the event loop: about 2 ms. */
const SLICE = 32

/** Builds a table whose markers are the values of the environment variable `markerName`. */
export function createProcessTable(markerName: string): ProcessTable {
  let latest: { readonly atMs: number; readonly snapshot: ProcessSnapshot } | undefined
  let running: Promise<ProcessSnapshot> | undefined
  let next: Promise<ProcessSnapshot> | undefined

  const begin = (known?: ProcessSnapshot): Promise<ProcessSnapshot> => {
    const reading = readProcesses(markerName, known).then(
      (snapshot) => {
        latest = { atMs: performance.now(), snapshot }
        if (running === reading) running = undefined
        return snapshot
      },
      (error: unknown) => {
        if (running === reading) running = undefined
        throw error
      },
    )
    running = reading
    return reading
  }

  return {
    read() {
      if (next) return next
      if (!running) return begin()
      // A snapshot that is being read may have passed a process that exists now.
      const start = () => {
        next = undefined
        return begin()
      }
      next = running.then(start, start)
      return next
    },
    async recent(maxAgeMs) {
      if (latest && performance.now() - latest.atMs <= maxAgeMs) return latest.snapshot
      return running ?? begin(latest?.snapshot)
    },
  }
}

async function readProcesses(markerName: string, known: ProcessSnapshot | undefined): Promise<ProcessSnapshot> {
  if (process.platform !== 'linux') return readProcessesOfPs(markerName)
  const entries = new Map<number, ProcessEntry>()
  let read = 0
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid)) continue
    const entry = readProcess(pid, markerName, known?.get(pid))
    if (entry) entries.set(pid, entry)
    // One pass over hundreds of processes would stop the event loop for a tenth of a second.
    if (++read % SLICE === 0) await nextTurn()
  }
  return entries
}

function readProcess(pid: number, markerName: string, known: ProcessEntry | undefined): ProcessEntry | undefined {
  const stat = readStat(pid)
  if (!stat) return undefined
  const { isKernelThread, ...entry } = stat
  if (entry.ended || isKernelThread) return entry
  if (known && known.started === entry.started && !known.isUnmarked) return { ...entry, marker: known.marker }
  const environment = readEnvironment(pid)
  if (environment === undefined) return entry
  if (environment.length === 0) return { ...entry, isUnmarked: true }
  return { ...entry, marker: findVariable(environment, markerName) }
}

function readEnvironment(pid: number): Buffer | undefined {
  try {
    return readFileSync(`/proc/${pid}/environ`)
  } catch (error) {
    // EACCES: a process of another user. ESRCH and ENOENT: the process is gone.
    if (isErrorCode(error, 'EACCES', 'EPERM', 'ESRCH', 'ENOENT')) return undefined
    throw error
  }
}

function findVariable(environment: Buffer, name: string): string | undefined {
  const prefix = `${name}=`
  for (let from = 0; ; ) {
    const at = environment.indexOf(prefix, from)
    if (at < 0) return undefined
    if (at === 0 || environment[at - 1] === 0) {
      const end = environment.indexOf(0, at)
      return environment.toString('utf8', at + prefix.length, end < 0 ? environment.length : end)
    }
    from = at + 1
  }
}

/**
 * Whether the process with this id still is the one that the entry describes, and runs. Reads it anew. Throws if it
 * cannot be read now, for example because too many files are open.
 */
export function isSameProcess({ pid, started }: Pick<ProcessEntry, 'pid' | 'started'>): boolean {
  if (process.platform !== 'linux') return readProcessesOfPs(undefined, pid).get(pid)?.started === started
  const facts = findProcessFacts(pid)
  return facts !== undefined && !facts.ended && facts.started === started
}

/** As `isSameProcess`; true as long as nothing shows that the process is gone. */
export function mayBeSameProcess(entry: Pick<ProcessEntry, 'pid' | 'started'>): boolean {
  try {
    return isSameProcess(entry)
  } catch {
    return true
  }
}

/** Start of a process, as `ProcessEntry.started`. */
export const findStart = (pid: number): string | undefined =>
  process.platform === 'linux' ? findProcessFacts(pid)?.started : readProcessesOfPs(undefined, pid).get(pid)?.started

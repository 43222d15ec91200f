import { randomUUID } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { link, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { OrchestratorError } from '../errors/orchestrator-error.ts'

/** Who holds a directory, as its lock file says. */
interface Holder {
  readonly pid: number
  readonly host: string
  /** When the process started, where the system tells: a pid alone may have been given to another process since. */
  readonly started?: string
  readonly token: string
}

export interface DirectoryLock {
  release(): Promise<void>
}

/** A takeover that has not ended after this time was killed in the middle. */
const TAKEOVER_MS = 5_000
/** How long a process that was killed may take to let go. */
const EXIT_MS = 600
const EXIT_POLL_MS = 20

/**
 * Holds `<directory>.lock`, which names this process, so that no other one opens the directory. The lock of a dead process is taken over.
 * Rejects at once with DATABASE_LOCKED when a living process holds it.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const path = `${directory}.lock`
  const own: Holder = { pid: process.pid, host: hostname(), started: processFacts(process.pid)?.started, token: randomUUID() }
  const draft = `${path}.${own.token}`
  await writeFile(draft, JSON.stringify(own))
  try {
    // A link appears whole or not at all: nobody reads a lock file that is half written.
    if (!(await create(draft, path))) await takeOver(path, draft, directory)
  } finally {
    await rm(draft, { force: true })
  }
  const release = () => {
    if (readHolder(path)?.token === own.token) rmSync(path, { force: true })
  }
  process.once('exit', release)
  return {
    async release() {
      process.off('exit', release)
      release()
    },
  }
}

async function create(draft: string, path: string): Promise<boolean> {
  try {
    await link(draft, path)
    return true
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
}

/** Only one process at a time may judge and replace a lock file, or two could each remove the other's. */
async function takeOver(path: string, draft: string, directory: string): Promise<void> {
  const gate = `${path}.takeover`
  const holder = readHolder(path)
  if (holder && (await isAlive(holder))) throw locked(directory, path, holder)
  if (!(await create(draft, gate))) {
    const age = Date.now() - (await stat(gate).catch(() => ({ mtimeMs: Date.now() }))).mtimeMs
    if (age < TAKEOVER_MS) throw locked(directory, path, readHolder(gate))
    await rm(gate, { force: true })
    if (!(await create(draft, gate))) throw locked(directory, path, readHolder(gate))
  }
  try {
    const current = readHolder(path)
    if (current && (await isAlive(current))) throw locked(directory, path, current)
    const replacement = `${draft}.replacement`
    await writeFile(replacement, await readFile(draft))
    await rename(replacement, path)
  } finally {
    await rm(gate, { force: true })
  }
}

function readHolder(path: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    return isHolder(value) ? value : undefined
  } catch {
    return undefined
  }
}

const isHolder = (value: unknown): value is Holder =>
  typeof value === 'object' &&
  value !== null &&
  'pid' in value &&
  typeof value.pid === 'number' &&
  'host' in value &&
  typeof value.host === 'string' &&
  'token' in value &&
  typeof value.token === 'string' &&
  (!('started' in value) || typeof value.started === 'string')

/** Processes of other hosts cannot be asked, so they count as alive. A process that was just killed is waited for. */
async function isAlive({ pid, host, started }: Holder): Promise<boolean> {
  if (host !== hostname()) return true
  for (const deadline = performance.now() + EXIT_MS; performance.now() < deadline; await sleep(EXIT_POLL_MS)) {
    try {
      process.kill(pid, 0)
    } catch (error) {
      if (codeOf(error) === 'ESRCH') return false
    }
    const facts = processFacts(pid)
    if (!facts) return true
    if (facts.ended || (started !== undefined && started !== facts.started)) return false
    if (!facts.ending) return true
  }
  return true
}

interface ProcessFacts {
  /** Boot and start time. */
  readonly started: string
  /** A killed process runs no more code but may still hold what it had. */
  readonly ending: boolean
  /** Only waits for its parent to take note. */
  readonly ended: boolean
}

// PF_EXITING of linux/sched.h.
const EXITING = 0x4

/** Linux only; fields of `man 5 proc`. */
function processFacts(pid: number): ProcessFacts | undefined {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field, the name, may hold spaces and brackets; what follows begins with the third.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [state = '', flags, started] = [fields[0], fields[6], fields[19]]
    return { started: `${boot}/${started}`, ending: (Number(flags) & EXITING) !== 0, ended: 'ZXx'.includes(state) }
  } catch {
    return undefined
  }
}

const codeOf = (error: unknown): unknown =>
  typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined

function locked(directory: string, path: string, holder: Holder | undefined): OrchestratorError {
  const here = holder?.pid === process.pid && holder.host === hostname()
  const who = !holder ? 'another process' : here ? `this process (pid ${holder.pid})` : `process ${holder.pid} on ${holder.host}`
  const remedy = here
    ? 'close the first instance, or share it'
    : `end that process, use another directory, or use Postgres (DATABASE_URL=postgres://…). If no such process runs, delete ${path}`
  return new OrchestratorError('DATABASE_LOCKED', `The database directory ${directory} is in use by ${who}: ${remedy}`, {
    details: { directory, lockFile: path, pid: holder?.pid, host: holder?.host },
    retryable: !here,
  })
}

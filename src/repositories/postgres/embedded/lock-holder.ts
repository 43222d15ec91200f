import { randomBytes } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ConnectOutcome, codeOf, connectTo } from './lock-socket.ts'

/** Who holds a directory, as its lock file says. */
export interface Holder {
  readonly pid: number
  readonly host: string
  /** Names this lock among all others; also part of the name of its socket. */
  readonly token: string
  /**
   * Identifies the running kernel: the same in all containers of a machine, another one after every start of it. Linux
   * only.
   */
  readonly boot?: string
  /** Namespace in which `pid` means something. Linux only. */
  readonly pidNamespace?: string
  /** When the process started: a pid alone may have been given to another process since. Linux only. */
  readonly started?: string
  /** True where the holder listens on the socket of the lock. */
  readonly listens?: boolean
}

/**
 * How often a holder renews the time of its lock file, and how old that may be: network file systems show it a minute
 * late.
 */
export const BEAT_MS = 10_000
const STALE_MS = 120_000

/** How long a process that was killed may take to let go. */
const EXIT_MS = 600
const EXIT_POLL_MS = 20

export function describeThisProcess(): Omit<Holder, 'listens'> {
  return {
    pid: process.pid,
    host: hostname(),
    token: randomBytes(8).toString('hex'),
    boot: bootId(),
    pidNamespace: pidNamespace(),
    started: processFacts(process.pid)?.started,
  }
}

export function parseHolder(text: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isHolder(value) ? value : undefined
  } catch {
    return undefined
  }
}

const isOptional = (value: object, key: string, type: 'string' | 'boolean'): boolean => {
  const member: unknown = Reflect.get(value, key)
  return member === undefined || typeof member === type
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
  isOptional(value, 'boot', 'string') &&
  isOptional(value, 'pidNamespace', 'string') &&
  isOptional(value, 'started', 'string') &&
  isOptional(value, 'listens', 'boolean')

/**
 * Whether the holder still runs. Its socket tells, which the kernel closes with the process, in whatever container that
 * ran. Where the socket cannot be reached the process is looked up, and where that is impossible too the age of the
 * lock file decides.
 */
export async function isAlive(holder: Holder, socketPath: string, ageMs: number): Promise<boolean> {
  const outcome: ConnectOutcome = holder.listens ? await connectTo(socketPath, holder.token, EXIT_MS) : 'unreachable'
  if (outcome === 'connected') return true
  const sameKernel = holder.boot !== undefined && holder.boot === bootId()
  const sameHost = holder.host === hostname()
  // Over a network file system the socket of a living process on another machine refuses too.
  if (outcome === 'refused' && (sameKernel || (holder.boot === undefined && sameHost))) return false
  if (sameHost && isFromEarlierBoot(holder)) return false
  if (sameHost && (holder.pidNamespace ?? pidNamespace()) === pidNamespace()) return isProcessAlive(holder)
  return ageMs < STALE_MS
}

function isFromEarlierBoot({ boot }: Holder): boolean {
  const current = bootId()
  return boot !== undefined && current !== undefined && boot !== current
}

/** A process that was just killed is waited for. */
async function isProcessAlive({ pid, started }: Holder): Promise<boolean> {
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
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field, the name, may hold spaces and brackets; what follows begins with the third.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const [state = '', flags, started] = [fields[0], fields[6], fields[19]]
    return { started: `${bootId()}/${started}`, ending: (Number(flags) & EXITING) !== 0, ended: 'ZXx'.includes(state) }
  } catch {
    return undefined
  }
}

function bootId(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return undefined
  }
}

function pidNamespace(): string | undefined {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return undefined
  }
}

import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { findBootId, findPidNamespace, findProcessFacts, isProcessRunning, type ProcessFacts } from '../processes.ts'
import { type ConnectOutcome, connectTo } from './lock-socket.ts'

/** The process that holds a directory, as described in its lock file. */
export interface Holder {
  readonly pid: number
  readonly host: string
  /** Identifies this lock; also part of the name of its socket. */
  readonly token: string
  /** Identifies the running kernel: the same in all containers of a machine, a new one after every boot. Linux only. */
  readonly boot?: string
  /** Namespace in which `pid` is valid. Linux only. */
  readonly pidNamespace?: string
  /** Start of the process, because another process may have the same pid later. Linux only. */
  readonly started?: string
  /** True if the holder listens on the socket of the lock. */
  readonly listens?: boolean
}

/** Milliseconds between two renewals of the time of a lock file. */
export const BEAT_MS = 10_000
/** Age in milliseconds from which a lock counts as abandoned: network file systems show its time a minute late. */
const STALE_MS = 120_000

/** Milliseconds that a killed process may take to end. */
const EXIT_MS = 600
const EXIT_POLL_MS = 20

export function describeThisProcess(): Omit<Holder, 'listens'> {
  return {
    pid: process.pid,
    host: hostname(),
    token: randomBytes(8).toString('hex'),
    boot: findBootId(),
    pidNamespace: findPidNamespace(),
    started: findProcessFacts(process.pid)?.started,
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
 * Whether the holder still runs. The socket decides, because the kernel closes it with the process, in any container.
 * If the socket cannot be reached, the pid decides, or the age of the lock file if the pid is not valid here.
 */
export async function isAlive(holder: Holder, socketPath: string, ageMs: number): Promise<boolean> {
  const outcome: ConnectOutcome = holder.listens ? await connectTo(socketPath, holder.token, EXIT_MS) : 'unreachable'
  if (outcome === 'connected') return true
  const sameKernel = holder.boot !== undefined && holder.boot === findBootId()
  const sameHost = holder.host === hostname()
  // A refused connection proves nothing over a network file system: the process may live on another machine.
  if (outcome === 'refused' && (sameKernel || (holder.boot === undefined && sameHost))) return false
  if (sameHost && isFromPreviousBoot(holder)) return false
  if (sameHost && (holder.pidNamespace ?? findPidNamespace()) === findPidNamespace()) return isProcessAlive(holder)
  return ageMs < STALE_MS
}

function isFromPreviousBoot({ boot }: Holder): boolean {
  const current = findBootId()
  return boot !== undefined && current !== undefined && boot !== current
}

/** Facts that cannot be read show nothing: the process counts as alive then. */
function readFacts(pid: number): ProcessFacts | undefined {
  try {
    return findProcessFacts(pid)
  } catch {
    return undefined
  }
}

/** Whether the process exists. Waits for a process that was just killed. */
async function isProcessAlive({ pid, started }: Holder): Promise<boolean> {
  for (const deadline = performance.now() + EXIT_MS; performance.now() < deadline; await sleep(EXIT_POLL_MS)) {
    if (!isProcessRunning(pid)) return false
    const facts = readFacts(pid)
    if (!facts) return true
    if (facts.ended || (started !== undefined && started !== facts.started)) return false
    if (!facts.ending) return true
  }
  return true
}

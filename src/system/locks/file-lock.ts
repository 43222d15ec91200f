import { readFileSync, rmSync, utimesSync } from 'node:fs'
import { link, rename, rm, stat, writeFile } from 'node:fs/promises'
import { BEAT_MS, describeThisProcess, type Holder, isAlive, parseHolder } from './lock-holder.ts'
import { codeOf, listenAt, removeSocketFile } from './lock-socket.ts'

export interface FileLock {
  release(): Promise<void>
}

/** A lock that another instance holds. */
export interface HeldLock {
  readonly path: string
  /** Absent while the lock changes hands. */
  readonly holder: Holder | undefined
  /** Whether the instance is in this process. */
  readonly isHere: boolean
}

/** Builds the error of a lock that is held. */
type Refuse = (held: HeldLock) => Error

/** Tokens of the locks that this process holds or is acquiring. */
const ownTokens = new Set<string>()

/**
 * Creates a file that names this process, so that no other process creates it. The process also listens on a socket
 * beside it. The kernel closes the socket with the process, so every container of the machine can detect the lock of a
 * dead process and take it over. Rejects within milliseconds with the error of `refuse` when a living process holds
 * the lock. See docs/decisions/0002-pglite-and-its-lock.md for the limits.
 */
export async function lockFile(path: string, refuse: Refuse): Promise<FileLock> {
  const facts = describeThisProcess()
  const socketPath = socketPathOf(path, facts.token)
  const draft = `${path}.${facts.token}`
  ownTokens.add(facts.token)
  // Listening starts before the lock file exists, so that every reader of the file can reach this process.
  const socket = await listenAt(socketPath, facts.token)
  const own: Holder = { ...facts, listens: socket !== undefined }
  const dispose = () => {
    socket?.close()
    ownTokens.delete(own.token)
  }
  try {
    await writeFile(draft, JSON.stringify(own))
    // A link is created atomically: no process reads a lock file that is half written.
    if (!(await create(draft, path))) await takeOver(path, draft, own, refuse)
  } catch (error) {
    dispose()
    throw error
  } finally {
    await rm(draft, { force: true })
  }
  const renewal = setInterval(() => renew(path, own), BEAT_MS)
  renewal.unref()
  const release = () => {
    clearInterval(renewal)
    if (readHolder(path)?.token === own.token) rmSync(path, { force: true })
    dispose()
  }
  process.once('exit', release)
  return {
    async release() {
      process.off('exit', release)
      release()
    },
  }
}

/** Each lock has a socket of its own, so that the socket of a living process is never replaced. */
const socketPathOf = (path: string, token: string): string => `${path}.${token}.sock`

/**
 * The renewed time of the file shows processes on other machines, which cannot reach the socket, that this process is
 * alive.
 */
function renew(path: string, own: Holder): void {
  if (readHolder(path)?.token !== own.token) return
  const now = new Date()
  try {
    utimesSync(path, now, now)
  } catch {
    // The file system may be unavailable for a moment; the next renewal comes soon.
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

/**
 * Replaces the lock of a dead process. One process at a time may do so: two could each remove the lock of the other.
 */
async function takeOver(path: string, draft: string, own: Holder, refuse: Refuse): Promise<void> {
  const gate = `${path}.takeover`
  await refuseIfHeld(path, draft, refuse)
  if (!(await create(draft, gate))) {
    // The process that takes over may have been killed. Its socket shows whether it is alive.
    await refuseIfHeld(gate, draft, refuse)
    await removeDead(gate, own)
    if (!(await create(draft, gate))) throw refuse(describe(path, readHolder(gate)))
  }
  try {
    await refuseIfHeld(path, draft, refuse)
    const dead = readHolder(path)
    const replacement = `${draft}.replacement`
    await writeFile(replacement, JSON.stringify(own))
    if (readHolder(gate)?.token !== own.token) throw refuse(describe(path, readHolder(gate)))
    await rename(replacement, path)
    if (dead && isToken(dead.token)) removeSocketFile(socketPathOf(path, dead.token))
  } finally {
    await rm(`${draft}.replacement`, { force: true })
    if (readHolder(gate)?.token === own.token) await rm(gate, { force: true })
  }
}

/** Moves the file of a dead process to a name of its own first, so that only one of several processes succeeds. */
async function removeDead(path: string, own: Holder): Promise<void> {
  const aside = `${path}.${own.token}`
  await rename(path, aside).catch((error: unknown) => {
    if (codeOf(error) !== 'ENOENT') throw error
  })
  await rm(aside, { force: true })
}

async function refuseIfHeld(path: string, draft: string, refuse: Refuse): Promise<void> {
  const holder = readHolder(path)
  if (!holder) return
  if (ownTokens.has(holder.token)) throw refuse(describe(path, holder))
  // Both times come from the clock of the file system, which may differ from that of this machine.
  const [file, now] = await Promise.all([stat(path).catch(() => undefined), stat(draft)])
  const ageMs = file ? now.mtimeMs - file.mtimeMs : 0
  const lockPath = path.endsWith('.takeover') ? path.slice(0, -'.takeover'.length) : path
  if (await isAlive(holder, socketPathOf(lockPath, holder.token), ageMs)) throw refuse(describe(path, holder))
}

const isToken = (text: string): boolean => /^[0-9a-f]{16}$/.test(text)

function readHolder(path: string): Holder | undefined {
  try {
    return parseHolder(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

const describe = (path: string, holder: Holder | undefined): HeldLock => ({
  path,
  holder,
  isHere: holder !== undefined && ownTokens.has(holder.token),
})

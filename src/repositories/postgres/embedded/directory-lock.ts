import { readFileSync, rmSync, utimesSync } from 'node:fs'
import { link, rename, rm, stat, writeFile } from 'node:fs/promises'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { BEAT_MS, describeThisProcess, type Holder, isAlive, parseHolder } from './lock-holder.ts'
import { codeOf, listenAt, removeSocketFile } from './lock-socket.ts'

export interface DirectoryLock {
  release(): Promise<void>
}

/** Locks that this process holds or is about to take, by their tokens. */
const ownTokens = new Set<string>()

/**
 * Holds `<directory>.lock`, which names this process, so that no other one opens the directory. Beside it the process
 * listens on a socket: the kernel closes it with the process, so that the lock of a dead one is known as such from
 * every container of the machine, and is taken over. Rejects within milliseconds with DATABASE_LOCKED when a living
 * process holds it. See docs/decisions/0002-pglite-as-default.md for its limits.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const path = `${directory}.lock`
  const facts = describeThisProcess()
  const socketPath = socketPathOf(path, facts.token)
  const draft = `${path}.${facts.token}`
  ownTokens.add(facts.token)
  // Before the lock file is there, so that whoever reads of this process can ask it.
  const socket = await listenAt(socketPath, facts.token)
  const own: Holder = { ...facts, listens: socket !== undefined }
  const letGo = () => {
    socket?.close()
    ownTokens.delete(own.token)
  }
  try {
    await writeFile(draft, JSON.stringify(own))
    // A link appears whole or not at all: nobody reads a lock file that is half written.
    if (!(await create(draft, path))) await takeOver(path, draft, own, directory)
  } catch (error) {
    letGo()
    throw error
  } finally {
    await rm(draft, { force: true })
  }
  const beat = setInterval(() => renew(path, own), BEAT_MS)
  beat.unref()
  const release = () => {
    clearInterval(beat)
    if (readHolder(path)?.token === own.token) rmSync(path, { force: true })
    letGo()
  }
  process.once('exit', release)
  return {
    async release() {
      process.off('exit', release)
      release()
    },
  }
}

/** A socket per lock: none is ever taken from a living process. */
const socketPathOf = (path: string, token: string): string => `${path}.${token}.sock`

/** Tells processes on other machines, which cannot ask the socket, that this one lives. */
function renew(path: string, own: Holder): void {
  if (readHolder(path)?.token !== own.token) return
  const now = new Date()
  try {
    utimesSync(path, now, now)
  } catch {
    // The file system may be away for a moment; the next beat comes soon.
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
async function takeOver(path: string, draft: string, own: Holder, directory: string): Promise<void> {
  const gate = `${path}.takeover`
  await refuseIfHeld(path, draft, directory)
  if (!(await create(draft, gate))) {
    // A takeover that was killed in the middle: its own socket tells.
    await refuseIfHeld(gate, draft, directory)
    await removeDead(gate, own)
    if (!(await create(draft, gate))) throw locked(directory, path, readHolder(gate))
  }
  try {
    await refuseIfHeld(path, draft, directory)
    const dead = readHolder(path)
    const replacement = `${draft}.replacement`
    await writeFile(replacement, JSON.stringify(own))
    if (readHolder(gate)?.token !== own.token) throw locked(directory, path, readHolder(gate))
    await rename(replacement, path)
    if (dead && isToken(dead.token)) removeSocketFile(socketPathOf(path, dead.token))
  } finally {
    await rm(`${draft}.replacement`, { force: true })
    if (readHolder(gate)?.token === own.token) await rm(gate, { force: true })
  }
}

/** Takes the file of a dead process away under a name of its own, so that of several that do so only one succeeds. */
async function removeDead(path: string, own: Holder): Promise<void> {
  const aside = `${path}.${own.token}`
  await rename(path, aside).catch((error: unknown) => {
    if (codeOf(error) !== 'ENOENT') throw error
  })
  await rm(aside, { force: true })
}

async function refuseIfHeld(path: string, draft: string, directory: string): Promise<void> {
  const holder = readHolder(path)
  if (!holder) return
  if (ownTokens.has(holder.token)) throw locked(directory, path, holder)
  // The clock of the file system: that of this machine may differ from it.
  const [file, now] = await Promise.all([stat(path).catch(() => undefined), stat(draft)])
  const ageMs = file ? now.mtimeMs - file.mtimeMs : 0
  const lockPath = path.endsWith('.takeover') ? path.slice(0, -'.takeover'.length) : path
  if (await isAlive(holder, socketPathOf(lockPath, holder.token), ageMs)) throw locked(directory, path, holder)
}

const isToken = (text: string): boolean => /^[0-9a-f]{16}$/.test(text)

function readHolder(path: string): Holder | undefined {
  try {
    return parseHolder(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

function locked(directory: string, path: string, holder: Holder | undefined): OrchestratorError {
  const here = holder !== undefined && ownTokens.has(holder.token)
  const who = !holder ? 'another process' : here ? `this process (pid ${holder.pid})` : `process ${holder.pid} on ${holder.host}`
  const remedy = here
    ? 'close the first instance, or share it'
    : `end that process, use another directory, or use Postgres (DATABASE_URL=postgres://…). If no such process runs, delete ${path}`
  return new OrchestratorError('DATABASE_LOCKED', `The database directory ${directory} is in use by ${who}: ${remedy}`, {
    details: { directory, lockFile: path, pid: holder?.pid, host: holder?.host },
    retryable: !here,
  })
}

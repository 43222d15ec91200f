import { createHash } from 'node:crypto'
import { closeSync, openSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { basename, dirname, relative } from 'node:path'

/**
 * A listening Unix socket: it lives exactly as long as its process, and every container that sees the file can reach
 * it.
 */
export interface LockSocket {
  close(): void
}

/**
 * - `connected`: a process has the socket open;
 * - `refused`: there is the file of a socket that no process of this kernel has open;
 * - `unreachable`: nothing can be said.
 */
export type ConnectOutcome = 'connected' | 'refused' | 'unreachable'

/** `sun_path` holds 104 bytes on macOS and 108 on Linux, with the zero at its end. */
const MAX_PATH_BYTES = 103

/**
 * Listens at the path and answers everyone with the token. Resolves with `undefined` where the file system has no
 * sockets. Holds no process.
 */
export async function listenAt(path: string, token: string): Promise<LockSocket | undefined> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.end(token)
  })
  try {
    await withAddress(
      path,
      (address) =>
        new Promise<void>((resolve, reject) => {
          server.once('error', reject)
          // Another user's process must be able to ask too.
          server.listen({ path: address, readableAll: true, writableAll: true }, resolve)
        }),
    )
  } catch {
    server.close()
    return undefined
  }
  // A connection that cannot be accepted, because too many files are open, say, changes nothing for the lock.
  server.on('error', () => {})
  server.unref()
  return {
    close() {
      server.close()
      removeSocketFile(path)
    },
  }
}

export function removeSocketFile(path: string): void {
  if (process.platform !== 'win32') rmSync(path, { force: true })
}

/**
 * Asks the socket at the path. A process whose event loop is busy does not answer, and one that is being killed may
 * still be connected to: after `patienceMs` without an answer or an end it counts as connected.
 */
export async function connectTo(path: string, token: string, patienceMs: number): Promise<ConnectOutcome> {
  for (const deadline = performance.now() + patienceMs; ; ) {
    const outcome = await connectOnce(path, token, Math.max(1, deadline - performance.now()))
    // The process that held the other end is gone now, or has just let go of the lock: only a further attempt tells.
    if (outcome !== 'ended') return outcome
    if (performance.now() >= deadline) return 'connected'
  }
}

async function connectOnce(path: string, token: string, timeoutMs: number): Promise<ConnectOutcome | 'ended'> {
  const ask = (address: string) =>
    new Promise<ConnectOutcome | 'ended'>((resolve) => {
      let isConnected = false
      let answer = ''
      const socket = connect(address)
      const timer = setTimeout(() => settle(isConnected ? 'connected' : 'unreachable'), timeoutMs)
      const settle = (outcome: ConnectOutcome | 'ended') => {
        clearTimeout(timer)
        socket.destroy()
        resolve(outcome)
      }
      socket.setEncoding('utf8')
      socket.on('connect', () => {
        isConnected = true
      })
      socket.on('data', (text) => {
        answer += text
        if (answer.length >= token.length) settle('connected')
      })
      socket.on('end', () => settle('ended'))
      socket.on('error', (error) => settle(toOutcome(codeOf(error))))
    })
  return withAddress(path, ask).catch(() => 'unreachable' as const)
}

function toOutcome(code: unknown): ConnectOutcome | 'ended' {
  // On Windows the name of a pipe is gone with its process.
  if (code === 'ECONNREFUSED' || (code === 'ENOENT' && process.platform === 'win32')) return 'refused'
  if (code === 'ECONNRESET' || code === 'EPIPE') return 'ended'
  // The queue of a living listener is full.
  if (code === 'EAGAIN') return 'connected'
  return 'unreachable'
}

export const codeOf = (error: unknown): unknown =>
  typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined

/** Hands over an address for the path that the system takes: paths of sockets are short. */
async function withAddress<Value>(path: string, use: (address: string) => Promise<Value>): Promise<Value> {
  if (process.platform === 'win32') {
    return use(`\\\\.\\pipe\\polyphony-${createHash('sha256').update(path.toLowerCase()).digest('hex').slice(0, 32)}`)
  }
  const fitting = [path, relative(process.cwd(), path)].find((address) => Buffer.byteLength(address) <= MAX_PATH_BYTES)
  if (fitting !== undefined) return use(fitting)
  // Linux only: the folder by its descriptor.
  const folder = openSync(dirname(path), 'r')
  try {
    return await use(`/proc/self/fd/${folder}/${basename(path)}`)
  } finally {
    closeSync(folder)
  }
}

import { createHash } from 'node:crypto'
import { closeSync, openSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { basename, dirname, relative } from 'node:path'

/** A listening Unix socket: it closes with its process, and every container that sees its file can connect. */
export interface LockSocket {
  close(): void
}

/**
 * - `connected`: a process has the socket open;
 * - `refused`: the file exists, and no process of this kernel has the socket open;
 * - `unreachable`: the state of the process is unknown.
 */
export type ConnectOutcome = 'connected' | 'refused' | 'unreachable'

/** Maximum bytes of a path: `sun_path` holds 104 bytes on macOS and 108 on Linux, with the final zero. */
const MAX_PATH_BYTES = 103

/**
 * Listens at the path and sends the token to every client. Resolves with undefined if the file system has no sockets.
 * The socket does not keep the process running.
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
          // Processes of other users must be able to connect.
          server.listen({ path: address, readableAll: true, writableAll: true }, resolve)
        }),
    )
  } catch {
    server.close()
    return undefined
  }
  // A failed connection, for example because too many files are open, does not affect the lock.
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
 * Connects to the socket at the path and reads the token. A process whose event loop is busy does not answer, and a
 * process that is being killed may still accept: after `patienceMs` without an answer or an end it counts as connected.
 */
export async function connectTo(path: string, token: string, patienceMs: number): Promise<ConnectOutcome> {
  for (const deadline = performance.now() + patienceMs; ; ) {
    const outcome = await connectOnce(path, token, Math.max(1, deadline - performance.now()))
    // The process has ended, or has just released the lock: only another connection shows which.
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
  // On Windows the name of a pipe disappears with its process.
  if (code === 'ECONNREFUSED' || (code === 'ENOENT' && process.platform === 'win32')) return 'refused'
  if (code === 'ECONNRESET' || code === 'EPIPE') return 'ended'
  // The queue of a living listener is full.
  if (code === 'EAGAIN') return 'connected'
  return 'unreachable'
}

export const codeOf = (error: unknown): unknown =>
  typeof error === 'object' && error !== null && 'code' in error ? error.code : undefined

/** Calls `use` with an address of the path that is short enough for a socket. */
async function withAddress<Value>(path: string, use: (address: string) => Promise<Value>): Promise<Value> {
  if (process.platform === 'win32') {
    return use(`\\\\.\\pipe\\polyphony-${createHash('sha256').update(path.toLowerCase()).digest('hex').slice(0, 32)}`)
  }
  const fitting = [path, relative(process.cwd(), path)].find((address) => Buffer.byteLength(address) <= MAX_PATH_BYTES)
  if (fitting !== undefined) return use(fitting)
  // Linux only: the folder is named by its descriptor.
  const folder = openSync(dirname(path), 'r')
  try {
    return await use(`/proc/self/fd/${folder}/${basename(path)}`)
  } finally {
    closeSync(folder)
  }
}

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { isErrorCode } from './error-code.ts'

const LOOPBACK = ['127.0.0.1', '::1'] as const

/** Whether a program can listen on the TCP port of this machine. */
export async function isPortFree(port: number): Promise<boolean> {
  for (const host of LOOPBACK) if ((await tryListening(port, host)) === 'taken') return false
  return true
}

/** Other failures, such as no IPv6 or a port below 1024, show nothing about another program. */
const tryListening = (port: number, host: string): Promise<'free' | 'taken' | 'unknown'> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error) => resolve(isErrorCode(error, 'EADDRINUSE') ? 'taken' : 'unknown'))
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve('free')))
  })

const LISTENS = '0A'

/** Pid of the process that listens on the TCP port, if this process may see it. Linux only. */
export function findPortOwner(port: number): number | undefined {
  const sockets = new Set(['tcp', 'tcp6'].flatMap((table) => findListeners(table, port)))
  if (sockets.size === 0) return undefined
  for (const name of readdirSync('/proc')) {
    if (/^\d+$/.test(name) && listSockets(name).some((socket) => sockets.has(socket))) return Number(name)
  }
  return undefined
}

/** Names of the sockets, as the descriptors of a process show them. */
function findListeners(table: string, port: number): readonly string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  try {
    return readFileSync(`/proc/net/${table}`, 'latin1')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter(([, local, , state]) => local?.endsWith(suffix) && state === LISTENS)
      .map((fields) => `socket:[${fields[9]}]`)
  } catch {
    return []
  }
}

function listSockets(pid: string): readonly string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`)
      } catch {
        return []
      }
    })
  } catch {
    return []
  }
}

export interface PortAllocator {
  /** Finds a free TCP port of 127.0.0.1 that no caller holds. */
  allocate(): Promise<number>
  release(port: number): void
}

/** Gives every caller a port of its own. The system alone would give one port twice before anything listens on it. */
export function createPortAllocator(): PortAllocator {
  const reserved = new Set<number>()

  /** The ports that were refused stay open until another is found, so that the system names none of them again. */
  async function allocate(): Promise<number> {
    const server = createServer()
    const port = await new Promise<number>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => {
        const address = server.address()
        if (typeof address === 'object' && address) resolve(address.port)
      })
    })
    try {
      if (reserved.has(port)) return await allocate()
      reserved.add(port)
      return port
    } finally {
      await new Promise<void>((resolve) => server.close(() => resolve()))
    }
  }

  return { allocate, release: (port) => void reserved.delete(port) }
}

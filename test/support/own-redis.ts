import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { listenOnLoopback } from './loopback.ts'

/** A Redis that only the test uses, so that it may be killed. It keeps nothing on disk. */
export interface OwnRedis {
  readonly url: string
  kill(): Promise<void>
  /** Starts it again, empty, on the same port. Resolves when it answers. */
  start(): Promise<void>
  close(): Promise<void>
}

export const hasRedisServer = (): boolean => spawnSync('redis-server', ['--version']).status === 0

export async function openOwnRedis(): Promise<OwnRedis> {
  const port = await findFreePort()
  const directory = mkdtempSync(join(tmpdir(), 'polyphony-redis-'))
  const url = `redis://127.0.0.1:${port}`
  let server: ChildProcess | undefined

  async function start(): Promise<void> {
    const options = ['--bind', '127.0.0.1', '--port', String(port), '--dir', directory, '--save', '', '--appendonly', 'no']
    server = spawn('redis-server', options, { stdio: 'ignore' })
    const client = new Redis(url, { maxRetriesPerRequest: null, retryStrategy: () => 20 })
    client.on('error', () => undefined)
    const ended = once(server, 'exit').then(([code]) => {
      throw new Error(`expected redis-server to run on port ${port}, it ended with ${code}`)
    })
    await Promise.race([client.ping(), ended]).finally(() => client.disconnect())
    ended.catch(() => undefined)
  }

  async function kill(): Promise<void> {
    if (!server) return
    const ended = once(server, 'exit')
    server.kill('SIGKILL')
    server = undefined
    await ended
  }

  await start()
  return {
    url,
    start,
    kill,
    async close() {
      await kill()
      rmSync(directory, { recursive: true })
    },
  }
}

async function findFreePort(): Promise<number> {
  const server = createServer()
  const port = await listenOnLoopback(server)
  await new Promise<void>((resolve) => server.close(() => resolve()))
  return port
}

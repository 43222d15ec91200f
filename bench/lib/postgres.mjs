import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'

const START_TIMEOUT_MS = 60_000

async function administrate(server, statement) {
  const { default: pg } = await import('pg')
  const client = new pg.Client(server)
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}

/**
 * Starts the server of the tests for the lifetime of this process. It runs without fsync, so latency and CPU are not
 * realistic.
 */
async function startEmbedded() {
  const folder = await mkdtemp(join(tmpdir(), 'polyphony-bench-postgres-'))
  const script = fileURLToPath(new URL('../../test/support/postgres-server.ts', import.meta.url))
  const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
  const server = spawn(process.execPath, ['--import', loader, script, folder, String(process.pid)], { stdio: 'ignore' })
  const stop = async () => {
    const ended = new Promise((resolve) => server.once('close', resolve))
    if (server.kill()) await ended
    await rm(folder, { recursive: true, force: true })
  }
  for (const deadline = performance.now() + START_TIMEOUT_MS; performance.now() < deadline; await sleep(50)) {
    const url = await readFile(join(folder, 'url'), 'utf8').catch(() => undefined)
    if (url) return { url, stop }
    const problem = await readFile(join(folder, 'error'), 'utf8').catch(() => undefined)
    if (problem || server.exitCode !== null) {
      await stop()
      throw new Error(problem ?? 'it ended at once')
    }
  }
  await stop()
  throw new Error(`no answer within ${START_TIMEOUT_MS} ms`)
}

/** The server of DATABASE_URL, else a new one. Each measuring process gets its own database under a random name. */
export async function openPostgres() {
  const configured = process.env.DATABASE_URL
  const given = configured?.startsWith('postgres') ? { url: configured, stop: async () => {} } : undefined
  const { url: server, stop } = given ?? (await startEmbedded())
  await administrate(server, 'select 1')
  const databases = new Set()
  const drop = async (name) => {
    await administrate(server, `drop database if exists ${name} with (force)`)
    databases.delete(name)
  }
  return {
    origin: given ? 'the server of DATABASE_URL' : 'an own server without fsync',
    async createDatabase() {
      const name = `polyphony_bench_${randomBytes(8).toString('hex')}`
      await administrate(server, `create database ${name}`)
      databases.add(name)
      const url = new URL(server)
      url.pathname = `/${name}`
      return { url: url.href, drop: () => drop(name) }
    },
    async close() {
      for (const name of databases) await drop(name)
      await stop()
    },
  }
}

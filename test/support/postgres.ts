import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import pg from 'pg'
import type { PostgresCommand } from './postgres-server.ts'

export interface TestPostgres {
  readonly url: string
  drop(): Promise<void>
}

const START_TIMEOUT_MS = 120_000

/** An own, empty database: on the server of DATABASE_URL where that is Postgres, else on one that lives as long as this test run. */
export async function openTestPostgres(): Promise<TestPostgres> {
  const configured = process.env.DATABASE_URL
  const server = configured?.startsWith('postgres') ? configured : await sharedServer()
  const name = `polyphony_test_${randomBytes(8).toString('hex')}`
  await administrate(server, `create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return { url: url.href, drop: () => administrate(server, `drop database if exists ${name} with (force)`) }
}

export async function administrate(server: string, statement: string): Promise<void> {
  const client = new pg.Client(server)
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}

/** Test files run in several processes of one run; the first that asks starts the server, the others wait for it. */
async function sharedServer(): Promise<string> {
  const folder = join(tmpdir(), `polyphony-postgres-${process.ppid}`)
  const first = await mkdir(folder).then(
    () => true,
    () => false,
  )
  if (first) {
    const server = spawn(process.execPath, serverArguments(folder, process.ppid), { detached: true, stdio: 'ignore' })
    server.unref()
  }
  return urlOf(folder)
}

const LOADER = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
const SCRIPT = fileURLToPath(new URL('./postgres-server.ts', import.meta.url))

/** The server ends with the process `pid`. */
const serverArguments = (folder: string, pid: number) => ['--import', LOADER, SCRIPT, folder, String(pid)]

async function urlOf(folder: string): Promise<string> {
  for (const deadline = performance.now() + START_TIMEOUT_MS; performance.now() < deadline; ) {
    const url = await readFile(join(folder, 'url'), 'utf8').catch(() => undefined)
    if (url) return url
    const error = await readFile(join(folder, 'error'), 'utf8').catch(() => undefined)
    if (error) throw new Error(`The test server did not start: ${error}`)
    await sleep(40)
  }
  throw new Error(`The test server did not start within ${START_TIMEOUT_MS} ms, see ${folder}`)
}

export interface OwnPostgres extends TestPostgres {
  /** Resolves when the command is carried out; a started server answers. */
  command(command: PostgresCommand): Promise<void>
}

/** A server of its own, which a test stops and starts. */
export async function openOwnPostgres(): Promise<OwnPostgres> {
  const folder = await mkdtemp(join(tmpdir(), 'polyphony-own-postgres-'))
  const server = spawn(process.execPath, serverArguments(folder, process.pid), { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const ended = once(server, 'exit')
  const url = await urlOf(folder)
  return {
    url,
    async command(command) {
      const answered = once(server, 'message')
      server.send(command)
      const [answer] = await answered
      if (answer !== command) throw new Error(`Postgres: ${answer}`)
    },
    async drop() {
      server.kill('SIGTERM')
      await ended
    },
  }
}

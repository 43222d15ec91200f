import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import pg from 'pg'

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
    const script = fileURLToPath(new URL('./postgres-server.ts', import.meta.url))
    const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
    const server = spawn(process.execPath, ['--import', loader, script, folder, String(process.ppid)], {
      detached: true,
      stdio: 'ignore',
    })
    server.unref()
  }
  for (const deadline = performance.now() + START_TIMEOUT_MS; performance.now() < deadline; ) {
    const url = await readFile(join(folder, 'url'), 'utf8').catch(() => undefined)
    if (url) return url
    const error = await readFile(join(folder, 'error'), 'utf8').catch(() => undefined)
    if (error) throw new Error(`The test server did not start: ${error}`)
    await sleep(40)
  }
  throw new Error(`The test server did not start within ${START_TIMEOUT_MS} ms, see ${folder}`)
}

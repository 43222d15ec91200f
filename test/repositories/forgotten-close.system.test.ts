import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openTestPostgres } from '../support/postgres.ts'

const PROGRAM = `
import { createPolyphony } from ${JSON.stringify(new URL('../../dist/src/index.js', import.meta.url).href)}
const { conversations } = await createPolyphony({ database: process.argv[1], simulator: true, logLevel: 'silent' })
await conversations.createThread('ada')
console.log('done')
`

async function run(database: string, cwd: string): Promise<{ code: unknown; out: string }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM, database], {
    cwd,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let out = ''
  child.stdout.on('data', (text) => {
    out += text
  })
  const [code] = await once(child, 'close')
  return { code, out }
}

// A program that does not end never closes its output: the test then runs into this bound, which is far above what a busy machine needs.
const TIMEOUT_MS = 180_000

test(
  'a program that forgets to close its database ends, on Postgres',
  async () => {
    const { url, drop } = await openTestPostgres()
    expect(await run(url, process.cwd())).toEqual({ code: 0, out: 'done\n' })
    await drop()
  },
  TIMEOUT_MS,
)

test(
  'a program that forgets to close its embedded database ends, and the new folder of the database stays out of commits',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'polyphony-forgotten-'))
    expect(await run('pglite://.polyphony/data', folder)).toEqual({ code: 0, out: 'done\n' })
    expect(await readFile(join(folder, '.polyphony', '.gitignore'), 'utf8')).toBe('*\n')
    expect(await readdir(join(folder, '.polyphony'))).toEqual(['.gitignore', 'data'])
    // The second program recovers a database that was not closed.
    expect(await run('pglite://.polyphony/data', folder)).toEqual({ code: 0, out: 'done\n' })
    await rm(folder, { recursive: true, force: true })
  },
  TIMEOUT_MS,
)

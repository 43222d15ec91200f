import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openStore } from '../../src/repositories/database.ts'
import { administrate, openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { newFlow, newThread } from '../support/stored-data.ts'
import { createCommandLine } from './command-line.ts'

const commandLine = createCommandLine()
const { directory, run } = commandLine
const TIMEOUT_MS = 120_000

let source: TestPostgres
let target: TestPostgres
let flowId: string
beforeAll(async () => {
  source = await openTestPostgres()
  target = await openTestPostgres()
  const store = await openStore({ url: source.url })
  const thread = newThread()
  await store.threads.create(thread)
  const flow = newFlow(thread.id)
  flowId = flow.id
  await store.journal.createFlow(flow)
  await store.close()
})
afterAll(async () => {
  commandLine.remove()
  await source?.drop()
  await target?.drop()
})

test(
  'a compressed export is a private new file, and its import reports the counts',
  async () => {
    const exported = await run(['export', 'all.jsonl.gz', '--database', source.url, '--json'])
    expect([exported.stderr, exported.exitCode]).toEqual(['', 0])
    expect(JSON.parse(exported.stdout)).toMatchObject({ exported: { flow: 1, thread: 1 } })
    const file = join(directory, 'all.jsonl.gz')
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(gunzipSync(readFileSync(file)).toString()).toContain(flowId)
    const again = await run(['export', 'all.jsonl.gz', '--database', source.url])
    expect([again.exitCode, again.stderr]).toEqual([2, expect.stringContaining('expected a new file')])

    const imported = await run(['import', 'all.jsonl.gz', '--database', target.url])
    expect([imported.stderr, imported.exitCode]).toEqual(['', 0])
    expect(imported.stdout).toContain('imported 1 flow\n')
    const twice = await run(['import', 'all.jsonl.gz', '--database', target.url])
    expect(twice.stdout).toContain('imported 0 flow, skipped 1 that exist')
  },
  TIMEOUT_MS,
)

test(
  'a hyphen is standard output and standard input, and a cut file is refused in one line',
  async () => {
    const exported = await run(['export', '-', '--database', source.url])
    expect(exported.exitCode).toBe(0)
    expect(exported.stdout).toContain('"format":"polyphony-export"')
    expect(exported.stderr).toContain('exported 1 flow')
    const imported = await run(['import', '-', '--database', target.url, '--json'], { stdin: exported.stdout })
    expect(JSON.parse(imported.stdout)).toMatchObject({ counts: { flow: { imported: 0, skipped: 1 } } })
    const cut = await run(['import', '-', '--database', target.url], { stdin: exported.stdout.slice(0, -100) })
    expect([cut.exitCode, cut.stderr]).toEqual([2, expect.stringMatching(/^INPUT_INVALID: line \d+: /)])
    writeFileSync(join(directory, 'bad.gz'), 'no gzip')
    const damaged = await run(['import', 'bad.gz', '--database', target.url])
    expect([damaged.exitCode, damaged.stderr]).toEqual([2, expect.stringContaining('bad.gz: expected a gzip file')])
  },
  TIMEOUT_MS,
)

test(
  'databases without data that lasts, missing directories and missing files are refused',
  async () => {
    const wrong = [
      [['export', '-', '--database', 'memory://'], 3, /memory:\/\//],
      [['import', 'none', '--database', 'pglite://memory'], 3, /pglite:\/\/memory/],
      [['export', '-', '--database', 'pglite://nowhere'], 2, /expected a database in/],
      [['import', 'none', '--database', target.url], 2, /none: expected a path that exists/],
    ] as const
    const results = await Promise.all(wrong.map(([words]) => run(words)))
    for (const [index, [, exitCode, message]] of wrong.entries()) {
      expect([results[index]?.exitCode, results[index]?.stdout]).toEqual([exitCode, ''])
      expect(results[index]?.stderr).toMatch(message)
    }
  },
  TIMEOUT_MS,
)

test(
  'a schema that is behind is found by migrate --check and refused by commands and the server, until migrate has run',
  async () => {
    await administrate(target.url, "delete from polyphony_migrations where name like 'KeepOutputsApart%'")
    await administrate(target.url, 'alter table polyphony_flows drop column result_output')
    const database = ['--database', target.url] as const
    const check = await run(['migrate', '--check', ...database])
    expect([check.exitCode, check.stdout]).toEqual([18, expect.stringContaining('pending KeepOutputsApart')])
    for (const words of [
      ['keys', 'list'],
      ['serve', '--port', '0'],
      ['import', 'all.jsonl.gz'],
      ['export', '-'],
    ]) {
      const refused = await run([...words, ...database])
      expect([refused.exitCode, refused.stdout]).toEqual([18, ''])
      expect(refused.stderr).toMatch(/DATABASE_SCHEMA_MISMATCH: .*KeepOutputsApart.*polyphony migrate/)
    }
    expect((await run(['migrate', ...database])).stdout).toContain('applied KeepOutputsApart')
    const current = await run(['migrate', '--check', ...database])
    expect([current.exitCode, current.stdout]).toEqual([0, 'The database is up to date.\n'])
    expect((await run(['keys', 'list', ...database])).exitCode).toBe(0)
  },
  TIMEOUT_MS,
)

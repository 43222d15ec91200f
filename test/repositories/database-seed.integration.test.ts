import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readDatabaseSeed } from '../../src/repositories/postgres/embedded/database-seed.ts'
import { openPglite } from '../../src/repositories/postgres/embedded/pglite.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'polyphony-seed-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const seedIn = (version: string) => pathToFileURL(join(folder, `pglite-${version}.tgz`))

const nextWarning = async (): Promise<string> => {
  const [warning] = await once(process, 'warning')
  return warning instanceof Error ? warning.message : String(warning)
}

async function writeSeed(content: Buffer): Promise<void> {
  const { version } = JSON.parse(await readFile('node_modules/@electric-sql/pglite/package.json', 'utf8'))
  await writeFile(seedIn(version), content)
}

test('the prepared database of the installed PGlite is unpacked', async () => {
  await writeSeed(gzipSync('archive'))
  expect(await (await readDatabaseSeed(seedIn))?.text()).toBe('archive')
})

test('a prepared database of another version of PGlite is not used', async () => {
  await writeFile(seedIn('0.0.1'), gzipSync('archive'))
  expect(await readDatabaseSeed(seedIn)).toBeUndefined()
  expect(await readDatabaseSeed(() => seedIn('0.0.1'))).toBeUndefined()
})

test('a truncated prepared database is refused with a warning that states the remedy', async () => {
  const warned = nextWarning()
  await writeSeed(gzipSync('archive').subarray(0, -4))
  expect(await readDatabaseSeed(seedIn)).toBeUndefined()
  expect(await warned).toMatch(/^The prepared database .* cannot be used \(.+\)\. .*install the package again$/)
})

test('a database is created from scratch, with a warning, if the prepared one lacks its files', async () => {
  const warned = nextWarning()
  const directory = join(folder, 'data')
  await writeFile(join(folder, 'PG_VERSION'), '18\n')
  const archive = execFileSync('tar', ['-c', '--format=ustar', '-C', folder, 'PG_VERSION'])
  const { close } = await openPglite(directory, async () => new Blob([archive], { type: 'application/x-tar' }))
  await close()
  expect(await warned).toContain('cannot be used')
  expect(existsSync(join(directory, 'PG_VERSION'))).toBe(true)
  expect(existsSync(`${directory}.unfinished`)).toBe(false)
}, 120_000)

import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'

/** The build replaces this address by that of the file beside its chunks. */
const seedOf = (version: string): URL =>
  new URL(`../../../../node_modules/.cache/polyphony/pglite-${version}.tgz`, import.meta.url)

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined)

/**
 * The files of an empty database of exactly the installed PGlite, as a tar archive: unpacking it takes a third of the
 * time of creating them. Undefined in a clone that was never built, in a bundle that lacks the file, and, after a
 * warning, where the file is damaged. See docs/decisions/0023-a-prepared-database.md.
 */
export async function readDatabaseSeed(seed = seedOf): Promise<Blob | undefined> {
  try {
    const version = await installedVersion()
    const file = seed(version)
    if (basename(file.pathname) !== `pglite-${version}.tgz`) return undefined
    // Decompressed here, because the checksum of gzip reveals damage before a directory is changed.
    return new Blob([await promisify(gunzip)(await readFile(file))], { type: 'application/x-tar' })
  } catch (error) {
    // Errors of the file system and of module resolution mean that there is no seed; errors of zlib that it is damaged.
    if (String(codeOf(error)).startsWith('Z_')) warnOfDamage(error)
    return undefined
  }
}

/** Also called if the damage shows only when Postgres starts from the seed. */
export function warnOfDamage(error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error)
  process.emitWarning(
    `The prepared database of this installation of Polyphony cannot be used (${reason}). A new one is created, which takes longer: install the package again`,
    { code: 'POLYPHONY_SEED_DAMAGED' },
  )
}

async function installedVersion(): Promise<string> {
  const file = new URL('../package.json', import.meta.resolve('@electric-sql/pglite'))
  const facts: unknown = JSON.parse(await readFile(file, 'utf8'))
  if (typeof facts === 'object' && facts !== null && 'version' in facts && typeof facts.version === 'string') return facts.version
  throw new Error(`expected the version of PGlite in ${file.href}`)
}

import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'

/** The build replaces this address by that of the file which it puts beside its chunks. */
const seedOf = (version: string): URL =>
  new URL(`../../../../node_modules/.cache/polyphony/pglite-${version}.tgz`, import.meta.url)

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined)

/**
 * The files of an empty database of exactly the installed PGlite, as a tar archive: unpacking it takes a third of the
 * time of making them anew. Undefined where there is none: in a clone that was never built, in a bundle that left it
 * behind, and, after a warning, where the file is damaged. See docs/decisions/0023-a-prepared-database.md.
 */
export async function readDatabaseSeed(seed = seedOf): Promise<Blob | undefined> {
  try {
    const version = await installedVersion()
    const file = seed(version)
    if (basename(file.pathname) !== `pglite-${version}.tgz`) return undefined
    // Unpacked here, since the checksum of gzip tells of damage before a directory is touched.
    return new Blob([await promisify(gunzip)(await readFile(file))], { type: 'application/x-tar' })
  } catch (error) {
    // What Node reports of the file system or of resolving a module says that there is no seed; zlib reports a damaged
    // one.
    if (String(codeOf(error)).startsWith('Z_')) warnOfDamage(error)
    return undefined
  }
}

/** For what only shows when Postgres starts from it. */
export function warnOfDamage(error: unknown): void {
  const reason = error instanceof Error ? error.message : String(error)
  process.emitWarning(
    `The prepared database of this installation of Polyphony cannot be used (${reason}): a new one is made from scratch, which takes longer. Install the package again`,
    { code: 'POLYPHONY_SEED_DAMAGED' },
  )
}

async function installedVersion(): Promise<string> {
  const file = new URL('../package.json', import.meta.resolve('@electric-sql/pglite'))
  const facts: unknown = JSON.parse(await readFile(file, 'utf8'))
  if (typeof facts === 'object' && facts !== null && 'version' in facts && typeof facts.version === 'string') return facts.version
  throw new Error(`expected the version of PGlite in ${file.href}`)
}

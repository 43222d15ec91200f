import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openTestPostgres } from './postgres.ts'

/** Opens an empty database of each kind that outlives its process. */
export const DATABASES = {
  async PGlite() {
    const directory = await mkdtemp(join(tmpdir(), 'polyphony-restart-'))
    return { url: `pglite://${directory}`, drop: () => rm(directory, { recursive: true, force: true }) }
  },
  Postgres: () => openTestPostgres(),
}

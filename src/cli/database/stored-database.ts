import { existsSync } from 'node:fs'
import type { PolyphonyConfig } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** The directory of an embedded database that does not exist yet, which opening would create. */
export function findMissingDirectory({ database }: PolyphonyConfig): string | undefined {
  const directory = typeof database === 'string' ? /^pglite:\/\/(?!memory$)(.+)$/.exec(database)?.[1] : undefined
  return directory !== undefined && !existsSync(directory) ? directory : undefined
}

/** Throws CONFIG_INVALID for a database in plain memory, which no command can export from or import into. */
export function requireStoredDatabase({ database }: PolyphonyConfig): void {
  if (typeof database !== 'string' || !/^(memory:|pglite:\/\/memory$)/.test(database)) return
  throw new OrchestratorError(
    'CONFIG_INVALID',
    `DATABASE_URL: expected pglite://<directory> or postgres://…, found ${database.replace(/\?.*$/, '')}, whose data ends with its process`,
  )
}

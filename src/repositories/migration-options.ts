import type { Pool } from 'pg'

/**
 * What a process does when the schema of its database is behind. `auto`: it applies the missing migrations. `check`: it
 * refuses with DATABASE_SCHEMA_MISMATCH, so that one deliberate command migrates the database of many processes; only
 * an empty database gets its schema.
 */
export type MigrationMode = 'auto' | 'check'

/**
 * A schema that another library defines in the same database, such as the one of a queue. It is migrated after
 * Polyphony's own, and must itself be safe for several processes at once.
 */
export interface FurtherSchema {
  /** Names of the missing changes, as `polyphony migrate --check` prints them. Must change nothing. */
  findPending(pool: Pool): Promise<readonly string[]>
  /** Applies what is missing and resolves with its names. */
  migrate(pool: Pool): Promise<readonly string[]>
}

export interface MigrateOptions {
  /** Whether to find the missing migrations only, without applying them. */
  readonly check?: boolean
  readonly schemas?: readonly FurtherSchema[]
}

import { type DataSource, MigrationExecutor, type QueryRunner } from 'typeorm'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { MigrationMode } from '../migration-options.ts'
import { MIGRATIONS_TABLE } from './data-source.ts'

/** The schema of a database, compared with the migrations that this version knows. */
export interface SchemaState {
  /** No migration has ever been applied. */
  readonly isEmpty: boolean
  /** Names of migrations that this version knows and the database lacks, the oldest first. */
  readonly pending: readonly string[]
  /** Names of migrations that a newer version has applied. */
  readonly newer: readonly string[]
}

// "polyphon" in ASCII: a number that no other program uses for an advisory lock in the same database.
const MIGRATION_LOCK = '8101813523495546734'

/**
 * A migration after which programs that do not know it cannot work must have a name that begins with this word. All
 * others only add to the schema, so that the processes of the previous version continue while a fleet is upgraded. See
 * docs/decisions/0032-migrations-and-exports.md.
 */
const BREAKING = /^Breaking/

/**
 * Compares the schema with this version and changes nothing: a table of migrations that does not exist yet is not
 * created. Rejects with DATABASE_SCHEMA_MISMATCH when a newer version has made a breaking change.
 */
export async function readSchemaState(dataSource: DataSource): Promise<SchemaState> {
  const queryRunner = dataSource.createQueryRunner()
  try {
    const state = await compareSchema(dataSource, queryRunner)
    refuseBreaking(state)
    return state
  } finally {
    await queryRunner.release()
  }
}

/**
 * Brings the schema up to date as the mode says, and resolves with the names of the migrations that were applied.
 * Rejects with DATABASE_SCHEMA_MISMATCH when the mode does not allow it, and when a newer version has made a breaking
 * change.
 */
export async function prepareSchema(dataSource: DataSource, mode: MigrationMode): Promise<readonly string[]> {
  const state = await readSchemaState(dataSource)
  if (state.pending.length === 0) return []
  if (mode === 'check' && !state.isEmpty) throw behind(state)
  const queryRunner = dataSource.createQueryRunner()
  try {
    return await applyPending(dataSource, queryRunner)
  } finally {
    await queryRunner.release()
  }
}

async function compareSchema(dataSource: DataSource, queryRunner: QueryRunner): Promise<SchemaState> {
  const names = await readAppliedNames(queryRunner)
  const known = dataSource.migrations.map(({ name = '' }) => name)
  const applied = new Set(names)
  return {
    isEmpty: names.length === 0,
    pending: known.filter((name) => !applied.has(name)),
    newer: names.filter((name) => !known.includes(name)),
  }
}

async function readAppliedNames(queryRunner: QueryRunner): Promise<readonly string[]> {
  const [{ found }]: [{ found: boolean }] = await queryRunner.query(
    `select to_regclass('${MIGRATIONS_TABLE}') is not null as found`,
  )
  if (!found) return []
  const rows: { readonly name: string }[] = await queryRunner.query(`select name from ${MIGRATIONS_TABLE} order by timestamp, id`)
  return rows.map(({ name }) => name)
}

/**
 * The lock belongs to the transaction, in which all migrations run. It is released with the connection of a process
 * that dies, leaves no migration half done, and works through a pooler that assigns connections per transaction. A
 * process that waited for it finds nothing pending.
 */
async function applyPending(dataSource: DataSource, queryRunner: QueryRunner): Promise<readonly string[]> {
  await queryRunner.startTransaction()
  try {
    await queryRunner.query(`select pg_advisory_xact_lock(${MIGRATION_LOCK})`)
    const applied = await new MigrationExecutor(dataSource, queryRunner).executePendingMigrations()
    await queryRunner.commitTransaction()
    return applied.map(({ name }) => name)
  } catch (error) {
    // The first error says what is wrong; after a lost connection the rollback fails as well.
    await queryRunner.rollbackTransaction().catch(() => undefined)
    throw error
  }
}

function refuseBreaking({ newer }: SchemaState): void {
  const breaking = newer.filter((name) => BREAKING.test(name))
  if (breaking.length === 0) return
  throw new OrchestratorError(
    'DATABASE_SCHEMA_MISMATCH',
    `The database was changed by a newer version of Polyphony in a way that this version cannot work with (${breaking.join(', ')}): use that version`,
    { details: { newer: breaking } },
  )
}

function behind({ pending }: Pick<SchemaState, 'pending'>): OrchestratorError {
  const message = `The database lacks ${pending.length} of the migrations of this version (${pending.join(', ')}): run \`polyphony migrate\``
  return new OrchestratorError('DATABASE_SCHEMA_MISMATCH', message, { details: { pending } })
}

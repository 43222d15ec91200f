import {
  assertSchemaCompatibility,
  LATEST_SCHEMA_VERSION,
  runMigrations,
  SchemaMigrationRequiredError,
  SchemaVersionMismatchError,
} from 'bullmq'
import pg, { type Pool, type PoolConfig } from 'pg'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { BULLMQ_SCHEMA } from './add-slot-sql.ts'

/** Connections for one process: two that listen, and some for statements. */
const POOL_SIZE = 6

/** Opens a pool whose connections find BullMQ's tables and functions. */
export function openBullmqPool(settings: PoolConfig): Pool {
  const pool = new pg.Pool({
    ...settings,
    max: POOL_SIZE,
    options: `-c search_path=${BULLMQ_SCHEMA}`,
    keepAlive: true,
    allowExitOnIdle: true,
  })
  // The pool replaces a lost idle connection.
  pool.on('error', () => undefined)
  // A client that is taken from the pool emits its loss beside the rejection of its statement, which would end the
  // process. BullMQ takes clients as well and does not listen.
  pool.on('connect', (client) => void client.on('error', () => undefined))
  return pool
}

/**
 * Creates BullMQ's schema or brings it up to date, and resolves with what was applied, for people; with `check` it
 * changes nothing and resolves with what is missing. Processes that do so at the same time wait for each other.
 */
export async function migrateBullmq(
  pool: Pool,
  { check }: { readonly check: boolean } = { check: false },
): Promise<readonly string[]> {
  const client = await pool.connect()
  try {
    const before = await schemaVersion(client)
    if (before >= LATEST_SCHEMA_VERSION) return []
    if (!check) await runMigrations(client, BULLMQ_SCHEMA)
    return [`schema ${BULLMQ_SCHEMA}, version ${LATEST_SCHEMA_VERSION}`]
  } finally {
    client.release()
  }
}

/** `migrateBullmq` for a command that opens nothing else. */
export async function migrateBullmqAt(settings: PoolConfig, options: { readonly check: boolean }): Promise<readonly string[]> {
  const pool = openBullmqPool(settings)
  try {
    return await migrateBullmq(pool, options)
  } finally {
    await pool.end()
  }
}

/**
 * Creates the schema if it does not exist, if `mayCreate`. Rejects with DATABASE_SCHEMA_MISMATCH if it is older than
 * this version needs: changing it below processes that use it is a step of its own.
 */
export async function prepareBullmqSchema(pool: Pool, mayCreate: boolean): Promise<void> {
  const client = await pool.connect()
  let version: number
  try {
    version = await schemaVersion(client)
  } finally {
    client.release()
  }
  if (version >= LATEST_SCHEMA_VERSION) return
  if (version === 0 && mayCreate) {
    await migrateBullmq(pool)
    return
  }
  throw new OrchestratorError(
    'DATABASE_SCHEMA_MISMATCH',
    `engine "bullmq": expected schema "${BULLMQ_SCHEMA}" at version ${LATEST_SCHEMA_VERSION}, found version ${version}: run "polyphony migrate"`,
    { details: { schema: BULLMQ_SCHEMA, expected: LATEST_SCHEMA_VERSION, found: version } },
  )
}

/** The version of the schema; 0 if it does not exist. */
async function schemaVersion(client: Parameters<typeof assertSchemaCompatibility>[0]): Promise<number> {
  try {
    return await assertSchemaCompatibility(client, BULLMQ_SCHEMA)
  } catch (error) {
    if (error instanceof SchemaMigrationRequiredError) return 0
    if (error instanceof SchemaVersionMismatchError) {
      throw new OrchestratorError(
        'DATABASE_SCHEMA_MISMATCH',
        `engine "bullmq": schema "${BULLMQ_SCHEMA}" was made by a newer version`,
        {
          cause: error,
        },
      )
    }
    throw error
  }
}

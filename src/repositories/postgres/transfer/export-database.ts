import { createHash } from 'node:crypto'
import type { ClientBase } from 'pg'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import type { ExportOptions } from '../../transfer-options.ts'
import { poolOf } from '../data-source.ts'
import { toDatabaseError } from '../database-errors.ts'
import { type DatabaseLocation, type OpenedDatabase, openMigrated } from '../open-database.ts'
import { readSchemaState } from '../schema.ts'
import { takeClient } from '../transaction.ts'
import { EXPORT_FORMAT_VERSION, type RowCounts, toLine } from './export-format.ts'
import { readRowGroups } from './export-rows.ts'
import { TRANSFERRED_TABLES } from './transferred-tables.ts'

/** A process is alive if its last heartbeat is not older: the limit of the recovery of flows. */
const ALIVE_FOR_SECONDS = 20

/**
 * Writes all data of a database to the sink, from one snapshot, and resolves with the number of rows by kind. Rejects
 * with FLOW_ALREADY_RUNNING while other processes run flows, unless `includeRunning` is set, and with
 * DATABASE_SCHEMA_MISMATCH when the schema is not that of this version.
 */
export async function exportFrom(
  location: DatabaseLocation,
  sink: (chunks: AsyncIterable<string>) => Promise<void>,
  options: ExportOptions,
): Promise<RowCounts> {
  const database = await openMigrated(location, 'check')
  const counts: Record<string, number> = {}
  try {
    await sink(exportChunks(database, options, counts))
    return counts
  } finally {
    await database.close()
  }
}

async function* exportChunks(
  { kind, dataSource }: OpenedDatabase,
  { program, includeRunning, maxBytesPerLine }: ExportOptions,
  counts: Record<string, number>,
): AsyncGenerator<string> {
  const migrations = await exportedMigrations(dataSource)
  const { client, release } = await takeClient(poolOf(dataSource))
  try {
    await client.query('begin isolation level repeatable read, read only')
    await client.query("set local timezone to 'UTC'")
    // No other process can have an embedded database open.
    if (kind === 'postgres' && !includeRunning) await refuseRunning(client)
    const digest = createHash('sha256')
    const take = (text: string): string => {
      digest.update(text)
      return text
    }
    const exportedAt = new Date().toISOString()
    yield take(toLine({ format: 'polyphony-export', formatVersion: EXPORT_FORMAT_VERSION, program, migrations, exportedAt }))
    for (const table of TRANSFERRED_TABLES) {
      counts[table.kind] = 0
      for await (const group of readRowGroups(client, table, maxBytesPerLine)) {
        counts[table.kind] = (counts[table.kind] ?? 0) + group.rows
        yield take(group.text)
      }
    }
    yield toLine({ end: true, counts, sha256: digest.digest('hex') })
  } catch (error) {
    throw toDatabaseError(error)
  } finally {
    release(await client.query('rollback').then(() => undefined, toDatabaseError))
  }
}

/** An older program would leave out what a newer one has added to the schema. */
async function exportedMigrations(dataSource: OpenedDatabase['dataSource']): Promise<string[]> {
  const { newer } = await readSchemaState(dataSource)
  if (newer.length === 0) return dataSource.migrations.map(({ name = '' }) => name)
  throw new OrchestratorError(
    'DATABASE_SCHEMA_MISMATCH',
    `The database has the schema of a newer version of Polyphony (${newer.join(', ')}): export it with that version`,
    { details: { newer } },
  )
}

/** A flow that runs here would run at the destination as well, and be paid twice. */
async function refuseRunning(client: ClientBase): Promise<void> {
  const { rows } = await client.query<{ flows: number }>(
    `select count(*)::int as flows from polyphony_flow_claims where exists (
       select from polyphony_owners where beat_at > clock_timestamp() - interval '${ALIVE_FOR_SECONDS} seconds')`,
  )
  const flows = rows[0]?.flows ?? 0
  if (flows === 0) return
  throw new OrchestratorError(
    'FLOW_ALREADY_RUNNING',
    `Expected no running flows, found ${flows}: stop all servers and workers first, or give --include-running; the destination then runs these flows as well`,
    { details: { flows } },
  )
}

import type { DataSource } from 'typeorm'
import type { PluggedDataSource } from '../../config/config-schema.ts'
import type { MigrateOptions, MigrationMode } from '../migration-options.ts'
import { dataSourceOptions, openDataSource, poolOf, sharedDataSourceOptions } from './data-source.ts'
import { toDatabaseError } from './database-errors.ts'
import { openPglite } from './embedded/pglite.ts'
import { prepareSchema, readSchemaState } from './schema.ts'

export type DatabaseLocation =
  | { readonly pglite: string }
  | { readonly postgres: string }
  | { readonly dataSource: PluggedDataSource }

/** A connected database, whatever its schema. */
export interface OpenedDatabase {
  readonly kind: 'pglite' | 'postgres'
  readonly dataSource: DataSource
  close(): Promise<void>
}

/**
 * Opens the database and brings its schema up to date. The embedded database has no other process that could object.
 */
export async function openMigrated(location: DatabaseLocation, migrations: MigrationMode): Promise<OpenedDatabase> {
  const database = await connect(location)
  try {
    await prepareSchema(database.dataSource, database.kind === 'pglite' ? 'auto' : migrations)
    return database
  } catch (error) {
    await database.close()
    throw toDatabaseError(error)
  }
}

/**
 * Brings all schemas up to date, or only finds what they lack, and closes the database. Resolves with the names of the
 * migrations that were applied or are missing.
 */
export async function migrateDatabase(
  location: DatabaseLocation,
  { check = false, schemas = [] }: MigrateOptions,
): Promise<readonly string[]> {
  const { dataSource, close } = await connect(location)
  try {
    const pool = poolOf(dataSource)
    const names = check ? (await readSchemaState(dataSource)).pending : await prepareSchema(dataSource, 'auto')
    const further: string[] = []
    for (const schema of schemas) further.push(...(check ? await schema.findPending(pool) : await schema.migrate(pool)))
    return [...names, ...further]
  } catch (error) {
    throw toDatabaseError(error)
  } finally {
    await close()
  }
}

async function connect(location: DatabaseLocation): Promise<OpenedDatabase> {
  if ('pglite' in location) {
    const embedded = await openPglite(location.pglite)
    return connectTo('pglite', dataSourceOptions({ pool: embedded.pool }), embedded.close)
  }
  const options =
    'postgres' in location ? dataSourceOptions({ url: location.postgres }) : sharedDataSourceOptions(poolOf(location.dataSource))
  return connectTo('postgres', options, async () => undefined)
}

async function connectTo(
  kind: OpenedDatabase['kind'],
  options: Parameters<typeof openDataSource>[0],
  release: () => Promise<void>,
): Promise<OpenedDatabase> {
  try {
    const dataSource = await openDataSource(options)
    let closing: Promise<void> | undefined
    const close = () => (closing ??= dataSource.destroy().then(release))
    return { kind, dataSource, close }
  } catch (error) {
    await release()
    throw toDatabaseError(error)
  }
}

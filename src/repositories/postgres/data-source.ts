import pg, { type Pool, type PoolConfig } from 'pg'
import { DataSource, type DataSourceOptions, type Migration, MigrationExecutor, type QueryRunner } from 'typeorm'
import { MIGRATIONS } from '../../../migrations/migrations.ts'
import type { PluggedDataSource } from '../../config/config-schema.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { ENTITIES } from './entities.ts'

/**
 * Milliseconds to wait for a connection; without it a query inside its own transaction on a pool of one would wait for
 * ever.
 */
const CONNECT_TIMEOUT_MS = 10_000

// Any number that no one else uses for an advisory lock in the same database: "polyphon" as ASCII.
const MIGRATION_LOCK = '8101813523495546734'

const common = {
  type: 'postgres',
  entities: ENTITIES,
  migrations: [...MIGRATIONS],
  migrationsTableName: 'polyphony_migrations',
  synchronize: false,
  logging: false,
  installExtensions: false,
  uuidExtension: 'pgcrypto',
  connectTimeoutMS: CONNECT_TIMEOUT_MS,
  // A lost idle connection is replaced by the pool; the next query tells whether the server is away.
  poolErrorHandler: () => undefined,
} as const satisfies DataSourceOptions

/** TypeORM would load it by a name that it computes, which bundlers and tracers of dependencies do not see. */
const driver = { driver: pg }

/** How to reach Postgres: an URL, or what the pool of `pg` is to be built from. */
export const dataSourceOptions = (reach: { readonly url: string } | { readonly pool: PoolConfig }): DataSourceOptions =>
  // A program that has nothing more to do ends, also where it forgot to close.
  'url' in reach
    ? { ...common, ...driver, url: reach.url, extra: { allowExitOnIdle: true } }
    : { ...common, ...driver, poolSize: reach.pool.max, extra: reach.pool }

/** A DataSource with Polyphony's entities over the pool of another one, which stays the owner of the pool. */
export function sharedDataSourceOptions(pool: Pool): DataSourceOptions {
  const shared = {
    connect: pool.connect.bind(pool),
    query: pool.query.bind(pool),
    on: () => shared,
    end: (done: () => void) => done(),
  }
  // TypeORM builds its pool with `new`; a constructor that returns an object hands that object out instead.
  function SharedPool() {
    return shared
  }
  return { ...common, driver: { Pool: SharedPool } }
}

export async function openDataSource(options: DataSourceOptions): Promise<DataSource> {
  const dataSource = new DataSource(options)
  await dataSource.initialize()
  return dataSource
}

/**
 * The pool below a DataSource. TypeORM's own `query` costs several times the CPU and knows no prepared statements
 * (library seam).
 */
export function poolOf(dataSource: Pick<PluggedDataSource, 'driver'>): Pool {
  const { driver } = dataSource
  if (driver.options.type === 'postgres' && 'master' in driver && isPool(driver.master)) return driver.master
  throw new OrchestratorError(
    'CONFIG_INVALID',
    `\`database\`: expected an initialized DataSource of type "postgres", found "${driver.options.type}"`,
  )
}

const isPool = (value: unknown): value is Pool =>
  typeof value === 'object' && value !== null && 'connect' in value && 'query' in value

/**
 * Brings the schema up to date and resolves with the names of what was applied. Processes that start together wait for
 * each other.
 */
export async function runMigrations(dataSource: DataSource): Promise<readonly string[]> {
  const queryRunner = dataSource.createQueryRunner()
  try {
    const executor = new MigrationExecutor(dataSource, queryRunner)
    const executed = await executor.getExecutedMigrations()
    refuseNewer(executed, dataSource)
    if (executed.length === dataSource.migrations.length) return []
    return await withMigrationLock(queryRunner, async () => {
      const applied = await executor.executePendingMigrations()
      return applied.map((migration) => migration.name)
    })
  } finally {
    await queryRunner.release()
  }
}

function refuseNewer(executed: readonly Migration[], dataSource: DataSource): void {
  const known = new Set(dataSource.migrations.map((migration) => migration.name))
  const unknown = executed.find((migration) => !known.has(migration.name))
  if (!unknown) return
  const message = `The database was brought up to date by a newer version of Polyphony (${unknown.name}): use that version`
  throw new OrchestratorError('CONFIG_INVALID', message, { details: { migration: unknown.name } })
}

async function withMigrationLock<Value>(queryRunner: QueryRunner, work: () => Promise<Value>): Promise<Value> {
  await queryRunner.query(`select pg_advisory_lock(${MIGRATION_LOCK})`)
  try {
    return await work()
  } finally {
    await queryRunner.query(`select pg_advisory_unlock(${MIGRATION_LOCK})`)
  }
}

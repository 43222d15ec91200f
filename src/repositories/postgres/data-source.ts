import pg, { type Pool, type PoolConfig } from 'pg'
import { DataSource, type DataSourceOptions } from 'typeorm'
import { MIGRATIONS } from '../../../migrations/migrations.ts'
import type { PluggedDataSource } from '../../config/config-schema.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { ENTITIES } from './entities.ts'

/**
 * Milliseconds to wait for a connection. Without a limit, a query outside its own transaction hangs on a pool of one.
 */
const CONNECT_TIMEOUT_MS = 10_000

export const MIGRATIONS_TABLE = 'polyphony_migrations'

const common = {
  type: 'postgres',
  entities: ENTITIES,
  migrations: [...MIGRATIONS],
  migrationsTableName: MIGRATIONS_TABLE,
  synchronize: false,
  logging: false,
  installExtensions: false,
  uuidExtension: 'pgcrypto',
  connectTimeoutMS: CONNECT_TIMEOUT_MS,
  // The pool replaces a lost idle connection; the next query fails if the server is down.
  poolErrorHandler: () => undefined,
} as const satisfies DataSourceOptions

/**
 * Given to TypeORM, which would otherwise load it by a computed name that bundlers and dependency tracers do not see.
 */
const driver = { driver: pg }

/** Options that reach Postgres by a URL or with the settings of a pool of `pg`. */
export const dataSourceOptions = (reach: { readonly url: string } | { readonly pool: PoolConfig }): DataSourceOptions =>
  // Idle connections do not keep a program alive if it forgot to close its store.
  'url' in reach
    ? { ...common, ...driver, url: reach.url, extra: { allowExitOnIdle: true } }
    : { ...common, ...driver, poolSize: reach.pool.max, extra: reach.pool }

/** Options with Polyphony's entities over the pool of another DataSource, which stays the owner of the pool. */
export function sharedDataSourceOptions(pool: Pool): DataSourceOptions {
  const shared = {
    connect: pool.connect.bind(pool),
    query: pool.query.bind(pool),
    on: () => shared,
    end: (done: () => void) => done(),
  }
  // TypeORM builds its pool with `new`; the value of `new` is the object that the constructor returns.
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
 * The pool of a DataSource. Statements are sent through it, because TypeORM's `query` takes several times the CPU and
 * has no prepared statements. Throws CONFIG_INVALID for a DataSource that is not one of Postgres.
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

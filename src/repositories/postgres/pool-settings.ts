import type { PoolConfig } from 'pg'
import type { PluggedDataSource } from '../../config/config-schema.ts'
import { poolOf } from './data-source.ts'

/** Settings of a further pool on the same Postgres server and database; undefined for an embedded database. */
export function poolSettingsOf(database: string | PluggedDataSource): PoolConfig | undefined {
  if (typeof database === 'string') return /^postgres(ql)?:\/\//.test(database) ? { connectionString: database } : undefined
  const { options } = poolOf(database)
  // The password is not enumerable, so that it is not printed with the other options.
  return { ...options, password: options.password }
}

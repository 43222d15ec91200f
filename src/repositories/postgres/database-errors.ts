import { TypeORMError } from 'typeorm'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/**
 * The kind of a failure (https://www.postgresql.org/docs/current/errcodes-appendix.html, read 2026-11).
 * `unavailable`: the database does not answer, and the same statement may succeed later. `conflict`: the statement lost
 * against a concurrent one and may be repeated at once. `refused`: the statement will never succeed.
 */
export type DatabaseFailure = 'unavailable' | 'conflict' | 'refused'

// Serialization failure, deadlock, lock not available.
const CONFLICT = new Set(['40001', '40P01', '55P03'])
// Connection exceptions, insufficient resources, operator intervention, system errors, read-only (a standby after a
// failover).
const UNAVAILABLE = /^(08|53|57P|58)|^25006$|^57014$/
// Invalid authorization, no such database, insufficient privilege.
const ACCESS_DENIED = /^28|^3D000$|^42501$/
const DISK_FULL = '53100'
const SQLSTATE = /^[0-9A-Z]{5}$/

export function sqlStateOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' && SQLSTATE.test(error.code) ? error.code : undefined
}

export function classifyDatabaseError(error: unknown): DatabaseFailure {
  const sqlState = sqlStateOf(error)
  // An error without a SQLSTATE comes from a socket, the pool, the embedded database itself, or a mistake in this code.
  if (sqlState === undefined) return error instanceof TypeORMError || error instanceof TypeError ? 'refused' : 'unavailable'
  if (UNAVAILABLE.test(sqlState)) return 'unavailable'
  return CONFLICT.has(sqlState) ? 'conflict' : 'refused'
}

/**
 * The error that callers get. Messages of the server can quote rows, so only names of tables and columns are taken
 * over.
 */
export function toDatabaseError(error: unknown): OrchestratorError {
  if (OrchestratorError.is(error)) return error
  const sqlState = sqlStateOf(error)
  if (classifyDatabaseError(error) !== 'refused') {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'no answer'
    const problem = sqlState === DISK_FULL ? 'The disk of the database is full' : 'The database does not answer'
    return new OrchestratorError('DATABASE_UNAVAILABLE', `${problem} (${reason})`, {
      details: { reason },
      cause: sqlState === undefined ? error : undefined,
    })
  }
  if (sqlState === undefined) return OrchestratorError.from(error)
  if (ACCESS_DENIED.test(sqlState)) {
    const message = `The server refused access to the database (SQLSTATE ${sqlState}): check user, password, database name and privileges`
    return new OrchestratorError('DATABASE_UNAVAILABLE', message, { details: { reason: sqlState }, retryable: false })
  }
  const details = { sqlState, ...namesOf(error) }
  return new OrchestratorError(
    'INTERNAL',
    `The database refused a statement with SQLSTATE ${sqlState}${describe(error, sqlState)}`,
    { details },
  )
}

function namesOf(error: unknown): Record<string, string> {
  const names: Record<string, string> = {}
  if (typeof error !== 'object' || error === null) return names
  for (const [name, value] of Object.entries(error)) {
    if ((name === 'table' || name === 'column' || name === 'constraint') && typeof value === 'string') names[name] = value
  }
  return names
}

// Messages of class 42 describe the statement itself, for example a missing table, and contain no data.
const describe = (error: unknown, sqlState: string): string =>
  sqlState.startsWith('42') && error instanceof Error ? `: ${error.message}` : ''

/** The method, with every failure converted to an OrchestratorError. */
export const guarded =
  <Arguments extends readonly unknown[], Value>(method: (...args: Arguments) => Promise<Value>) =>
  async (...args: Arguments): Promise<Value> => {
    try {
      return await method(...args)
    } catch (error) {
      throw toDatabaseError(error)
    }
  }

import { TypeORMError } from 'typeorm'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/**
 * What kind of failure the database reported (https://www.postgresql.org/docs/current/errcodes-appendix.html, read
 * 2026-11). `away`: no answer, or none now: the same statement may succeed in a moment. `again`: it lost a race and can
 * be repeated at once. `refused`: this statement will never succeed.
 */
export type DatabaseFailure = 'away' | 'again' | 'refused'

const AGAIN = new Set(['40001', '40P01', '55P03'])
// Connection exceptions, insufficient resources, operator intervention, system errors, read-only (a standby after a
// failover).
const AWAY = /^(08|53|57P|58)|^25006$|^57014$/
// Invalid authorization, no such database, no right to create tables.
const NOT_LET_IN = /^28|^3D000$|^42501$/
const DISK_FULL = '53100'
const SQLSTATE = /^[0-9A-Z]{5}$/

export function sqlStateOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  return typeof error.code === 'string' && SQLSTATE.test(error.code) ? error.code : undefined
}

export function classifyDatabaseError(error: unknown): DatabaseFailure {
  const sqlState = sqlStateOf(error)
  // Without a SQLSTATE it did not come from the server: sockets, the pool, the embedded database itself, or a mistake
  // in our own code.
  if (sqlState === undefined) return error instanceof TypeORMError || error instanceof TypeError ? 'refused' : 'away'
  if (AWAY.test(sqlState)) return 'away'
  return AGAIN.has(sqlState) ? 'again' : 'refused'
}

/** The error callers meet. Messages of the server can quote rows, so only names of things are taken from it. */
export function toDatabaseError(error: unknown): OrchestratorError {
  if (OrchestratorError.is(error)) return error
  const sqlState = sqlStateOf(error)
  if (classifyDatabaseError(error) !== 'refused') {
    const reason = error instanceof Error && 'code' in error ? String(error.code) : 'no answer'
    const what = sqlState === DISK_FULL ? 'The disk of the database is full' : 'The database does not answer'
    return new OrchestratorError('DATABASE_UNAVAILABLE', `${what} (${reason})`, {
      details: { reason },
      cause: sqlState === undefined ? error : undefined,
    })
  }
  if (sqlState === undefined) return OrchestratorError.from(error)
  if (NOT_LET_IN.test(sqlState)) {
    const message = `The server does not let Polyphony use this database (SQLSTATE ${sqlState}): check user, password, name and rights`
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

// Class 42 is about the statement itself (a missing table after a half migration, say), which holds no data.
const describe = (error: unknown, sqlState: string): string =>
  sqlState.startsWith('42') && error instanceof Error ? `: ${error.message}` : ''

/** The same method, failing only with OrchestratorErrors. */
export const guarded =
  <Arguments extends readonly unknown[], Value>(method: (...args: Arguments) => Promise<Value>) =>
  async (...args: Arguments): Promise<Value> => {
    try {
      return await method(...args)
    } catch (error) {
      throw toDatabaseError(error)
    }
  }

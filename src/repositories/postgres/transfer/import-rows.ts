import type { ClientBase } from 'pg'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { classifyDatabaseError, sqlStateOf, toDatabaseError } from '../database-errors.ts'
import type { FileLine } from './read-lines.ts'
import { bytesColumnOf, type TransferredTable } from './transferred-tables.ts'

/**
 * Inserts rows of one table and resolves with the number of those that did not exist. The statement takes the lines as
 * they are in the file, so that numbers and JSON columns keep their text.
 */
export function importRows(client: ClientBase, table: TransferredTable, lines: readonly FileLine[]): Promise<number> {
  const json = `[${lines.map(({ text }) => text).join(',')}]`
  return insert(client, insertSql(table), [json], [lines[0]?.number, lines.at(-1)?.number])
}

/** As `importRows`, for a row whose bytes continue in further lines. */
export function importLongRow(
  client: ClientBase,
  table: TransferredTable,
  line: FileLine,
  further: readonly Uint8Array[],
): Promise<number> {
  const lines = [line.number, line.number + further.length] as const
  return insert(client, insertSql(table, bytesColumnOf(table)), [`[${line.text}]`, Buffer.concat(further)], lines)
}

async function insert(
  client: ClientBase,
  sql: string,
  values: readonly unknown[],
  [first, last]: readonly [number | undefined, number | undefined],
): Promise<number> {
  try {
    const { rowCount } = await client.query(sql, [...values])
    return rowCount ?? 0
  } catch (error) {
    if (classifyDatabaseError(error) !== 'refused') throw toDatabaseError(error)
    const message = `lines ${first} to ${last}: the database refused a row (SQLSTATE ${sqlStateOf(error) ?? 'unknown'})`
    throw new OrchestratorError('INPUT_INVALID', message, { details: { line: first } })
  }
}

/** `$2` continues the column `continued`. */
function insertSql({ table, columns, parent, omitted = {} }: TransferredTable, continued?: string): string {
  const names = [...columns.map(({ name }) => name), ...Object.keys(omitted)]
  const values = [
    ...columns.map(({ name }) => (name === continued ? `x.${name} || $2::bytea` : `x.${name}`)),
    ...Object.values(omitted),
  ]
  const types = columns.map(({ name, type, isArray }) => `${name} ${type}${isArray ? '[]' : ''}`)
  return `insert into ${table} (${names.join(', ')})
select ${values.join(', ')} from json_array_elements($1::json) l(line)
cross join lateral json_to_record(l.line -> 'row') as x(${types.join(', ')})
${parent ? `where exists (select from ${parent.table} p where p.id = x.${parent.column} and ${isOfThisTransaction('p')})` : ''}
on conflict do nothing`
}

/** The row was written by the running transaction. */
const isOfThisTransaction = (alias: string): string => `${alias}.xmin = pg_current_xact_id()::xid`

/** The id of an imported flow whose definition or thread is neither in the file nor in the database, or undefined. */
export async function findIncompleteFlow(client: ClientBase): Promise<string | undefined> {
  const { rows } = await client.query<{ id: string }>(
    `select f.id from polyphony_flows f where ${isOfThisTransaction('f')} and (
       not exists (select from polyphony_flow_definitions d where d.hash = f.definition_hash)
       or not exists (select from polyphony_threads t where t.id = f.thread_id)) limit 1`,
  )
  return rows[0]?.id
}

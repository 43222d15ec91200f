import type { ClientBase } from 'pg'
import { toRowLine } from './export-format.ts'
import type { TransferredColumn, TransferredTable } from './transferred-tables.ts'

/** Row addresses that are fetched from the cursor at a time. */
const ADDRESSES_AT_ONCE = 2_000
const MAX_GROUP_ROWS = 500
const MAX_GROUP_BYTES = 2_000_000

interface RowAddress {
  readonly tid: string
  readonly bytes: number
}

/** Some rows of one table as lines of the file. */
export interface RowGroup {
  readonly rows: number
  readonly text: string
}

/**
 * All rows of a table in the order of their keys, which is the same on every database: text is compared by bytes. A
 * cursor gives addresses and sizes only, so that sorting needs little space and no group exceeds its bytes, however
 * large single rows are. Must run in a transaction with one snapshot, in which addresses stay valid.
 */
export async function* readRowGroups(client: ClientBase, table: TransferredTable): AsyncGenerator<RowGroup> {
  await client.query(
    `declare polyphony_export no scroll cursor for select t.ctid::text as tid, ${sizeSql(table)} as bytes from ${table.table} t order by ${orderSql(table)}`,
  )
  for (;;) {
    const { rows } = await client.query<RowAddress>(`fetch ${ADDRESSES_AT_ONCE} from polyphony_export`)
    for (const group of groupBySize(rows)) yield await readGroup(client, table, group)
    if (rows.length < ADDRESSES_AT_ONCE) break
  }
  await client.query('close polyphony_export')
}

/** Neighbouring rows that are read together. A row above the limit is read alone. */
function* groupBySize(rows: readonly RowAddress[]): Generator<readonly RowAddress[]> {
  let group: RowAddress[] = []
  let bytes = 0
  for (const row of rows) {
    if (group.length > 0 && (group.length === MAX_GROUP_ROWS || bytes + row.bytes > MAX_GROUP_BYTES)) {
      yield group
      group = []
      bytes = 0
    }
    group.push(row)
    bytes += row.bytes
  }
  if (group.length > 0) yield group
}

async function readGroup(client: ClientBase, table: TransferredTable, group: readonly RowAddress[]): Promise<RowGroup> {
  const { rows } = await client.query<{ tid: string; json: string }>(
    `select t.ctid::text as tid, row_to_json(r)::text as json from ${table.table} t
     cross join lateral (select ${selectSql(table)}) r where t.ctid = any($1::tid[])`,
    [group.map(({ tid }) => tid)],
  )
  const byAddress = new Map(rows.map(({ tid, json }) => [tid, json]))
  const lines = group.map(({ tid }) => toRowLine(table.kind, withoutLineEnds(byAddress.get(tid) ?? '')))
  return { rows: lines.length, text: lines.join('') }
}

// JSON columns keep their white space. A line end in JSON is white space, because strings have it as an escape only.
const withoutLineEnds = (json: string): string => (/[\r\n]/.test(json) ? json.replace(/[\r\n]+/g, ' ') : json)

const selectSql = ({ columns, replaced = {} }: TransferredTable): string =>
  columns.map(({ name }) => (replaced[name] === undefined ? `t.${name}` : `${replaced[name]} as ${name}`)).join(', ')

const hasUnlimitedLength = ({ type, isArray }: TransferredColumn): boolean => type === 'text' || type === 'json' || isArray

const sizeSql = ({ columns }: TransferredTable): string =>
  ['0', ...columns.filter(hasUnlimitedLength).map(({ name }) => `coalesce(octet_length(t.${name}::text), 0)`)].join(' + ')

const orderSql = ({ columns }: TransferredTable): string =>
  columns
    .filter(({ isKey }) => isKey)
    .map(({ name, type }) => `t.${name}${type === 'text' ? ' collate "C"' : ''}`)
    .join(', ')

import type { ClientBase } from 'pg'
import { toBytesLine, toLongRowLine, toRowLine } from './export-format.ts'
import { bytesColumnOf, type TransferredColumn, type TransferredTable } from './transferred-tables.ts'

/** Row addresses that are fetched from the cursor at a time. */
const ADDRESSES_AT_ONCE = 2_000
const MAX_GROUP_ROWS = 500
const MAX_GROUP_BYTES = 2_000_000
/** Twice as many hexadecimal digits are far from the longest string, and from the longest line of an import. */
const MAX_BYTES_PER_LINE = 4 * 1024 * 1024

interface RowAddress {
  readonly tid: string
  /** Size of the line, about. */
  readonly bytes: number
  /** Bytes in the column of the table that holds bytes; 0 for tables without one. */
  readonly valueBytes: number
}

/** Some rows of one table as lines of the file. */
export interface RowGroup {
  /** Rows that begin in the text. */
  readonly rows: number
  readonly text: string
}

/**
 * All rows of a table in the order of their keys, which is the same on every database: text is compared by bytes. A
 * cursor gives addresses and sizes only, so that sorting needs little space and no group exceeds its bytes, however
 * large single rows are. Bytes above `maxBytesPerLine` continue in further groups. Must run in a transaction with one
 * snapshot, in which addresses stay valid.
 */
export async function* readRowGroups(
  client: ClientBase,
  table: TransferredTable,
  maxBytesPerLine: number = MAX_BYTES_PER_LINE,
): AsyncGenerator<RowGroup> {
  const sizes = `${sizeSql(table)} as bytes, ${valueSizeSql(table)} as "valueBytes"`
  await client.query(
    `declare polyphony_export no scroll cursor for select t.ctid::text as tid, ${sizes} from ${table.table} t order by ${orderSql(table)}`,
  )
  for (;;) {
    const { rows } = await client.query<RowAddress>(`fetch ${ADDRESSES_AT_ONCE} from polyphony_export`)
    for (const group of groupBySize(rows, maxBytesPerLine)) {
      const [first] = group
      if (first && first.valueBytes > maxBytesPerLine) yield* readLongRow(client, table, first, maxBytesPerLine)
      else yield await readGroup(client, table, group)
    }
    if (rows.length < ADDRESSES_AT_ONCE) break
  }
  await client.query('close polyphony_export')
}

/** Neighbouring rows that are read together. A row above a limit is read alone. */
function* groupBySize(rows: readonly RowAddress[], maxBytesPerLine: number): Generator<readonly RowAddress[]> {
  let group: RowAddress[] = []
  let bytes = 0
  let isLong = false
  for (const row of rows) {
    const endsGroup = isLong || row.valueBytes > maxBytesPerLine || bytes + row.bytes > MAX_GROUP_BYTES
    isLong = row.valueBytes > maxBytesPerLine
    if (group.length > 0 && (group.length === MAX_GROUP_ROWS || endsGroup)) {
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

/** One row with more bytes than a line takes. Postgres gives them in parts, so that no more is in memory. */
async function* readLongRow(
  client: ClientBase,
  table: TransferredTable,
  { tid, valueBytes }: RowAddress,
  maxBytesPerLine: number,
): AsyncGenerator<RowGroup> {
  const column = bytesColumnOf(table) ?? ''
  const partSql = `substring(t.${column} from $2::int for $3::int)`
  const read = async (selected: string, start: number): Promise<string> => {
    const sql = `select ${selected} as text from ${table.table} t where t.ctid = $1::tid`
    const { rows } = await client.query<{ text: string }>(sql, [tid, start, maxBytesPerLine])
    return rows[0]?.text ?? ''
  }
  const further = Math.ceil(valueBytes / maxBytesPerLine) - 1
  const row = { ...table, replaced: { ...table.replaced, [column]: partSql } }
  const json = await read(`(select row_to_json(r)::text from (select ${selectSql(row)}) r)`, 1)
  yield { rows: 1, text: toLongRowLine(table.kind, withoutLineEnds(json), further) }
  for (let part = 1; part <= further; part++) {
    yield { rows: 0, text: toBytesLine(table.kind, await read(`(${partSql})::text`, 1 + part * maxBytesPerLine)) }
  }
}

// JSON columns keep their white space. A line end in JSON is white space, because strings have it as an escape only.
const withoutLineEnds = (json: string): string => (/[\r\n]/.test(json) ? json.replace(/[\r\n]+/g, ' ') : json)

const selectSql = ({ columns, replaced = {} }: TransferredTable): string =>
  columns.map(({ name }) => (replaced[name] === undefined ? `t.${name}` : `${replaced[name]} as ${name}`)).join(', ')

const hasUnlimitedLength = ({ type, isArray }: TransferredColumn): boolean => type === 'text' || type === 'json' || isArray

const sizeSql = (table: TransferredTable): string =>
  [
    `2::float8 * ${valueSizeSql(table)}`,
    ...table.columns.filter(hasUnlimitedLength).map(({ name }) => `coalesce(octet_length(t.${name}::text), 0)`),
  ].join(' + ')

const valueSizeSql = (table: TransferredTable): string => {
  const column = bytesColumnOf(table)
  return column === undefined ? '0' : `octet_length(t.${column})`
}

const orderSql = ({ columns }: TransferredTable): string =>
  columns
    .filter(({ isKey }) => isKey)
    .map(({ name, type }) => `t.${name}${type === 'text' ? ' collate "C"' : ''}`)
    .join(', ')

import type { TransferredColumn, TransferredTable } from './transferred-tables.ts'

type Values = Readonly<Record<string, unknown>>
type TypeCheck = (value: unknown) => boolean

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const INSTANT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})$/

const isText: TypeCheck = (value) => typeof value === 'string'
const isWithin =
  (limit: number): TypeCheck =>
  (value) =>
    typeof value === 'number' && Number.isInteger(value) && Math.abs(value) <= limit
/** Without a repeated group, whose state grows with the text. */
export const isBytes = (value: unknown): value is string =>
  typeof value === 'string' && value.startsWith('\\x') && value.length % 2 === 0 && !/[^0-9a-f]/.test(value.slice(2))
const isInstant: TypeCheck = (value) => typeof value === 'string' && INSTANT.test(value) && !Number.isNaN(Date.parse(value))

/** Whether a value of the file fits a column, and how the expected value is called. */
const TYPES: Readonly<Record<TransferredColumn['type'], readonly [fits: TypeCheck, expected: string]>> = {
  uuid: [(value) => typeof value === 'string' && UUID.test(value), 'a UUID'],
  text: [isText, 'a text'],
  smallint: [isWithin(32_767), 'an integer of 16 bits'],
  integer: [isWithin(2_147_483_647), 'an integer of 32 bits'],
  bigint: [isWithin(Number.MAX_SAFE_INTEGER), 'an integer'],
  'double precision': [(value) => typeof value === 'number' && Number.isFinite(value), 'a number'],
  boolean: [(value) => typeof value === 'boolean', 'true or false'],
  timestamptz: [isInstant, 'an ISO 8601 instant'],
  bytea: [isBytes, 'bytes as \\x and hexadecimal digits'],
  json: [(value) => value !== undefined && value !== null, 'a JSON value'],
}

export const isPlainObject = (value: unknown): value is Values =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The first thing that is wrong with a row, without its values, or undefined. */
export function findRowProblem(
  { columns, findProblem }: TransferredTable,
  row: unknown,
  further: readonly Uint8Array[] = [],
): string | undefined {
  if (!isPlainObject(row)) return `row: expected an object, found ${kindOf(row)}`
  for (const column of columns) {
    const value = Object.hasOwn(row, column.name) ? row[column.name] : undefined
    if (value === null && column.isNullable) continue
    const [fits, expected] = TYPES[column.type]
    if (!column.isArray && fits(value)) continue
    if (column.isArray && Array.isArray(value) && value.every(fits)) continue
    return `${column.name}: expected ${column.isArray ? `a list, each item ${expected}` : expected}, found ${kindOf(value)}`
  }
  if (Object.keys(row).length > columns.length) {
    const names = new Set(columns.map(({ name }) => name))
    const foreign = Object.keys(row).find((name) => !names.has(name)) ?? ''
    return `row: expected only columns of its table, found ${JSON.stringify(foreign.slice(0, 100))}`
  }
  return findProblem?.(row, further)
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  return Array.isArray(value) ? 'a list' : `another ${typeof value}`
}

// Pairs of backslashes match first, so that an escaped backslash before "u0000" does not count as an escape of NUL.
const ESCAPES = /\\\\|\\u0000|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}/g
const LONE_SURROGATE_ESCAPE_LENGTH = 6

/** Escapes of JSON that Postgres cannot store, or undefined. */
export function findUnstorableEscape(json: string): string | undefined {
  if (!json.includes('\\u')) return undefined
  for (const [found] of json.matchAll(ESCAPES)) {
    if (found === '\\u0000') return 'NUL'
    if (found.length === LONE_SURROGATE_ESCAPE_LENGTH) return 'a lone surrogate'
  }
  return undefined
}

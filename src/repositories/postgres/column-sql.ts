import { type Columns, type Field, JSON_TYPES } from '../columns/column.ts'

/** SQL types by the name of the column. */
export type JsonColumns = Readonly<Record<string, string>>

/** The columns of a table as `json_to_recordset` takes them: names with types. */
export const jsonColumns = (columns: Columns): JsonColumns =>
  Object.fromEntries(Object.values(columns).map(({ name, type, jsonType = JSON_TYPES[type] }) => [name, jsonType]))

/** The primary key of a table, with types. */
export const keyColumns = (columns: Columns): JsonColumns =>
  jsonColumns(Object.fromEntries(Object.entries(columns).filter(([, column]) => column.primary)))

/** SQL types of some columns of a table. */
export const jsonColumnsOf = (columns: Columns, fields: readonly Field<string>[]): JsonColumns => {
  const types = jsonColumns(columns)
  return Object.fromEntries(fields.map(({ name }) => [name, types[name] ?? 'text']))
}

/**
 * The list of a `select` that returns rows by their properties: `thread_id as "threadId"`. Must be used instead of `*`
 * in prepared statements, because with `*` a connection refuses to run them again once another process has added a
 * column.
 */
export const selectList = (fields: readonly Field<string>[], table?: string): string =>
  fields
    .map(({ property, name }) => {
      const column = table === undefined ? name : `${table}.${name}`
      return property === name ? column : `${column} as "${property}"`
    })
    .join(', ')

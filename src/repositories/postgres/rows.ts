import type { Columns } from '../columns/column.ts'

type NullableProperty<Row> = { [Property in keyof Row]: null extends Row[Property] ? Property : never }[keyof Row]

/** A row in which each null is an absent property. */
export type WithoutNulls<Row> = Omit<Row, NullableProperty<Row>> & {
  readonly [Property in NullableProperty<Row>]?: Exclude<Row[Property], null>
}

/** Adds the values of the row under `properties` to `given`, except those that are null. */
export function pickNonNull<Row extends object, Property extends keyof Row, Given extends object>(
  row: Row,
  properties: readonly Property[],
  given: Given,
): WithoutNulls<Pick<Row, Property>> & Given
export function pickNonNull(row: Values, properties: readonly string[], given: Record<string, unknown>): object {
  for (const property of properties) {
    const value = row[property]
    if (value !== null) given[property] = value
  }
  return given
}

type Values = Readonly<Record<string, unknown>>

/** The fields without those that are null or undefined. */
export function omitNulls<Fields extends Record<string, unknown>>(
  fields: Fields,
): { [Name in keyof Fields]?: NonNullable<Fields[Name]> } {
  const kept: { [Name in keyof Fields]?: NonNullable<Fields[Name]> } = {}
  for (const name in fields) {
    const value = fields[name]
    if (value !== null && value !== undefined) kept[name] = value
  }
  return kept
}

/** A row as JSON for Postgres, by the names of its columns. */
export type JsonRow<Table extends Columns, Row, Property extends keyof Table & keyof Row> = {
  readonly [Name in Property as Table[Name]['name']]: null extends Row[Name] ? Exclude<Row[Name], null> | undefined : Row[Name]
}

import type { Field } from '../columns/column.ts'

type NullableProperty<Row> = { [Property in keyof Row]: null extends Row[Property] ? Property : never }[keyof Row]

/** A row without its nulls: what the database does not hold is absent, never null. */
export type WithoutNulls<Row> = Omit<Row, NullableProperty<Row>> & {
  readonly [Property in NullableProperty<Row>]?: Exclude<Row[Property], null>
}

/** The row's values under the properties given, without those that are null. */
export function pickNonNull<Row extends object, Property extends keyof Row>(
  row: Row,
  properties: readonly Property[],
): WithoutNulls<Pick<Row, Property>>
export function pickNonNull(row: Readonly<Record<string, unknown>>, properties: readonly string[]): object {
  const picked: Record<string, unknown> = {}
  for (const property of properties) {
    const value = row[property]
    if (value !== null && value !== undefined) picked[property] = value
  }
  return picked
}

/** The fields that have a value: a null of the database becomes an absent property. */
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

/** A row as JSON, by the names of its columns; what it leaves out is null. */
export type JsonRow = Record<string, unknown>

/** Writes properties of a value into a row, under the names of their columns. */
export function writeFields<Property extends string>(
  row: JsonRow,
  fields: readonly Field<Property>[],
  value: { readonly [Name in Property]?: unknown },
): void {
  for (const { property, name } of fields) row[name] = value[property]
}

/**
 * One column of a table of the database. Each table is described once, in a table of columns beside this file: the
 * entity that TypeORM compares with the schema, the types of rows and the column lists of SQL statements derive from
 * it.
 */
export interface Column {
  /** Name in SQL. */
  readonly name: string
  readonly type: keyof typeof JSON_TYPES
  readonly array?: true
  /** Must be set exactly where the property of the row may be null; the type `ColumnsOf` checks it. */
  readonly nullable?: true
  /** Whether the column is part of the primary key, in the order of the table. */
  readonly primary?: true
  readonly default?: string | number | (() => string)
  /** Type that `json_to_recordset` uses for the column, if it is not `type`. */
  readonly jsonType?: string
  /** Whether the entity replaces NUL and lone surrogates, which Postgres refuses, in text of users and models. */
  readonly storable?: true
}

/** SQL types, each with its name in column lists of `json_to_recordset`. */
export const JSON_TYPES = {
  uuid: 'uuid',
  text: 'text',
  smallint: 'int2',
  integer: 'int',
  bigint: 'int8',
  'double precision': 'float8',
  boolean: 'bool',
  timestamptz: 'timestamptz',
  json: 'json',
  bytea: 'bytea',
} as const

/** A value of the domain as one row: an absent property is null. */
export type RowOf<Value> = {
  readonly [Property in keyof Value]-?: undefined extends Value[Property]
    ? Exclude<Value[Property], undefined> | null
    : Value[Property]
}

/** The columns of a table, by their properties in the row. `Described` may allow more keys than `Column`, as marks. */
export type ColumnsOf<Row, Described extends Column = Column> = {
  readonly [Property in keyof Row]: Described & (null extends Row[Property] ? { nullable: true } : { nullable?: never })
}

/** Any table of columns. */
export type Columns = Readonly<Record<string, Column>>

/** The two names of a column: in the rows of TypeScript and in SQL. */
export interface Field<Property extends PropertyKey> {
  readonly property: Property
  readonly name: string
}

export function fieldsOf<Table extends Columns>(columns: Table): readonly Field<Extract<keyof Table, string>>[] {
  const fields: Field<Extract<keyof Table, string>>[] = []
  for (const property in columns) fields.push({ property, name: columns[property]?.name ?? property })
  return fields
}

/** Properties whose column has a mark, such as `create` for the columns that are written for a new flow. */
export type MarkedProperty<Table extends Columns, Mark extends string> = {
  [Property in keyof Table]: Table[Property] extends { readonly [Name in Mark]: true } ? Extract<Property, string> : never
}[keyof Table]

export function markedFields<Table extends Columns, Mark extends string>(
  columns: Table,
  mark: Mark,
): readonly Field<MarkedProperty<Table, Mark>>[] {
  const isMarked = (field: Field<string>): field is Field<MarkedProperty<Table, Mark>> => hasMark(columns, field, mark)
  return fieldsOf(columns).filter(isMarked)
}

export function unmarkedFields<Table extends Columns, Mark extends string>(
  columns: Table,
  mark: Mark,
): readonly Field<Exclude<Extract<keyof Table, string>, MarkedProperty<Table, Mark>>>[] {
  const isUnmarked = (field: Field<string>): field is Field<Exclude<Extract<keyof Table, string>, MarkedProperty<Table, Mark>>> =>
    !hasMark(columns, field, mark)
  return fieldsOf(columns).filter(isUnmarked)
}

const hasMark = (columns: Columns, { property }: Field<string>, mark: string): boolean =>
  Reflect.get(columns[property] ?? {}, mark) === true

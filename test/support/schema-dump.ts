import type pg from 'pg'

const COLUMNS = `select table_name, column_name, data_type || case when data_type = 'ARRAY' then ' of ' || udt_name else '' end as type,
  is_nullable, coalesce(column_default, '') as fallback
from information_schema.columns where table_schema = 'public' and table_name like 'polyphony\\_%' order by table_name, ordinal_position`

const INDEXES = `select tablename, indexdef from pg_indexes where schemaname = 'public' and tablename like 'polyphony\\_%' order by tablename, indexname`

const OPTIONS = `select relname, reloptions from pg_class where relkind = 'r' and relname like 'polyphony\\_%' and reloptions is not null order by relname`

/** The schema as text that is the same on every kind and version of Postgres. */
export async function dumpSchema(pool: Pick<pg.Pool, 'query'>): Promise<string> {
  const columns = await pool.query<{
    table_name: string
    column_name: string
    type: string
    is_nullable: string
    fallback: string
  }>(COLUMNS)
  const indexes = await pool.query<{ tablename: string; indexdef: string }>(INDEXES)
  const options = await pool.query<{ relname: string; reloptions: string[] }>(OPTIONS)
  const lines: string[] = []
  for (const table of new Set(columns.rows.map((row) => row.table_name))) {
    lines.push(`table ${table}`)
    for (const row of columns.rows.filter(({ table_name: name }) => name === table)) {
      const fallback = row.fallback === '' ? '' : ` default ${row.fallback}`
      lines.push(`  ${row.column_name} ${row.type}${row.is_nullable === 'NO' ? ' not null' : ''}${fallback}`)
    }
    for (const row of indexes.rows.filter(({ tablename }) => tablename === table)) lines.push(`  ${row.indexdef}`)
    for (const row of options.rows.filter(({ relname }) => relname === table)) lines.push(`  with ${row.reloptions.join(', ')}`)
  }
  return `${lines.join('\n')}\n`
}

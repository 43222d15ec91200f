import pg from 'pg'

// Meters do not count their own statements.
const OWN = '/* bench meter */'

const STATEMENTS = `${OWN}
  select coalesce(sum(s.calls) filter (where d.datname = current_database()), 0)::float8 as statements,
    coalesce(sum(s.calls) filter (where d.datname <> current_database()), 0)::float8 as foreign_statements
  from pg_stat_statements s join pg_database d on d.oid = s.dbid where s.query not like '%bench meter%'`
const WRITTEN = `${OWN} select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 as bytes`

/** Counts the queries that this process sends through `pg`, for servers without `pg_stat_statements`. */
function countQueries() {
  let count = 0
  const { query } = pg.Client.prototype
  pg.Client.prototype.query = function counted(...parameters) {
    const text = typeof parameters[0] === 'string' ? parameters[0] : parameters[0]?.text
    if (!text?.includes('bench meter')) count++
    return query.apply(this, parameters)
  }
  return () => count
}

/** Reads the statements of one database and the log bytes of its server. `foreign`: statements of other databases. */
export async function openMeter(url) {
  const client = new pg.Client(url)
  await client.connect()
  const serverCounts = await client
    .query(`${OWN} create extension if not exists pg_stat_statements`)
    .then(
      () => client.query(STATEMENTS).then(() => true),
      () => false,
    )
    .catch(() => false)
  const counted = serverCounts ? undefined : countQueries()
  return {
    note: serverCounts ? undefined : 'counted in this process: the server has no pg_stat_statements',
    async read() {
      const { bytes } = (await client.query(WRITTEN)).rows[0]
      if (counted) return { statements: counted(), foreign: 0, walBytes: bytes }
      const { statements, foreign_statements: foreign } = (await client.query(STATEMENTS)).rows[0]
      return { statements, foreign, walBytes: bytes }
    },
    close: () => client.end(),
  }
}

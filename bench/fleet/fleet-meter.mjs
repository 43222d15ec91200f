// Reads what the database of a measured fleet has done so far.
import pg from 'pg'

// The meter does not count its own statements.
const OWN = '/* bench meter */'

const STATEMENTS = `${OWN}
  select coalesce(sum(s.calls), 0)::float8 as statements,
    coalesce(sum(s.total_exec_time + s.total_plan_time), 0)::float8 as "executionMs",
    coalesce(sum(s.calls) filter (where s.query ilike '%pg_notify%' or s.query ilike 'notify %'), 0)::float8 as notifications
  from pg_stat_statements s join pg_database d on d.oid = s.dbid
  where d.datname = current_database() and s.query not like '%bench meter%'`
const WRITTEN = `${OWN} select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 as "walBytes"`
const STORED = `${OWN}
  select coalesce(sum(pg_total_relation_size(c.oid)), 0)::float8 as "storedBytes"
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema')`
const COMMITS = `${OWN} select xact_commit::float8 as commits from pg_stat_database where datname = current_database()`
const CONNECTIONS = `${OWN}
  select count(*)::float8 as connections from pg_stat_activity
  where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()`

export async function openFleetMeter(url) {
  const client = new pg.Client(url)
  await client.connect()
  const row = async (statement) => (await client.query(statement)).rows[0]
  await client.query(`${OWN} create extension if not exists pg_stat_statements`)
  return {
    async read() {
      let read = {}
      for (const statement of [STATEMENTS, WRITTEN, STORED, COMMITS, CONNECTIONS]) read = { ...read, ...(await row(statement)) }
      return read
    },
    async server() {
      const setting = async (name) => Object.values(await row(`${OWN} show ${name}`))[0]
      return {
        version: await setting('server_version'),
        fsync: await setting('fsync'),
        maxConnections: Number(await setting('max_connections')),
      }
    },
    close: () => client.end(),
  }
}

/** What happened between two readings. The number of connections is a state and not part of it. */
export const differenceOf = ({ connections: _, ...before }, after) =>
  Object.fromEntries(Object.entries(before).map(([name, value]) => [name, after[name] - value]))

import type { Pool, PoolClient } from 'pg'

/**
 * Runs statements in one transaction on one connection, each with a snapshot of its own. `begin` may hold further
 * statements. A connection whose transaction failed is closed, because its state is unknown.
 */
export async function inTransaction<Value>(
  pool: Pool,
  work: (client: PoolClient) => Promise<Value>,
  begin = 'begin',
): Promise<Value> {
  const client = await pool.connect()
  let failure: Error | undefined
  try {
    await client.query(begin)
    const value = await work(client)
    await client.query('commit')
    return value
  } catch (error) {
    failure = error instanceof Error ? error : new Error('The transaction failed')
    await client.query('rollback').catch(() => {})
    throw error
  } finally {
    client.release(failure)
  }
}

import type { Pool, PoolClient } from 'pg'

/**
 * A client that was taken from the pool emits its loss beside the rejection of its statement, which would end the
 * process.
 */
const ignoreLoss = (): void => {}

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
  client.on('error', ignoreLoss)
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
    // What is lost from here on the pool notices itself; a lost client still emits errors after it was released.
    if (!failure) client.off('error', ignoreLoss)
    client.release(failure)
  }
}

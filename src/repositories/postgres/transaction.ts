import type { Pool, PoolClient } from 'pg'

export interface TakenClient {
  readonly client: PoolClient
  /** Gives the client back; with a failure its connection is closed, because its state is unknown. */
  readonly release: (failure?: Error) => void
}

const ignoreLoss = (): void => {}

/**
 * One connection of the pool for several statements. A client that was taken from the pool emits its loss beside the
 * rejection of its statement, which would end the process if nothing listened. Must be released.
 */
export async function takeClient(pool: Pool): Promise<TakenClient> {
  const client = await pool.connect()
  client.on('error', ignoreLoss)
  return {
    client,
    release(failure) {
      // What is lost from here on the pool notices itself; a lost client still emits errors after it was released.
      if (!failure) client.off('error', ignoreLoss)
      client.release(failure)
    },
  }
}

/**
 * Runs statements in one transaction on one connection, each with a snapshot of its own. `begin` may hold further
 * statements. A connection whose transaction failed is closed.
 */
export async function inTransaction<Value>(
  pool: Pool,
  work: (client: PoolClient) => Promise<Value>,
  begin = 'begin',
): Promise<Value> {
  const { client, release } = await takeClient(pool)
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
    release(failure)
  }
}

import { Redis } from 'ioredis'

export interface TestRedis {
  readonly url: string
}

const CONNECT_TIMEOUT_MS = 2_000

/** The server of REDIS_URL or on this machine; undefined if none answers. Callers use keys with a random prefix. */
export async function openTestRedis(): Promise<TestRedis | undefined> {
  const url = process.env.REDIS_URL ?? 'redis://127.0.0.1:6379'
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT_MS,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
  })
  client.on('error', () => undefined)
  try {
    await client.connect()
    await client.ping()
    return { url }
  } catch {
    return undefined
  } finally {
    client.disconnect()
  }
}

/** Removes every key that begins with `<prefix>:`. */
export async function clearRedis(url: string, prefix: string): Promise<void> {
  const client = new Redis(url)
  const keys = await client.keys(`${prefix}:*`)
  if (keys.length > 0) await client.del(keys)
  client.disconnect()
}

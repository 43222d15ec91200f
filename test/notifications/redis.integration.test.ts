import { randomUUID } from 'node:crypto'
import { Redis } from 'ioredis'
import { describe, test } from 'vitest'
import { createRedisTransport } from '../../src/notifications/redis-transport.ts'
import { describeNotifications } from '../contracts/notifications.ts'

const url = process.env.REDIS_URL ?? 'redis://127.0.0.1:6379'

async function isReachable(): Promise<boolean> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null })
  client.on('error', () => {})
  const answer = await client.connect().then(
    () => true,
    () => false,
  )
  client.disconnect()
  return answer
}

if (await isReachable()) {
  describeNotifications({
    name: 'Redis',
    open: async () => {
      const channel = `polyphony-test-${randomUUID()}`
      const admin = new Redis(url)
      /** Connections of this test, by their numbers on the server: others use the same server. */
      const numbers = async () => new Set((await clientList(admin)).map(({ id }) => id))
      const before = await numbers()
      return {
        transport: () => createRedisTransport({ url, channel }),
        cutConnections: async () => {
          for (const { id, channels } of await clientList(admin)) {
            if (!before.has(id) && channels === 1) await admin.call('client', 'kill', 'id', id)
          }
        },
        close: async () => {
          admin.disconnect()
        },
      }
    },
  })
} else {
  describe('notifications over Redis', () => {
    test.skip(`no Redis answers at ${new URL(url).host}: start one or set REDIS_URL`, () => {})
  })
}

async function clientList(admin: Redis): Promise<readonly { readonly id: string; readonly channels: number }[]> {
  const text = String(await admin.call('client', 'list', 'type', 'pubsub'))
  return text.split('\n').flatMap((line) => {
    const fields = new Map(line.split(' ').map((field) => [field.split('=')[0], field.split('=')[1]]))
    const id = fields.get('id')
    return id === undefined ? [] : [{ id, channels: Number(fields.get('sub')) }]
  })
}

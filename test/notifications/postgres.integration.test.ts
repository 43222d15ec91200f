import { afterAll, beforeAll } from 'vitest'
import { openStore } from '../../src/repositories/database.ts'
import type { Store } from '../../src/repositories/repository.ts'
import { describeNotifications } from '../contracts/notifications.ts'
import { administrate, openTestPostgres, type TestPostgres } from '../support/postgres.ts'

let database: TestPostgres
let store: Store

beforeAll(async () => {
  database = await openTestPostgres()
  store = await openStore({ url: database.url })
})
afterAll(async () => {
  await store.close()
  await database.drop()
})

describeNotifications({
  name: 'Postgres',
  open: async () => ({
    transport: () => {
      if (!store.broadcast) throw new Error('Expected a store that carries notifications.')
      return store.broadcast
    },
    cutConnections: () =>
      administrate(
        database.url,
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'polyphony notifications'`,
      ),
  }),
})

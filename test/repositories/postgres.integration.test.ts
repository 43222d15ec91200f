import { openStore } from '../../src/repositories/database.ts'
import { describeRepository } from '../contracts/repository.ts'
import { openTestPostgres } from '../support/postgres.ts'

describeRepository('Postgres', async () => {
  const { url, drop } = await openTestPostgres()
  let store = await openStore({ url })
  return {
    store,
    async reopen() {
      await store.close()
      store = await openStore({ url })
      return store
    },
    async close() {
      await store.close()
      await drop()
    },
  }
})

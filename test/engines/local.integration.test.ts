import { createLocalEngine } from '../../src/engines/local.ts'
import { openStore } from '../../src/repositories/database.ts'
import { describeEngine } from '../contracts/engine.ts'
import { openTestPostgres } from '../support/postgres.ts'

describeEngine({
  name: 'local on Postgres',
  open: async () => {
    const { url, drop } = await openTestPostgres()
    const store = await openStore({ url })
    return {
      store,
      create: createLocalEngine,
      close: async () => {
        await store.close()
        await drop()
      },
    }
  },
})

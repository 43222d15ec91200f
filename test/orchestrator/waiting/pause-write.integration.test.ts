import { openStore } from '../../../src/repositories/database.ts'
import { openTestPostgres } from '../../support/postgres.ts'
import { describePauseWrite } from './pause-write.ts'

describePauseWrite(async () => {
  const database = await openTestPostgres()
  const store = await openStore({ url: database.url })
  return { store, close: () => store.close().then(database.drop) }
})

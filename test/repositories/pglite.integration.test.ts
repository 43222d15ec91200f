import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openStore } from '../../src/repositories/database.ts'
import { describeRepository } from '../contracts/repository.ts'

describeRepository('PGlite', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'polyphony-pglite-'))
  const url = `pglite://${join(folder, 'data')}`
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
      await rm(folder, { recursive: true, force: true })
    },
  }
})

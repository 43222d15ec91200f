import { createLocalEngine } from '../../src/engines/local.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'
import { describeEngine } from '../contracts/engine.ts'

describeEngine({
  name: 'local in memory',
  open: async () => {
    const store = createMemoryStore()
    return { store, create: createLocalEngine, close: () => store.close() }
  },
})

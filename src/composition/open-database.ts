import type { PolyphonyConfig } from '../config/config.ts'
import { createMemoryStore } from '../repositories/memory/memory-store.ts'
import type { Store } from '../repositories/repository.ts'

/**
 * Opens the store of the configured database; the drivers of databases are loaded only where they are used. `addJob`:
 * SQL expression with which the store adds a job of the engine for a queued flow.
 */
export async function openDatabase(
  { database, migrations }: Pick<PolyphonyConfig, 'database' | 'migrations'>,
  addJob?: string,
): Promise<Store> {
  if (typeof database === 'string' && database.startsWith('memory:')) {
    const flows = new URL(database).searchParams.get('flows')
    return createMemoryStore(flows === null ? {} : { maxFlows: Number(flows) })
  }
  const { openStore } = await import('../repositories/database.ts')
  return openStore({ url: database, migrations, addJob })
}

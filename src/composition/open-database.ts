import type { Logger, PolyphonyConfig } from '../config/config.ts'
import { createMemoryStore } from '../repositories/memory/memory-store.ts'
import type { Store } from '../repositories/repository.ts'

/**
 * Opens the store of the configured database; the drivers of databases are loaded only where they are used. `addJob`:
 * SQL expression with which the store adds a job of the engine for a queued flow.
 */
export async function openDatabase(
  { database, migrations, logger }: Pick<PolyphonyConfig, 'database' | 'migrations'> & { readonly logger?: Pick<Logger, 'warn'> },
  addJob?: string,
): Promise<Store> {
  if (typeof database === 'string' && database.startsWith('memory:')) {
    const flows = new URL(database).searchParams.get('flows')
    return createMemoryStore(flows === null ? {} : { maxFlows: Number(flows) })
  }
  const { openStore } = await import('../repositories/database.ts')
  const onOverflow = (keptBytes: number) =>
    logger?.warn('results are rejected: the database does not answer, and too many wait for it', { keptBytes })
  return openStore({ url: database, migrations, addJob, onOverflow })
}

import type { PolyphonyConfig } from '../config/config.ts'
import type { Engine, EngineDeps } from '../engines/engine.ts'
import { createLocalEngine } from '../engines/local.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'

/** What the configured engine needs before the store is opened, and the function that builds the engine over it. */
export interface OpenedEngine {
  /** SQL expression with which the store adds a job for a queued flow. */
  readonly addJob?: string
  create(deps: EngineDeps): Engine
  /** Releases everything if no engine is created. */
  close(): Promise<void>
}

/** Opens the configured engine; BullMQ and its drivers are loaded only where they are used. */
export async function openEngine(config: PolyphonyConfig): Promise<OpenedEngine> {
  const { engine, database, migrations, bullmq, redisUrl, logger } = config
  if (engine === 'local') return { create: createLocalEngine, close: async () => undefined }
  const { poolSettingsOf } = await import('../repositories/postgres/pool-settings.ts')
  const settings = poolSettingsOf(database)
  if (!settings) {
    const found = typeof database === 'string' ? database.replace(/:\/\/.*/s, '://…') : 'another one'
    throw new OrchestratorError(
      'CONFIG_INVALID',
      `engine "bullmq": expected a database of Postgres (postgres://…), found ${found}`,
    )
  }
  const { openBullmq } = await import('../engines/bullmq/open-bullmq.ts')
  return openBullmq({ database: settings, mayCreateSchema: migrations === 'auto', redisUrl, settings: bullmq, logger })
}

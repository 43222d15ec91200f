import type { PolyphonyConfig } from '../../config/config.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/**
 * Throws CONFIG_INVALID if no process queues flows for others under this configuration, which all processes share:
 * workers would then be idle. `option` is what was asked for, such as `--workers`.
 */
export function requireQueuedFlows({ engine, maxRunningFlows, takesFlows }: PolyphonyConfig, option: string): void {
  if (engine !== 'local' || maxRunningFlows !== undefined || !takesFlows) return
  const message =
    `${option}: expected engine "bullmq" (engine: bullmq in polyphony.yaml, or POLYPHONY_ENGINE=bullmq), found "local", ` +
    'with which each process runs the flows that it starts and queues none for workers; ' +
    'it queues them only with maxRunningFlows or takesFlows: false'
  throw new OrchestratorError('CONFIG_INVALID', message, { details: { key: 'engine' } })
}

/** Throws CONFIG_INVALID unless several processes can open the database. */
export function requireSharedDatabase({ database }: PolyphonyConfig, option: string): void {
  if (typeof database === 'string' && /^postgres(ql)?:/.test(database)) return
  const found = typeof database === 'string' ? database.replace(/:.*/s, '://…') : 'a DataSource'
  const message = `${option}: expected a database that several processes can open (postgres://…), found ${found}`
  throw new OrchestratorError('CONFIG_INVALID', message, { details: { key: 'database' } })
}

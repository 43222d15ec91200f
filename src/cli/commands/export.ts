import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { databaseOption, defineCommand, jsonOption } from '../command.ts'
import { findMissingDirectory, requireStoredDatabase } from '../database/stored-database.ts'
import { createFileSink } from '../database/transfer-file.ts'
import { type DatabaseOptions, toFlags } from '../services.ts'

interface ExportCommandOptions extends DatabaseOptions {
  readonly includeRunning?: boolean
}

/** `polyphony export`. Counts are printed to stderr, because stdout may be the file. */
export const exportCommand = defineCommand<ExportCommandOptions>({
  name: 'export',
  description: 'write all flows, threads and policies of a database to a file',
  configure: (command) =>
    command
      .argument('<file>', 'a new file, compressed if its name ends with .gz; - for standard output')
      .option('--include-running', 'export although flows run; the destination then runs them as well')
      .addOption(databaseOption())
      .addOption(jsonOption()),
  async run({ services, terminal, json }, options, file) {
    const config = await services.loadConfig(toFlags(options))
    requireStoredDatabase(config)
    const missing = findMissingDirectory(config)
    if (missing !== undefined) throw new OrchestratorError('INPUT_INVALID', `expected a database in ${missing}, found nothing`)
    const counts = await services.exportData(config, createFileSink(file), options.includeRunning ?? false)
    if (json && file !== '-') return terminal.printJson({ exported: counts })
    for (const [kind, count] of Object.entries(counts)) terminal.warn(`exported ${count} ${kind}`)
  },
})

import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { databaseOption, defineCommand, jsonOption } from '../command.ts'
import { type DatabaseOptions, toFlags } from '../services.ts'

interface MigrateCommandOptions extends DatabaseOptions {
  readonly check?: boolean
}

/** `polyphony migrate`. A memory:// database has no schema and is left alone. */
export const migrateCommand = defineCommand<MigrateCommandOptions>({
  name: 'migrate',
  description: 'apply pending database migrations',
  configure: (command) =>
    command
      .option('--check', 'change nothing; fail if the database lacks a migration')
      .addOption(databaseOption())
      .addOption(jsonOption()),
  async run({ services, terminal, json }, options) {
    const { check = false } = options
    const config = await services.loadConfig(toFlags(options))
    const hasSchema = typeof config.database !== 'string' || !config.database.startsWith('memory:')
    const names = hasSchema ? await services.migrate(config, { check }) : []
    if (json) terminal.printJson(check ? { pending: names } : { applied: names })
    else if (names.length === 0) terminal.print('The database is up to date.')
    else for (const name of names) terminal.print(`${check ? 'pending' : 'applied'} ${name}`)
    if (!check || names.length === 0) return
    throw new OrchestratorError('DATABASE_SCHEMA_MISMATCH', `The database lacks ${names.length} migrations of this version`, {
      details: { pending: names },
    })
  },
})

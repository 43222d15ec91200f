import { databaseOption, defineCommand, jsonOption } from '../command.ts'
import { type DatabaseOptions, toFlags } from '../services.ts'

/** `polyphony migrate`. A memory:// database has no schema and is left alone. */
export const migrateCommand = defineCommand<DatabaseOptions>({
  name: 'migrate',
  description: 'apply pending database migrations',
  configure: (command) => command.addOption(databaseOption()).addOption(jsonOption()),
  async run({ services, terminal, json }, options) {
    const config = await services.loadConfig(toFlags(options))
    const { database } = config
    const hasSchema = typeof database !== 'string' || !database.startsWith('memory:')
    const applied = hasSchema ? await services.migrate(config) : []
    if (json) return terminal.printJson({ applied })
    if (applied.length === 0) return terminal.print('The database is up to date.')
    for (const name of applied) terminal.print(`applied ${name}`)
  },
})

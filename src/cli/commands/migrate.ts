import { type CommandContext, type DatabaseOptions, toFlags } from '../services.ts'

/** `polyphony migrate`. */
export async function migrateCommand({ house, terminal, json }: CommandContext, options: DatabaseOptions): Promise<void> {
  const { database } = await house.loadConfig(toFlags(options))
  const hasSchema = typeof database !== 'string' || !database.startsWith('memory:')
  const applied = hasSchema ? await house.migrate(database) : []
  if (json) return terminal.printJson({ applied })
  if (applied.length === 0) return terminal.print('The database is up to date.')
  for (const name of applied) terminal.print(`applied ${name}`)
}

import { databaseOption, defineCommand, jsonOption } from '../command.ts'
import { requireStoredDatabase } from '../database/stored-database.ts'
import { readFileChunks } from '../database/transfer-file.ts'
import { type DatabaseOptions, toFlags } from '../services.ts'

/** `polyphony import`. */
export const importCommand = defineCommand<DatabaseOptions>({
  name: 'import',
  description: 'read a file of polyphony export into a database',
  configure: (command) =>
    command
      .argument('<file>', 'the file, decompressed if its name ends with .gz; - for standard input')
      .addOption(databaseOption())
      .addOption(jsonOption()),
  async run({ services, terminal, json }, options, file) {
    const config = await services.loadConfig(toFlags(options))
    requireStoredDatabase(config)
    const counts = await services.importData(config, readFileChunks(file))
    if (json) return terminal.printJson({ counts })
    for (const [kind, { imported, skipped }] of Object.entries(counts)) {
      terminal.print(`imported ${imported} ${kind}${skipped > 0 ? `, skipped ${skipped} that exist` : ''}`)
    }
  },
})

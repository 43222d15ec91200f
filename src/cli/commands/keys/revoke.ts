import { databaseOption, defineCommand, jsonOption } from '../../command.ts'
import { type DatabaseOptions, toFlags, withServices } from '../../services.ts'

/** `polyphony keys revoke <id>`. */
export const revokeKeyCommand = defineCommand<DatabaseOptions>({
  group: 'keys',
  name: 'revoke',
  description: 'revoke a key: the server refuses it from now on',
  configure: (command) => command.argument('<id>').addOption(databaseOption()).addOption(jsonOption()),
  async run(context, options, id) {
    const key = await withServices(context, toFlags(options), ({ apiKeys }) => apiKeys.revoke(id))
    if (context.json) return context.terminal.printJson(key)
    context.terminal.print(`${key.id} is revoked`)
  },
})
